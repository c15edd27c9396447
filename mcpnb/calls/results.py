"""The result of a call: data, text, tables and pictures, and how they are displayed."""

from __future__ import annotations

import base64
import binascii
import json
import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from mcpnb import text as display
from mcpnb.calls.tables import Table, csv_frame, find_table, frame
from mcpnb.errors import CallError, ToolError
from mcpnb.text import Grid, count, paragraph, quote, sanitize

if TYPE_CHECKING:
    from mcp_types import (
        BlobResourceContents,
        CallToolResult,
        ReadResourceResult,
        TextResourceContents,
    )


_IMAGES = 8
_IMAGE_BYTES = 8_000_000
_ERROR_TEXT = 1_000


class _Caps(NamedTuple):
    """How much of a result is shown; the rest is counted."""

    rows: int
    columns: int
    cell: int
    table: int  # characters of all cells together
    text: int
    lines: int

    def grid(self, table: Table) -> Grid:
        return Grid(
            table.columns[: self.columns],
            table.head(self.rows, self.columns),
            total=(len(table), len(table.columns)),
            cell=self.cell,
            characters=self.table,
        )


# A notebook file keeps what it shows: about 1 MB of text at the very most, and a few pictures.
_NOTEBOOK = _Caps(60, 20, 200, 60_000, 20_000, 1_000)
_TERMINAL = _Caps(20, 12, 60, 20_000, 2_000, 40)

# Formats that can hold no script and load nothing: SVG can do both and is never shown inline.
_SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n", b""),
    "image/jpeg": (b"\xff\xd8\xff", b""),
    "image/gif": (b"GIF8", b""),
    "image/webp": (b"RIFF", b"WEBP"),
}


