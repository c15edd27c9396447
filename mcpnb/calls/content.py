"""What results of tools and contents of resources have in common: values, and one display."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from mcpnb.calls import display
from mcpnb.calls.display import NOTEBOOK, TERMINAL, Caps, count
from mcpnb.calls.images import Image, blob_size
from mcpnb.calls.tables import Table, find_table, frame
from mcpnb.errors import CallError, plain, quoted

if TYPE_CHECKING:
    from mcp_types import BlobResourceContents, TextResourceContents

__all__ = ["Content", "text_value"]


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
            what = f"{plain(mime_type, 60)}, {count(blob_size(blob), 'byte')}"
            self._others.append(f"{what}, {quoted(part.uri, 200)}: see {self._bytes_at}")

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
            lines.append(display.text_table(display.shown_grid(self._table, TERMINAL)))
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
            parts.append(display.html_table(display.shown_grid(self._table, NOTEBOOK)))
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
        room = NOTEBOOK.image_bytes
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
