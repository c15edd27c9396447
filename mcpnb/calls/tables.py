"""Which data are a table: decided once, for `df()` and for every display."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from mcpnb.errors import CallError
from mcpnb.text import quote

_MOST_EMPTY = 10_000_000
# Names under which servers put their rows, next to a count or a cursor.
_ROW_MEMBERS = ("rows", "data", "items", "records", "results")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows and columns found in a result's data, without a copy of them."""

    columns: list[str]
    payload: Any
    """What pandas takes."""
    by_column: bool = False
    """Whether `payload` is a dict of columns instead of a list of rows."""
    labels: list[str] | None = None
    """Column names to give to pandas, where the rows don't carry them."""
    whole: bool = True
    """Whether the table is all of the data, or a member of it."""

    def __len__(self) -> int:
        return len(self.payload[self.columns[0]] if self.by_column else self.payload)

    def head(self, rows: int, columns: int) -> list[list[Any]]:
        """Return the cells of the first rows and columns; a missing cell is `None`."""
        names = self.columns[:columns]
        if self.by_column:
            first = [self.payload[name][:rows] for name in names]
            return [list(row) for row in zip(*first, strict=True)]
        cells = []
        for row in self.payload[:rows]:
            if isinstance(row, dict):
                cells.append([row.get(name) for name in names])
            else:
                cells.append(row[:columns] if isinstance(row, list) else [row])
        return cells


def find_table(data: object) -> Table:
    """Return the table in a result's data.

    Raises:
        CallError: It is no table; the message says what it is and what to do with it.
    """
    found = None
    if isinstance(data, list):
        found = _from_list(data)
    elif isinstance(data, dict) and data:
        found = _from_dict(data)
    if found is None:
        raise _no_table(_KINDS.get(type(data), "it is a single value. `.data` has it."))
    return found


_KINDS: dict[type, str] = {
    type(None): "it has no data.",
    str: "it is text. `.text` has it; if it is CSV, use pandas.read_csv(io.StringIO(r.text)).",
    bytes: "it is bytes. `.data` has them.",
    dict: "it is a single object. `.data` has it; pandas.Series(r.data) shows it as a column.",
}


def _no_table(why: str) -> CallError:
    return CallError(f"This result is not a table: {why}")


def _from_list(data: list[Any], *, whole: bool = True) -> Table:
    if all(isinstance(row, dict) for row in data):
        names = dict.fromkeys(str(key) for row in data for key in row)
        return Table(list(names), data, whole=whole)
    if all(isinstance(row, list) for row in data):
        if len(set(map(len, data))) > 1:
            raise _no_table("its rows are of unequal length. `.data` has them.")
        return Table([str(i) for i in range(len(data[0]))], data, whole=whole)
    if not any(isinstance(row, dict | list) for row in data):
        return Table(["value"], data, labels=["value"], whole=whole)
    raise _no_table("it is a list with items of different kinds. `.data` has it.")


def _from_dict(data: dict[str, Any]) -> Table | None:
    if (split := _split_orient(data)) is not None:
        return split
    lists = {name: value for name, value in data.items() if isinstance(value, list)}
    records = [name for name, v in lists.items() if v and all(isinstance(row, dict) for row in v)]
    lengths = {len(value) for value in lists.values()}
    wrapped = len(records) == 1 and (records[0] in _ROW_MEMBERS or len(data) == 1)
    if len(lists) == len(data) and len(lengths) == 1 and not wrapped:
        empty_rows = lengths == {0} and len(data) == 1 and next(iter(data)) in _ROW_MEMBERS
        return Table([], []) if empty_rows else Table(list(data), data, by_column=True)
    if len(records) == 1:
        return _from_list(data[records[0]], whole=len(data) == 1)
    if records:
        some = ", ".join(f"r.data[{name[:40]!r}]" for name in records[:3])
        raise CallError(
            f"This result has {len(records)} tables. Take one: {some}, with pandas.DataFrame(...)."
        )
    empty = any(data.get(name) == [] for name in _ROW_MEMBERS)
    return Table([], [], whole=False) if empty else None


def _split_orient(data: dict[str, Any]) -> Table | None:
    """Read pandas' own ``split`` form, which would pass for two columns of equal length."""
    names = data.get("columns")
    rows = data["data"] if "data" in data else data.get("rows")
    if not (isinstance(names, list) and isinstance(rows, list)):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    if len(set(map(str, names))) < len(names) or not all(isinstance(n, str | int) for n in names):
        return None
    labels = [str(name) for name in names]
    return Table(labels, rows, labels=labels)


def frame(table: Table) -> Any:
    """Return the `pandas.DataFrame` of a table.

    Raises:
        CallError: Nearly all of it would be empty, or pandas is not installed.
    """
    pandas = _pandas()
    cells = len(table) * len(table.columns)
    rows = table.payload.values() if table.by_column else table.payload
    filled = sum(len(row) if isinstance(row, dict | list) else 1 for row in rows)
    # Records that share no names make a table of their square: 2 MB of JSON could take 80 GB.
    if cells > _MOST_EMPTY and cells > 10 * filled:
        raise CallError(
            f"This table would have {len(table):,} rows and {len(table.columns):,} columns, nearly "
            "all of it empty. `.data` has the records."
        )
    return pandas.DataFrame(table.payload, columns=table.labels)


def csv_frame(text: str) -> Any:
    """Return the `pandas.DataFrame` of a CSV text.

    Raises:
        CallError: It is no CSV, or pandas is not installed.
    """
    pandas = _pandas()
    try:
        return pandas.read_csv(io.StringIO(text))
    except (ValueError, TypeError, OverflowError) as error:
        raise CallError(f"pandas cannot read this text as CSV: {quote(error)}") from error


def _pandas() -> Any:
    try:
        import pandas as pd  # here only: it costs half a second, and most results need none of it
    except ImportError:
        raise CallError(
            "df() needs pandas, which is not installed here. In a notebook run "
            "`%pip install pandas`, in a terminal `python -m pip install pandas`; `.data` has the "
            "same content without it."
        ) from None
    return pd
