"""Limits on what a server may send, and an end for what a call leaves behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import httpx2

from mcpnb.errors import CallError
from mcpnb.oauth.http import Unpacking
from mcpnb.text import quote
from mcpnb.tokens.auth import current_outcome

__all__ = ["bounded", "bounded_validation", "no_leftovers"]


def no_leftovers(http: httpx2.AsyncClient) -> Callable[[Any], Awaitable[None]]:
    """Give the request hook that closes idle connections on which something was left over."""

    async def close_them(_: Any) -> None:
        transports: list[Any] = [http._transport, *http._mounts.values()]  # noqa: SLF001  no other way
        for transport in transports:
            for connection in getattr(getattr(transport, "_pool", None), "connections", ()):
                if connection.is_idle() and _leftover(connection):
                    await connection.aclose()

    return close_them


def _leftover(connection: Any) -> bytes:
    inner = connection
    while (deeper := getattr(inner, "_connection", None)) is not None:  # a proxy's holds another
        inner = deeper
    protocol = getattr(inner, "_h11_state", None)  # HTTP/2 numbers its answers
    return bytes(protocol.trailing_data[0]) if protocol is not None else b""


MAX_ANSWER: Final = 64 * 1024 * 1024
"""Unpacked bytes of one answer, or of one event of a stream: a picture or a table has far fewer."""
_MOST_WORK: Final = 20_000_000
"""Characters of the schema times those of the result; checking that much takes seconds."""
# A pattern can take time without end (measured: 27 letters, eight seconds, and every further letter
# doubles it), and so can references that fan out, or comparing each item with each.
# threat: endless-schema
_ENDLESS = frozenset({"pattern", "patternProperties", "uniqueItems"})
_REFERENCES = frozenset({"$dynamicRef", "$recursiveRef", "$ref"})


async def bounded(response: httpx2.Response) -> None:
    """Have an answer end in an error where it is larger than anybody means it to be.

    A response hook of the HTTP client.

    Raises:
        httpx2.DecodingError: It is packed in a way that was not asked for.
    """
    stream = response.stream
    if not isinstance(stream, httpx2.AsyncByteStream):
        return
    try:
        # Unpacked here, it is not to be unpacked again.
        unpacking = Unpacking(response.headers.pop("content-encoding", ""))
    except ValueError as error:
        raise httpx2.DecodingError(f"The answer cannot be read: {error}.") from None
    events = response.headers.get("content-type", "").startswith("text/event-stream")
    response.stream = _Bounded(stream, unpacking, events=events)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(
        self, stream: httpx2.AsyncByteStream, unpacking: Unpacking, *, events: bool
    ) -> None:
        self._stream = stream
        self._unpacking = unpacking
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            for part in self._parts(chunk):
                end = max(part.rfind(b"\n\n"), part.rfind(b"\r\n\r\n")) if self._events else -1
                size = size + len(part) if end < 0 else len(part) - end
                # threat: endless-answer
                if size > MAX_ANSWER:
                    raise _too_large()
                yield part

    def _parts(self, chunk: bytes) -> Iterator[bytes]:
        try:
            yield from self._unpacking.parts(chunk)
        except ValueError as error:
            raise httpx2.DecodingError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def _too_large() -> httpx2.DecodingError:
    said = f"An answer was larger than {MAX_ANSWER >> 20} MiB, and not read further."
    # The SDK tells whoever called only that the stream has ended.
    if (outcome := current_outcome.get()) is not None:
        outcome.error = CallError(f"{said} The call may have been made there all the same.")
    return httpx2.DecodingError(said)


def bounded_validation(session: Any) -> None:
    """Have the SDK check results only against schemas that end in time.

    The specification has clients check structured content (SHOULD, 2025-06-18 and later, tools):
    so it is done wherever the work is bounded by what came over the wire.
    """
    validate = session.validate_tool_result

    async def validate_tool_result(name: str, result: Any) -> None:
        schema = session._tool_output_schemas.get(name)  # noqa: SLF001  no other way to see it
        if schema is not None and not _ends(schema, result.structured_content):
            return
        try:
            await validate(name, result)
        except RecursionError:  # a schema that refers to itself says nothing
            return
        except RuntimeError as error:
            said = f"The result of {quote(name)} is not what the server announces: "
            refused = CallError(said + quote(str(error.__cause__ or error).partition("\n")[0]))
        else:
            return
        raise refused

    session.validate_tool_result = validate_tool_result


def _ends(schema: Any, content: Any) -> bool:
    """Tell whether the work of checking is bounded by the sizes of schema and result."""
    try:
        work = len(json.dumps(schema)) * len(json.dumps(content))
    except (TypeError, ValueError, RecursionError):
        return False
    found = list(_keywords(schema))
    # A single reference cannot fan out.
    few = sum(keyword in _REFERENCES for keyword in found) <= 1
    return work <= _MOST_WORK and few and not _ENDLESS.intersection(found)


def _keywords(schema: Any) -> Any:
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from (key for key in node if isinstance(key, str))
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
