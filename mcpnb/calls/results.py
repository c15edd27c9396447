"""The result of a call: data, text, tables and pictures, and how they are displayed."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Awaitable, Callable
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
        ContentBlock,
        ReadResourceResult,
        TextResourceContents,
    )

    from mcpnb.calls.client import SignedInClient


_IMAGES = 8
_IMAGE_BYTES = 8_000_000
_ERROR_TEXT = 1_000


class _Caps(NamedTuple):
    """How much of a result is shown; the rest is counted."""

    rows: int
    columns: int
    cell: int
    table: int
    """Characters of all cells together."""
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
    """One picture of a result: `data` and `mime_type`, shown by a notebook, written by `save`."""

    def __init__(self, encoded: str, mime_type: str) -> None:
        """Hold a picture as MCP sends it.

        Args:
            encoded: The bytes in base64.
            mime_type: What they are, according to the server.
        """
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
    def inline_type(self) -> str | None:
        """The type that a notebook shows it as; `None` if it is not shown inline.

        PNG, JPEG, GIF and WebP of up to 8 MB are shown, and only if the bytes are one of these.
        """
        claimed = self.mime_type.partition(";")[0].strip().lower()
        if claimed not in _SIGNATURES or _size(self._encoded) > _IMAGE_BYTES:
            return None
        try:
            data = self.data
        except CallError:
            return None
        for name, (start, at_eight) in _SIGNATURES.items():
            if data.startswith(start) and data[8:].startswith(at_eight):
                return name
        return None

    @property
    def inline_base64(self) -> str:
        """The bytes in base64, encoded here: nothing that the server wrote goes into a page."""
        return base64.b64encode(self.data).decode("ascii")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file, and return its path."""
        target = Path(path)
        target.write_bytes(self.data)
        return target

    def __repr__(self) -> str:
        return f"<Image {_kind_and_size(self.mime_type, self._encoded)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        del include, exclude  # IPython filters by itself
        inline = {self.inline_type: self.inline_base64} if self.inline_type else {}
        return {"text/plain": repr(self), **inline}


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

    _bytes_at = ".raw"

    def __init__(self) -> None:
        self.images: list[Image] = []
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
            what = _kind_and_size(mime_type, blob)
            self._others.append(f"{what}, {quote(part.uri, 200)}: see {self._bytes_at}")

    # What is displayed: pictures, then the table, then text, then other data

    def _title(self) -> str:
        raise NotImplementedError

    @cached_property
    def _view(self) -> Any:
        """The data as far as a display can show them; never raises."""
        return _parsed(self.text) if self._texts else None

    def _same_as_text(self) -> list[Any]:
        """Forms in which the text may repeat the data."""
        return [self._view]

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
            return not any(known in texts for known in self._same_as_text())
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
        lines = [f"<{self._title()}: {self._summary()}>"]
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
        bundle = {"text/plain": repr(self)}
        picture = self._lone_picture()
        if picture is not None and picture.inline_type in {"image/png", "image/jpeg"}:
            # As itself, not as HTML: that shows everywhere (exports, GitHub, plain viewers).
            bundle[picture.inline_type] = picture.inline_base64
        else:
            bundle["text/html"] = display.page(self._html())
        return bundle

    def _lone_picture(self) -> Image | None:
        if len(self.images) != 1 or self._texts or self._others or self._view is not None:
            return None
        return self.images[0]

    def _html(self) -> list[str]:
        parts = self._html_images()
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
            kind = image.inline_type
            if kind is None or (room := room - len(image.data)) < 0:
                parts.append(paragraph(f"{image!r} is not shown here; see .images"))
            else:
                source = f"data:{kind};base64,{image.inline_base64}"
                parts.append(f'<p><img alt="" style="max-width:100%" src="{source}"></p>')
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
    def _view(self) -> Any:
        structured = self.raw.structured_content
        if structured is None:
            return super()._view
        if isinstance(structured, dict) and structured.keys() == {"result"}:
            return structured["result"]
        return structured

    def _same_as_text(self) -> list[Any]:
        return [self._view, self.raw.structured_content]

    def _title(self) -> str:
        name = f" of {quote(self._name, 60)}" if self._name else ""
        return f"ToolResult{name}{', an error' if self.is_error else ''}"

    def _lone_picture(self) -> Image | None:
        return None if self.is_error else super()._lone_picture()

    def _html(self) -> list[str]:
        error = [paragraph("The tool reported an error.")] if self.is_error else []
        return error + super()._html()

    def _add(self, part: ContentBlock) -> None:
        if part.type == "text":
            self._texts.append(part.text)
        elif part.type == "image":
            self.images.append(Image(part.data, part.mime_type))
        elif part.type == "audio":
            self._others.append(f"{_kind_and_size(part.mime_type, part.data)}: see .raw")
        elif part.type == "resource":
            self._add_resource(part.resource)
        else:
            name = quote(part.title or part.name, 100)
            self._others.append(f"resource {name} at {quote(part.uri, 200)}: read(uri) fetches it")


class ResourceContents(Content):
    """The contents of one resource, as `read` returns them.

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
        """The server's type of the contents (of the first, if there are several)."""
        return next((part.mime_type for part in self.raw.contents), None)

    @cached_property
    def data(self) -> Any:
        """The contents as plain Python values: parsed if JSON, else text, else bytes.

        One value for one content, a list for several, `None` for none.

        Raises:
            CallError: The server sent something that is not base64.
        """
        texts = [getattr(part, "text", None) for part in self.raw.contents]
        values = [
            _parsed(text) if isinstance(text, str) else _decoded(getattr(part, "blob", ""))
            for text, part in zip(texts, self.raw.contents, strict=True)
        ]
        return values[0] if len(values) == 1 else (values or None)

    def df(self) -> Any:
        """Return the contents as a `pandas.DataFrame`; also CSV, where the server calls it that.

        Raises:
            CallError: The content is no table, or pandas is not installed.
        """
        kind = (self.mime_type or "").partition(";")[0].strip().lower()
        return csv_frame(self.text) if kind == "text/csv" else super().df()

    def _title(self) -> str:
        kind = f", {sanitize(self.mime_type, 60)}" if self.mime_type else ""
        return f"ResourceContents of {quote(self.uri, 200)}{kind}"


def tool_error(name: str, result: ToolResult) -> ToolError:
    """Return the error for a tool that reported one: it quotes the tool's words."""
    words = result.text.strip()
    if not words and result.data is not None:
        words = display.json_line(result.data, _ERROR_TEXT)
    why = f": {quote(words, _ERROR_TEXT)}" if words else " and did not say why."
    return ToolError(f"The tool {quote(name, 100)} reported an error{why}", result=result)


# A server that always names a further page would be asked for ever.
_PAGES = 200


async def all_pages(fetch: Callable[..., Awaitable[Any]], member: str) -> list[Any]:
    """Return all items of a list, page by page.

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
