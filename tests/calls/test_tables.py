"""What of a result is a table, and `df()`."""

from __future__ import annotations

import sys

import mcp_types as mcp
import pytest

from mcpnb.calls.results import ResourceContents, ToolResult
from mcpnb.errors import CallError


def result(data: object) -> ToolResult:
    return ToolResult(mcp.CallToolResult(content=[], structured_content={"result": data}))


def read(content: mcp.TextResourceContents | mcp.BlobResourceContents) -> ResourceContents:
    raw = mcp.ReadResourceResult(contents=[content], ttl_ms=0, cache_scope="private")
    return ResourceContents(raw, content.uri)


def csv(text: str) -> ResourceContents:
    return read(mcp.TextResourceContents(uri="data://x", text=text, mime_type="text/csv"))


@pytest.mark.parametrize(
    ("data", "columns", "rows"),
    [
        ([{"a": 1, "b": "x"}, {"a": 2, "c": None}], ["a", "b", "c"], 2),
        ({"a": [1, 2, 3], "b": ["x", "y", "z"]}, ["a", "b"], 3),
        ({"rows": [{"a": 1}], "total": 9}, ["a"], 1),
        ({"rows": [{"a": 1}], "columns": ["a"]}, ["a"], 1),
        ({"users": [{"name": "n"}, {"name": "m"}]}, ["name"], 2),
        ({"users": [{"name": "n"}], "page": 1}, ["name"], 1),
        ({"items": [], "next": None}, [], 0),
        ({"items": []}, [], 0),
        ({"columns": ["x", "y"], "data": [[1, 2], [3, 4], [5, 6]]}, ["x", "y"], 3),
        ({"columns": ["x", "y"], "data": [[1, 2], [3, 4]], "index": [0, 1]}, ["x", "y"], 2),
        ([1, 2, 3], ["value"], 3),
        (["a", None], ["value"], 2),
        ([[1, 2], [3, 4]], [0, 1], 2),
        ([], [], 0),
    ],
)
def test_what_looks_like_a_table_is_one(data: object, columns: list[object], rows: int) -> None:
    frame = result(data).df()

    assert list(frame.columns) == columns
    assert len(frame) == rows


def test_numbers_stay_numbers() -> None:
    """A missing number does not turn its column into objects."""
    frame = result([{"n": 1.5}, {}]).df()

    assert frame["n"].dtype.kind == "f"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"name": "x", "age": 3}, "a single object"),
        ("a,b\n1,2", "read_csv"),
        (5, "a single value"),
        (None, "no data"),
        ([{"a": 1}, 2], "different kinds"),
        ([[1], [2, 3]], "unequal length"),
        ({"x": [{"a": 1}], "y": [{"b": 1}, {"b": 2}]}, "2 tables"),
        ({"columns": ["x", "x", "y"], "data": [[1, 2, 3]]}, "a single object"),
        ({}, "a single object"),
    ],
)
def test_what_is_no_table_says_what_it_is(data: object, says: str) -> None:
    with pytest.raises(CallError, match=says):
        result(data).df()


def test_records_with_nothing_in_common_do_not_fill_the_memory() -> None:
    """A small answer cannot make a table of its square."""
    r = result([{f"k{i}": i} for i in range(20_000)])

    with pytest.raises(CallError, match="20,000 rows and 20,000 columns, nearly all"):
        r.df()


@pytest.mark.slow
def test_a_big_full_table_is_made() -> None:
    """Size alone is no reason to refuse."""
    assert result([dict.fromkeys(map(str, range(200)), 1)] * 50_001).df().shape == (
        50_001,
        200,
    )


def test_bytes_are_no_table() -> None:
    with pytest.raises(CallError, match="it is bytes"):
        read(mcp.BlobResourceContents(uri="data://b", blob="aGk=")).df()


def test_a_csv_resource_is_a_table() -> None:
    r = csv("a,b\n1,2\n")

    assert r.df().to_dict("records") == [{"a": 1, "b": 2}]


def test_broken_csv_is_our_error() -> None:
    """What pandas cannot read is a `CallError`, not pandas' own."""
    with pytest.raises(CallError, match="as CSV"):
        csv("").df()


def test_only_df_needs_pandas_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes half a second to import."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    r = result([{"a": 1}])

    assert r.data == [{"a": 1}]
    assert "<table" in r._repr_mimebundle_()["text/html"]
    with pytest.raises(CallError, match="pip install pandas"):
        r.df()