class Image:
    """One picture of a result: `data` and `mime_type`, shown by a notebook, written by `save`.

    Attributes:
        mime_type: What the bytes are, according to the server.
    """

    def __init__(self, encoded: str, mime_type: str) -> None:
        """Hold a picture as MCP sends it: in base64."""
        self._encoded = encoded
        self.mime_type = mime_type

    @cached_property
    def data(self) -> bytes:
        """The bytes.

        Raises:
            CallError: The server sent something that is not base64.
        """
        return _decoded(self._encoded)

    @property
    def inline(self) -> dict[str, str]:
        """The real type and the bytes in base64, if a notebook shows it inline; else empty.

        PNG, JPEG, GIF and WebP of up to 8 MB are shown, and only if the bytes are one of these.
        They are encoded here: nothing that the server wrote goes into a page.
        """
        claimed = self.mime_type.partition(";")[0].strip().lower()
        if claimed in _SIGNATURES and _size(self._encoded) <= _IMAGE_BYTES:
            with suppress(CallError):
                for name, (start, at_eight) in _SIGNATURES.items():
                    if self.data.startswith(start) and self.data[8:].startswith(at_eight):
                        return {name: base64.b64encode(self.data).decode("ascii")}
        return {}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file, and return its path."""
        target = Path(path)
        target.write_bytes(self.data)
        return target

    def __repr__(self) -> str:
        return f"<Image {_kind_and_size(self.mime_type, self._encoded)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        del include, exclude  # IPython filters by itself
        return {"text/plain": repr(self), **self.inline}


def _decoded(encoded: str) -> bytes:
    # As servers write it: also in the URL-safe alphabet, with line ends, without padding.
    try:
        text = "".join(encoded.split()).rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CallError(
            "The server sent bytes that are not base64. `.raw` has them as they came."
        ) from None


def _size(encoded: str) -> int:
    return len(encoded.rstrip("=")) * 3 // 4


def _kind_and_size(mime_type: str, encoded: str) -> str:
    return f"{sanitize(mime_type, 60)}, {count(_size(encoded), 'byte')}"


class Content:
    """The common part of a tool's result and a resource's contents.

    Attributes:
        images: The pictures, in the server's order.
    """

    is_error = False

    def __init__(self, title: str, structured: Any = None) -> None:
        """Hold nothing yet but the structured content of a tool's result."""
        self.images: list[Image] = []
        self._title = title
        self._structured = structured
        self._texts: list[str] = []
        self._others: list[str] = []

    @property
    def text(self) -> str:
        """All text parts, joined by line ends."""
        return "\n".join(self._texts)

    @cached_property
    def data(self) -> Any:
        """The content as plain Python values.

        A tool's structured content, without the ``result`` that the SDK wraps around what is no
        object; else the text, parsed if it is JSON; else `None`.
        """
        return self._view

    def df(self) -> Any:
        """Return the content as a `pandas.DataFrame`.

        A list of records, a dict of columns, a dict with a list of records in it, pandas' own
        ``split`` form and a list of values are tables.

        Raises:
            CallError: The content is no table, or pandas is not installed.
        """
        return frame(find_table(self.data))

    def _add_resource(
        self, part: TextResourceContents | BlobResourceContents, bytes_at: str
    ) -> None:
        text = getattr(part, "text", None)
        if isinstance(text, str):
            self._texts.append(text)
            return
        blob = getattr(part, "blob", "")
        mime_type = part.mime_type or "application/octet-stream"
        if mime_type.lower().startswith("image/"):
            self.images.append(Image(blob, mime_type))
        else:
            what = _kind_and_size(mime_type, blob)
            self._others.append(f"{what}, {quote(part.uri, 200)}: see {bytes_at}")

    # What is displayed: pictures, then the table, then text, then other data

    @cached_property
    def _view(self) -> Any:
        """The data as far as a display can show them; never raises."""
        if self._structured is None:
            return _parsed(self.text) if self._texts else None
        if isinstance(self._structured, dict) and self._structured.keys() == {"result"}:
            return self._structured["result"]
        return self._structured

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
        texts = [_parsed(self.text), [_parsed(text) for text in self._texts]]
        try:
            return not any(known in texts for known in (self._view, self._structured))
        except RecursionError:  # Python versions differ in what goes too deep to be compared
            return True

    @property
    def _shows_data(self) -> bool:
        if isinstance(self._view, dict | list):
            return self._table is None or not self._table.whole
        return self._view is not None and not self._texts

    def _data_excerpt(self, caps: _Caps) -> tuple[str, str]:
        cut = display.excerpt if isinstance(self._view, str) else display.json_excerpt
        return cut(self._view, caps.text, caps.lines)

    def _summary(self) -> str:
        parts = []
        if self._table is not None:
            rows, columns = len(self._table), len(self._table.columns)
            parts.append(f"table of {count(rows, 'row')} and {count(columns, 'column')}")
        elif self._shows_data:
            parts.append(_describe(self._view))
        if self._shows_text:
            parts.append(f"text of {count(len(self.text), 'character')}")
        for several, noun in ((self.images, "image"), (self._others, "other part")):
            if several:
                parts.append(count(len(several), noun))
        return ", ".join(parts) or "no content"

    def __repr__(self) -> str:
        lines = [f"<{self._title}: {self._summary()}>"]
        lines += _first([repr(image) for image in self.images], "image")
        if self._table is not None:
            lines.append(_TERMINAL.grid(self._table).text())
            if not self._table.whole:
                rest = {k: v for k, v in self._view.items() if v is not self._table.payload}
                lines.append(f"next to the table: {display.json_line(rest, _TERMINAL.text // 4)}")
        if self._shows_text:
            lines += display.excerpt(self.text, _TERMINAL.text, _TERMINAL.lines)
        if self._shows_data and self._table is None:
            lines += self._data_excerpt(_TERMINAL)
        return "\n".join(line for line in lines + _first(self._others, "part") if line)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        del include, exclude  # IPython filters by itself
        more = self._texts or self._others or self.is_error or self._view is not None
        if len(self.images) == 1 and not more:
            inline = self.images[0].inline
            if "image/png" in inline or "image/jpeg" in inline:
                # As itself, not as HTML: that shows everywhere (exports, GitHub, plain viewers).
                return {"text/plain": repr(self), **inline}
        return {"text/plain": repr(self), "text/html": display.page(self._html())}

    def _html(self) -> list[str]:
        parts = [paragraph("The tool reported an error.")] if self.is_error else []
        parts += self._html_images()
        if self._table is not None:
            parts.append(_NOTEBOOK.grid(self._table).html())
        if self._shows_text:
            text = display.excerpt(self.text, _NOTEBOOK.text, _NOTEBOOK.lines)
            parts.append(display.block(*text))
        if self._shows_data:
            data = self._data_excerpt(_NOTEBOOK)
            if isinstance(self._view, dict | list):
                parts.append(display.folded(_describe(self._view), *data))
            else:
                parts.append(display.block(*data))
        parts += [paragraph(line) for line in _first(self._others, "part")]
        return parts or [paragraph("No content.")]

    def _html_images(self) -> list[str]:
        parts = []
        room = _IMAGE_BYTES
        for image in self.images[:_IMAGES]:
            inline = image.inline
            room -= len(image.data) if inline else 0
            if inline and room >= 0:
                [(kind, encoded)] = inline.items()
                source = f"data:{kind};base64,{encoded}"
                parts.append(f'<p><img alt="" style="max-width:100%" src="{source}"></p>')
            else:
                parts.append(paragraph(f"{image!r} is not shown here; see .images"))
        return parts + [paragraph(line) for line in _first(self.images, "image")[_IMAGES:]]


