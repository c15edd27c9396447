"""Pictures from a server: bytes, a type, and a display that shows only what is a picture."""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpnb.errors import CallError
from mcpnb.text import count, sanitize

if TYPE_CHECKING:
    import os

__all__ = ["NOTEBOOK_BYTES", "Image", "blob_size", "decoded"]

NOTEBOOK_BYTES = 8_000_000
"""Bytes of all pictures that one display shows: a notebook file keeps them."""

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
        """Take the picture as MCP sends it.

        Args:
            encoded: The bytes in base64.
            mime_type: What the server says they are.
        """
        self._encoded = encoded
        self.mime_type = mime_type

    @cached_property
    def data(self) -> bytes:
        """The bytes.

        Raises:
            CallError: The server sent something that is not base64.
        """
        return decoded(self._encoded)

    @property
    def inline_type(self) -> str | None:
        """The type a notebook shows it as; `None` if it is not shown inline.

        PNG, JPEG, GIF and WebP of up to 8 MB are, and only if the bytes are what they are said
        to be one of.
        """
        if self.mime_type.partition(";")[0].strip().lower() not in _SIGNATURES:
            return None
        if blob_size(self._encoded) > NOTEBOOK_BYTES:
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
        """The bytes in base64, encoded here: nothing the server wrote goes into a page."""
        return base64.b64encode(self.data).decode("ascii")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file and give its path."""
        target = Path(path)
        target.write_bytes(self.data)
        return target

    def __repr__(self) -> str:
        size = count(blob_size(self._encoded), "byte")
        return f"<Image {sanitize(self.mime_type, 60)}, {size}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        del include, exclude  # IPython filters by itself
        bundle = {"text/plain": repr(self)}
        if self.inline_type:
            bundle[self.inline_type] = self.inline_base64
        return bundle

    def _repr_png_(self) -> bytes | None:
        return self.data if self.inline_type == "image/png" else None


def decoded(encoded: str) -> bytes:
    """Decode base64 as servers write it: also the URL-safe alphabet, line ends, no padding.

    Raises:
        CallError: It is not base64.
    """
    try:
        text = "".join(encoded.split()).rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CallError(
            "The server sent bytes that are not base64. `.raw` has them as they came."
        ) from None


def blob_size(encoded: str) -> int:
    """Give the size of base64 text when decoded, without decoding it."""
    return len(encoded.rstrip("=")) * 3 // 4
