"""Limits on what a server may send, and the guards that depend on the inside of a library."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib.metadata import version
from typing import Any, Final

import httpx2

from mcpnb.errors import CallError
from mcpnb.oauth.http import Unpacking
from mcpnb.text import quote
from mcpnb.tokens.auth import current_outcome

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Unpacked bytes of one response or one event of a stream; pictures and tables have far fewer."""
_MOST_WORK: Final = 20_000_000
"""Characters of the schema times those of the result; checking that much takes seconds."""
# A pattern can take time without end (measured: 27 letters, eight seconds, and every further letter
# doubles it), and so can references that fan out, or comparing each item with each.
# threat: endless-schema
_ENDLESS = frozenset({"pattern", "patternProperties", "uniqueItems"})
_REFERENCES = frozenset({"$dynamicRef", "$recursiveRef", "$ref"})


def _unknown_inside(library: str, guard: str) -> CallError:
    # A guard that sees nothing is none.
    return CallError(
        f"mcpnb does not know the inside of {library} {version(library)}, and could not {guard}. "
        f"Update mcpnb, or install an older {library}."
    )


def no_leftovers(http: httpx2.AsyncClient) -> Callable[[Any], Awaitable[None]]:
    """Return a request hook that closes idle connections on which a server left bytes.

    Such bytes would be read as the response to the next request.

    Raises:
        CallError: The client is not built as mcpnb knows it.
    """

    def unknown() -> CallError:
        return _unknown_inside("httpx2", "check connections for bytes that a server left on them")

    try:
        transports: list[Any] = [http._transport, *http._mounts.values()]  # noqa: SLF001  no other way
        pools = [transport._pool for transport in transports if transport is not None]  # noqa: SLF001
        _ = [pool.connections for pool in pools]
    except AttributeError:
        raise unknown() from None

    async def close_them(_: Any) -> None:
        for pool in pools:
            for connection in pool.connections:
                if not connection.is_idle():
                    continue
                left = _leftover(connection)
                if left is None:
                    raise unknown()
                if left:
                    await connection.aclose()

    return close_them


def _leftover(connection: Any) -> bytes | None:
    """Return the unread bytes of a connection; `None` if it is not built as mcpnb knows it."""
    inner = connection
    while hasattr(inner, "_connection"):  # a pool's connection and a proxy's hold another
        inner = inner._connection  # noqa: SLF001  no other way
    if inner is None or hasattr(inner, "_h2_state"):  # not connected; HTTP/2 numbers its responses
        return b""
    protocol = getattr(inner, "_h11_state", None)
    return bytes(protocol.trailing_data[0]) if protocol is not None else None


async def bounded(response: httpx2.Response) -> None:
    """Let a response end in an error where it is larger than anybody means it to be.

    A response hook of the HTTP client.

    Raises:
        CallError: The response is not built as mcpnb knows it.
        httpx2.DecodingError: It is packed in a way that was not asked for.
    """
    stream = response.stream
    if not isinstance(stream, httpx2.AsyncByteStream):
        raise _unknown_inside("httpx2", "limit the size of a response")
    try:
        # Unpacked here, so httpx2 must not unpack it again.
        unpacking = Unpacking(response.headers.pop("content-encoding", ""))
    except ValueError as error:
        raise httpx2.DecodingError(f"The response cannot be read: {error}.") from None
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
    message = f"A response was larger than {MAX_ANSWER >> 20} MiB. The rest was not read."
    # The SDK tells the caller only that the stream has ended.
    if (outcome := current_outcome.get()) is not None:
        outcome.error = CallError(f"{message} The server may have made the call all the same.")
    return httpx2.DecodingError(message)


def bounded_validation(session: Any) -> None:
    """Let the SDK check results only against schemas whose check ends in time.

    The specification wants clients to check structured content (SHOULD, 2025-06-18 and later,
    tools). It is done wherever the work is bounded by what came over the wire.

    Raises:
        CallError: The session is not built as mcpnb knows it.
    """
    validate = getattr(session, "validate_tool_result", None)
    if validate is None or not isinstance(getattr(session, "_tool_output_schemas", None), dict):
        raise _unknown_inside("mcp", "limit the time that checking a result takes")

    async def validate_tool_result(name: str, result: Any) -> None:
        schema = session._tool_output_schemas.get(name)  # noqa: SLF001  no other way to see it
        if schema is not None and not _ends(schema, result.structured_content):
            return
        try:
            await validate(name, result)
        except RecursionError:  # a schema that refers to itself says nothing
            return
        except RuntimeError as error:
            why = quote(str(error.__cause__ or error).partition("\n")[0])
            refused = CallError(f"The result of {quote(name)} does not fit its schema: {why}")
        else:
            return
        raise refused

    session.validate_tool_result = validate_tool_result


def _ends(schema: Any, content: Any) -> bool:
    """Return whether the work of a check is bounded by the sizes of schema and result."""
    try:
        work = len(json.dumps(schema)) * len(json.dumps(content))
    except (TypeError, ValueError, RecursionError):
        return False
    keywords: list[str] = []
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            keywords += node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    # A single reference cannot fan out.
    few = sum(keyword in _REFERENCES for keyword in keywords) <= 1
    return work <= _MOST_WORK and few and not _ENDLESS.intersection(keywords)