def _parsed(text: str) -> Any:
    """Return the values if the text is JSON by the standard's own rules; else the text."""
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
    return f"list of {count(len(data), 'item')}" if isinstance(data, list) else "value"


def _first(lines: list[Any], noun: str) -> list[Any]:
    """Return the first eight lines, and one that counts the others."""
    more = len(lines) - _IMAGES
    return lines[:_IMAGES] + ([f"… {count(more, f'more {noun}')} not shown"] if more > 0 else [])


class ToolResult(Content):
    """The result of one tool call.

    Attributes:
        images: The pictures, in the server's order.
        is_error: Whether the tool itself reports a failure.
        raw: The MCP SDK's own result.
    """

    def __init__(self, raw: CallToolResult, *, name: str = "") -> None:
        """Sort the parts of the SDK's result by kind. `name`, the tool's, appears in the title."""
        of, error = f" of {quote(name, 60)}" if name else "", ", an error" if raw.is_error else ""
        super().__init__(f"ToolResult{of}{error}", raw.structured_content)
        self.raw = raw
        self.is_error = bool(raw.is_error)
        for part in raw.content:
            if part.type == "text":
                self._texts.append(part.text)
            elif part.type == "image":
                self.images.append(Image(part.data, part.mime_type))
            elif part.type == "audio":
                self._others.append(f"{_kind_and_size(part.mime_type, part.data)}: see .raw")
            elif part.type == "resource":
                self._add_resource(part.resource, ".raw")
            else:
                link = f"{quote(part.title or part.name, 100)} at {quote(part.uri, 200)}"
                self._others.append(f"resource {link}: read(uri) fetches it")


class ResourceContents(Content):
    """The contents of one resource, as `read` returns them.

    Attributes:
        uri: The address that was read.
        mime_type: The server's type of the contents (of the first, if there are several).
        images: The pictures among the contents.
        raw: The MCP SDK's own result.
    """

    def __init__(self, raw: ReadResourceResult, uri: str) -> None:
        """Sort the parts of what was read at `uri` by kind."""
        self.raw = raw
        self.uri = uri
        self.mime_type: str | None = next((part.mime_type for part in raw.contents), None)
        kind = f", {sanitize(self.mime_type, 60)}" if self.mime_type else ""
        super().__init__(f"ResourceContents of {quote(uri, 200)}{kind}")
        for part in raw.contents:
            self._add_resource(part, ".data")

    @cached_property
    def data(self) -> Any:
        """The contents as plain Python values: parsed if JSON, else text, else bytes.

        One value for one content, a list for several, `None` for none.

        Raises:
            CallError: The server sent something that is not base64.
        """
        values = []
        for part in self.raw.contents:
            text, blob = getattr(part, "text", None), getattr(part, "blob", "")
            values.append(_parsed(text) if isinstance(text, str) else _decoded(blob))
        return values[0] if len(values) == 1 else (values or None)

    def df(self) -> Any:
        """Return the contents as a `pandas.DataFrame`; also CSV, where the server calls it that.

        Raises:
            CallError: The content is no table, or pandas is not installed.
        """
        kind = (self.mime_type or "").partition(";")[0].strip().lower()
        return csv_frame(self.text) if kind == "text/csv" else super().df()


def tool_error(name: str, result: ToolResult) -> ToolError:
    """Return the error for a tool that reported one: it quotes the tool's words."""
    words = result.text.strip()
    if not words and result.data is not None:
        words = display.json_line(result.data, _ERROR_TEXT)
    why = f": {quote(words, _ERROR_TEXT)}" if words else " and did not say why."
    return ToolError(f"The tool {quote(name, 100)} reported an error{why}", result=result)
