"""What a call gives back: values to work with, and a display that trusts nobody."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mcpnb.calls import display
from mcpnb.calls.content import Content, text_value
from mcpnb.calls.display import count
from mcpnb.calls.images import Image, blob_size, decoded
from mcpnb.calls.tables import csv_frame
from mcpnb.errors import ToolError, plain, quoted

if TYPE_CHECKING:
    from mcp_types import (
        BlobResourceContents,
        CallToolResult,
        ContentBlock,
        ReadResourceResult,
        TextResourceContents,
    )

__all__ = ["Image", "ResourceContents", "ToolResult", "tool_error"]

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
        name = f" of {quoted(self._name, 60)}" if self._name else ""
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
            self._others.append(f"{plain(part.mime_type, 60)}, {size}: see .raw")
        elif part.type == "resource":
            self._add_resource(part.resource)
        else:
            name = quoted(part.title or part.name, 100)
            self._others.append(f"resource {name} at {quoted(part.uri, 200)}: read(uri) fetches it")


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
        kind = f", {plain(self.mime_type, 60)}" if self.mime_type else ""
        return f"ResourceContents of {quoted(self.uri, 200)}{kind}"

    @staticmethod
    def _value(part: TextResourceContents | BlobResourceContents) -> Any:
        text = getattr(part, "text", None)
        return text_value(text) if isinstance(text, str) else decoded(getattr(part, "blob", ""))


def tool_error(name: str, result: ToolResult) -> ToolError:
    """Make the error of a tool that reported one: it quotes what the tool said."""
    said = result.text.strip()
    if not said and result.data is not None:
        said = display.json_line(result.data, _ERROR_TEXT)
    why = f": {quoted(said, _ERROR_TEXT)}" if said else " and did not say why."
    return ToolError(f"The tool {quoted(name, 100)} reported an error{why}", result=result)
