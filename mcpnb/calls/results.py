"""The result of a call: data, text, tables and images, and resources."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from mcpnb import text as display
from mcpnb.calls.images import NOTEBOOK_BYTES, Image, blob_size, decoded
from mcpnb.calls.tables import Table, csv_frame, find_table, frame
from mcpnb.errors import CallError, ToolError
from mcpnb.text import Grid, count, quote, sanitize

if TYPE_CHECKING:
    from mcp_types import (
        BlobResourceContents,
        CallToolResult,
        ContentBlock,
        ReadResourceResult,
        TextResourceContents,
    )

    from mcpnb.calls.client import SignedInClient

__all__ = [
    "Content",
    "Image",
    "ResourceContents",
    "ToolResult",
    "all_pages",
    "read_resource",
    "text_value",
    "tool_error",
]


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of a result is shown; the rest is counted."""

    rows: int
    columns: int
    cell: int
    table: int
    """Characters of all cells together."""
    text: int
    lines: int
    json: int
    images: int

    def grid(self, table: Table) -> Grid:
        """Return the part of a table that is shown."""
        return Grid(
            table.columns[: self.columns],
            table.head(self.rows, self.columns),
            total=(len(table), len(table.columns)),
            cell=self.cell,
            characters=self.table,
        )


# A notebook file keeps what it shows: about 1 MB of text at the very most, and a few pictures.
NOTEBOOK = Caps(60, 20, 200, 60_000, 20_000, 1_000, 20_000, 8)
TERMINAL = Caps(20, 12, 60, 20_000, 2_000, 40, 2_000, 8)


