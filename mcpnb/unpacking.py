"""Unpacking what servers send, a little at a time.

The HTTP libraries' own unpacks as much as there is, packed several times over at that: 300 bytes
become gigabytes in one step (measured). Ours stops wherever the reader does.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["ACCEPTED", "Unpacking"]

ACCEPTED: Final = "gzip"
"""What answers may be packed as: the value for ``Accept-Encoding``."""
_PLAIN = ("", "identity")
# threat: unknown-packing
_PACKED = ("gzip", "x-gzip", "deflate")
_EITHER = 32
"""Added to zlib's window: whether it is gzip's format or its own shows at the first bytes."""
_STEP = 1024 * 1024


class Unpacking:
    """Unpacks one answer's body as it comes."""

    def __init__(self, encoding: str) -> None:
        """Begin with a body.

        Args:
            encoding: Its ``Content-Encoding`` (RFC 9110 section 8.4).

        Raises:
            ValueError: It is packed in a way that was not asked for, or in several.
        """
        kind = encoding.strip().lower()
        if kind not in (*_PLAIN, *_PACKED):
            raise ValueError("it is packed in a way that was not asked for")
        plain = kind in _PLAIN
        self._packed: Any = None if plain else zlib.decompressobj(zlib.MAX_WBITS | _EITHER)

    def parts(self, chunk: bytes) -> Iterator[bytes]:
        """Unpack the next bytes, in parts of a MiB at most; none is made before it is asked for.

        Raises:
            ValueError: They are not what was announced.
        """
        if self._packed is None:
            yield chunk
            return
        while chunk and not self._packed.eof:
            try:
                # threat: decompression-bomb
                part = self._packed.decompress(chunk, _STEP)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            chunk = self._packed.unconsumed_tail
            yield part