class Content:
    """What results of tools and contents of resources have in common.

    Attributes:
        images: The pictures, in the server's order.
    """

    _bytes_at = ".raw"

    def __init__(self) -> None:
        self.images: list[Image] = []
        self._texts: list[str] = []
        self._others: list[str] = []

    @property
    def text(self) -> str:
        """All text parts, joined by line ends."""
        return "\n".join(self._texts)

    if TYPE_CHECKING:  # each kind of content has its own

        @property
        def data(self) -> Any:
            """The content as plain Python values."""

        def _title(self) -> str: ...

    def df(self) -> Any:
        """Give the content as a `pandas.DataFrame`.

        A list of records, a dict of columns, a dict with a list of records in it, pandas' own
        ``split`` form and a list of values are tables.

        Raises:
            CallError: The content is no table, or pandas is not installed.
        """
        return frame(find_table(self.data))

    def _add_resource(self, part: TextResourceContents | BlobResourceContents) -> None:
        text = getattr(part, "text", None)
        if isinstance(text, str):
            self._texts.append(text)
            return
        blob = getattr(part, "blob", "")
        mime_type = part.mime_type or "application/octet-stream"
        if mime_type.lower().startswith("image/"):
            self.images.append(Image(blob, mime_type))
        else:
            what = f"{sanitize(mime_type, 60)}, {count(blob_size(blob), 'byte')}"
            self._others.append(f"{what}, {quote(part.uri, 200)}: see {self._bytes_at}")

    @cached_property
    def _view(self) -> Any:
        """The data as far as a display can show them; never raises."""
        return text_value(self.text) if self._texts else None

    @cached_property
    def _table(self) -> Table | None:
        try:
            return find_table(self._view)
        except CallError:
            return None

    @cached_property
    def _shows_text(self) -> bool:
        # The SDK's servers send data twice: structured, and as JSON text (one part per list item).
        if not self._texts or not isinstance(self._view, dict | list):
            return bool(self._texts)
        whole = text_value(self.text)
        said = [text_value(text) for text in self._texts]
        try:
            return not any(known in (whole, said) for known in (self._view, self._wire_data()))
        except RecursionError:  # Python versions differ in what goes too deep to be compared
            return True

    @property
    def _shows_data(self) -> bool:
        if isinstance(self._view, dict | list):
            return self._table is None or not self._table.whole
        return self._view is not None and not self._texts

    def _wire_data(self) -> Any:
        return self._view

    def _data_excerpt(self, caps: Caps) -> tuple[str, str]:
        if isinstance(self._view, str):
            return display.excerpt(self._view, caps.text, caps.lines)
        return display.json_excerpt(self._view, caps.json, caps.lines)

    def _beside(self, table: Table) -> list[str]:
        if table.whole:
            return []
        rest = {k: v for k, v in self._view.items() if v is not table.payload}
        return [f"beside the table: {display.json_line(rest, TERMINAL.text // 4)}"]

    def _summary(self) -> str:
        parts = []
        if self._table is not None:
            rows, columns = len(self._table), len(self._table.columns)
            parts.append(f"table of {count(rows, 'row')} and {count(columns, 'column')}")
        elif self._shows_data:
            parts.append(_describe(self._view))
        if self._shows_text:
            parts.append(f"text of {count(len(self.text), 'character')}")
        if self.images:
            parts.append(count(len(self.images), "image"))
        if self._others:
            parts.append(count(len(self._others), "other part"))
        return ", ".join(parts) or "no content"

    def __repr__(self) -> str:
        lines = [f"<{self._title()}: {self._summary()}>"]
        lines += [repr(image) for image in self.images[: TERMINAL.images]]
        lines += _more(len(self.images) - TERMINAL.images, "image")
        if self._table is not None:
            lines.append(TERMINAL.grid(self._table).text())
            lines += self._beside(self._table)
        if self._shows_text:
            lines += display.excerpt(self.text, TERMINAL.text, TERMINAL.lines)
        if self._shows_data and self._table is None:
            lines += self._data_excerpt(TERMINAL)
        lines += self._other_lines(TERMINAL)
        return "\n".join(line for line in lines if line)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        del include, exclude  # IPython filters by itself
        bundle = {"text/plain": repr(self)}
        picture = self._lone_picture()
        if picture is not None and picture.inline_type in {"image/png", "image/jpeg"}:
            # As itself, not as HTML: that shows everywhere (exports, GitHub, plain viewers).
            bundle[picture.inline_type] = picture.inline_base64
        else:
            bundle["text/html"] = self._html()
        return bundle

    def _lone_picture(self) -> Image | None:
        if len(self.images) != 1 or self._texts or self._others or self._view is not None:
            return None
        return self.images[0]

    def _html(self) -> str:
        parts = self._html_images()
        if self._table is not None:
            parts.append(NOTEBOOK.grid(self._table).html())
        if self._shows_text:
            parts.append(display.block(*display.excerpt(self.text, NOTEBOOK.text, NOTEBOOK.lines)))
        if self._shows_data:
            text, note = self._data_excerpt(NOTEBOOK)
            if isinstance(self._view, dict | list):
                parts.append(display.folded(_describe(self._view), text, note))
            else:
                parts.append(display.block(text, note))
        parts += [display.paragraph(line) for line in self._other_lines(NOTEBOOK)]
        return display.page(parts or [display.paragraph("No content.")])

    def _html_images(self) -> list[str]:
        parts = []
        room = NOTEBOOK_BYTES
        for image in self.images[: NOTEBOOK.images]:
            kind = image.inline_type
            if kind is None or (room := room - len(image.data)) < 0:
                parts.append(display.paragraph(f"{image!r} is not shown here; see .images"))
            else:
                source = f"data:{kind};base64,{image.inline_base64}"
                parts.append(f'<p><img alt="" style="max-width:100%" src="{source}"></p>')
        more = _more(len(self.images) - NOTEBOOK.images, "image")
        return parts + [display.paragraph(line) for line in more]

    def _other_lines(self, caps: Caps) -> list[str]:
        return self._others[: caps.images] + _more(len(self._others) - caps.images, "part")


def text_value(text: str) -> Any:
    """Parse text if it is JSON, by the standard's own rules; else give it back."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> NoReturn:
    # Python also reads NaN and Infinity, which JSON (RFC 8259 section 6) does not have.
    raise ValueError(constant)


def _describe(data: object) -> str:
    if isinstance(data, dict):
        return f"object with {count(len(data), 'member')}"
    if isinstance(data, list):
        return f"list of {count(len(data), 'item')}"
    return "value"


def _more(number: int, noun: str) -> list[str]:
    return [f"… {count(number, f'more {noun}')} not shown"] if number > 0 else []


_ERROR_TEXT = 1_000


class ToolResult(Content):
    """The result of one tool call.

    Attributes:
        images: The pictures, in the server's order.
        raw: The MCP SDK's own result.
    """

    def __init__(self, raw: CallToolResult, *, name: str = "") -> None:
        """Wrap a result.

        Args:
            raw: The MCP SDK's result.
            name: The tool's name, for the display.
        """
        super().__init__()
        self.raw = raw
        self._name = name
        for part in raw.content:
            self._add(part)

    @property
    def is_error(self) -> bool:
        """Whether the tool itself reports a failure."""
        return bool(self.raw.is_error)

    @cached_property
    def data(self) -> Any:
        """The result as plain Python values.

        The structured content (without the ``result`` that the SDK wraps around what is no
        object); else the text parsed, if it is JSON; else the text; else `None`.
        """
        structured = self.raw.structured_content
        if structured is None:
            return text_value(self.text) if self._texts else None
        if isinstance(structured, dict) and structured.keys() == {"result"}:
            return structured["result"]
        return structured

    @cached_property
    def _view(self) -> Any:
        return self.data

    def _wire_data(self) -> Any:
        return self.raw.structured_content

    def _title(self) -> str:
        name = f" of {quote(self._name, 60)}" if self._name else ""
        return f"ToolResult{name}{', an error' if self.is_error else ''}"

    def _lone_picture(self) -> Image | None:
        return None if self.is_error else super()._lone_picture()

    def _html(self) -> str:
        if not self.is_error:
            return super()._html()
        return display.paragraph("The tool reported an error.") + super()._html()

    def _add(self, part: ContentBlock) -> None:
        if part.type == "text":
            self._texts.append(part.text)
        elif part.type == "image":
            self.images.append(Image(part.data, part.mime_type))
        elif part.type == "audio":
            size = count(blob_size(part.data), "byte")
            self._others.append(f"{sanitize(part.mime_type, 60)}, {size}: see .raw")
        elif part.type == "resource":
            self._add_resource(part.resource)
        else:
            name = quote(part.title or part.name, 100)
            self._others.append(f"resource {name} at {quote(part.uri, 200)}: read(uri) fetches it")


class ResourceContents(Content):
    """What `read` gives: the contents of one resource.

    Attributes:
        uri: The address that was read.
        images: The pictures among the contents.
        raw: The MCP SDK's own result.
    """

    _bytes_at = ".data"

    def __init__(self, raw: ReadResourceResult, uri: str) -> None:
        """Wrap what was read.

        Args:
            raw: The MCP SDK's result.
            uri: The address that was read.
        """
        super().__init__()
        self.raw = raw
        self.uri = uri
        for part in raw.contents:
            self._add_resource(part)

    @property
    def mime_type(self) -> str | None:
        """The type the server gives for the contents (the first one's, if there are several)."""
        return next((part.mime_type for part in self.raw.contents), None)

    @cached_property
    def data(self) -> Any:
        """The contents as plain Python values: parsed if JSON, else text, else bytes.

        One value for one content, a list for several, `None` for none.
        """
        values = [self._value(part) for part in self.raw.contents]
        return values[0] if len(values) == 1 else (values or None)

    def df(self) -> Any:
        """Give the contents as a `pandas.DataFrame`; also CSV, where the server calls it that.

        Raises:
            CallError: The content is no table, or pandas is not installed.
        """
        kind = (self.mime_type or "").partition(";")[0].strip().lower()
        return csv_frame(self.text) if kind == "text/csv" else super().df()

    def _title(self) -> str:
        kind = f", {sanitize(self.mime_type, 60)}" if self.mime_type else ""
        return f"ResourceContents of {quote(self.uri, 200)}{kind}"

    @staticmethod
    def _value(part: TextResourceContents | BlobResourceContents) -> Any:
        text = getattr(part, "text", None)
        return text_value(text) if isinstance(text, str) else decoded(getattr(part, "blob", ""))


def tool_error(name: str, result: ToolResult) -> ToolError:
    """Make the error of a tool that reported one: it quotes what the tool said."""
    said = result.text.strip()
    if not said and result.data is not None:
        said = display.json_line(result.data, _ERROR_TEXT)
    why = f": {quote(said, _ERROR_TEXT)}" if said else " and did not say why."
    return ToolError(f"The tool {quote(name, 100)} reported an error{why}", result=result)


# A server that always names a further page would be asked for ever.
_PAGES = 200


async def all_pages(fetch: Callable[..., Awaitable[Any]], member: str) -> list[Any]:
    """Follow a list's cursors to its end.

    Args:
        fetch: A verb of the client that takes ``cursor``.
        member: Where a page holds its items.
    """
    found: list[Any] = []
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await fetch(cursor=cursor)
        found += getattr(page, member)
        cursor = page.next_cursor
        if not cursor:
            break
    return found


async def read_resource(client: SignedInClient, uri: str) -> ResourceContents:
    """Read one resource."""
    return ResourceContents(await client.read_resource(uri), uri)
