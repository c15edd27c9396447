"""The one class that is `httpx.Auth` and `httpx2.Auth`, for logins and for configured headers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import httpx
import httpx2

from mcpnb.concurrency import ProcessBound, finished, in_background
from mcpnb.errors import McpnbError, detached
from mcpnb.oauth.challenge import bearer_challenge
from mcpnb.oauth.urls import DEFAULT_PORTS
from mcpnb.text import redact
from mcpnb.tokens import AccessToken, Tokens
from mcpnb.tokens.source import FORBIDDEN, UNAUTHORIZED, Refusal
from mcpnb.tokens.static import HeadersHelper

_log = logging.getLogger(__name__)
_NOTE = "mcpnb"
"""Key of a response's ``extensions`` that has the reason of a final 401 or 403."""


@dataclass(slots=True)
class Outcome:
    """What became of one call's requests: the last status, and our error if there is one."""

    status: int = 0
    error: McpnbError | None = None
    tokenless: McpnbError | None = None
    """Why a request went out without a token; it matters if the server minds."""
    over: bool = False
    """Whether the client that made the call has lost its connection, and is of no use any more."""


current_outcome: ContextVar[Outcome | None] = ContextVar("mcpnb_outcome", default=None)
"""Set by whoever makes a call through the MCP SDK; its context reaches the request's own task."""

_Steps = Generator[Any, Any, Any]
"""Yields requests, to be sent the response, and futures, to be continued once they are done."""


class BearerAuth(ProcessBound, httpx.Auth, httpx2.Auth):  # type: ignore[misc]  # two libraries, one shape
    """Puts a fresh token on requests to one server's origin, and on nothing else.

    A refusal leads to one refresh for everybody and one retry, if the body can be sent again. After
    that, the response is final: its ``extensions["mcpnb"]`` says why, and what to do. Whether a
    retry is worth it, and what a refusal means, is decided by the tokens' source.
    """

    def __init__(self, source: Tokens, helper: HeadersHelper | None = None) -> None:
        """Serve one server's tokens.

        `helper` prints headers that go with calls, next to a login's token. After a refusal it is
        run once more.
        """
        self._source = source
        self._helper = None if source.configured else helper
        url = httpx2.URL(source.server)
        self._origin = (url.scheme, url.raw_host, url.port or DEFAULT_PORTS[url.scheme])

    def __repr__(self) -> str:
        return f"<BearerAuth for {redact(self._source.server)}>"

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Drive one request of a sync client (see `httpx.Auth.sync_auth_flow`).

        Raises:
            LoginRequired: There is no login; nothing was sent.
        """
        steps, response = self._steps(request), None
        with contextlib.suppress(StopIteration):
            while True:
                step = steps.send(response)
                if isinstance(step, Future):
                    response = None
                    finished(step)
                else:
                    response = yield step

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Drive one request of an async client; with a fresh token there is no lock and no thread.

        Raises:
            LoginRequired: There is no login; nothing was sent.
        """
        steps, response = self._steps(request), None
        with contextlib.suppress(StopIteration):
            while True:
                step = steps.send(response)
                if isinstance(step, Future):
                    response = None
                    # Shielded: a waiter that is cancelled cancels nobody else's refresh.
                    with contextlib.suppress(Exception):  # raised again with the result
                        await asyncio.shield(asyncio.wrap_future(step))
                else:
                    response = yield step

    def _steps(self, request: Any) -> _Steps:
        """Send a request with a token. Whatever may read the store is done in another thread."""
        source, helper = self._source, self._helper
        if not self._is_ours(request):
            yield request
            return
        printed = helper.known if helper else None
        sent = source.cached()
        if sent is None:
            sent = yield from self._found(request, source.lookup_async())
        response = yield _with(sent, request)
        refusal = self._refusal(request, response)
        if helper and printed and refusal and refusal.in_call and refusal.replayable:
            # The request hooks of a call put on what the helper has printed last.
            rerun = in_background(helper.rerun, printed.generation)
            if (yield from self._found(request, rerun, response)):
                response = yield request
            refusal = self._refusal(request, response)
        if sent and refusal:
            another = in_background(source.after, sent, refusal)
            newer = yield from self._found(request, another, response)
            if newer is None:
                return
            if newer != sent and refusal.replayable:
                response = yield _with(newer, request)
                refusal = self._refusal(request, response)
            elif newer != sent:
                refusal = replace(refusal, not_resent=True)
            sent = newer
        yield from self._report(response, sent, refusal)

    def _is_ours(self, request: Any) -> bool:
        # Whatever address a client is asked for, and whatever `resource` says. Both libraries have
        # parsed and normalised it already, and connect to exactly this.
        url = request.url
        port = url.port or DEFAULT_PORTS.get(url.scheme)
        # threat: token-to-another-origin
        return (url.scheme, url.raw_host, port) == self._origin

    def _refusal(self, request: Any, response: Any) -> Refusal | None:
        if response.status_code not in (UNAUTHORIZED, FORBIDDEN):
            return None
        if not self._is_ours(response.request):
            return None  # a redirect led elsewhere, without the token
        challenge = bearer_challenge(response.headers.get_list("www-authenticate"))
        outcome = current_outcome.get()
        return Refusal(
            response.status_code,
            (challenge.scopes if challenge else None) or (),
            lacks_scope=challenge is not None and challenge.error == "insufficient_scope",
            replayable=replayable(request),
            in_call=outcome is not None,
            call_failed=outcome is not None and outcome.error is not None,
        )

    def _found(self, request: Any, future: Future[Any], response: Any = None) -> _Steps:
        """Return the result of a future, and of the future that it leads to; `None` for an error.

        An error is raised before anything is sent, but never into the MCP SDK: there, an exception
        of ours would end as an ExceptionGroup and kill every parallel call (measured). The request
        goes out without a token, and the server's own 401 is the response.
        """
        try:
            found = yield from _result(future)
            return (yield from _result(found)) if isinstance(found, Future) else found
        except McpnbError as error:
            failure = error
        if (outcome := current_outcome.get()) is not None:
            if response is None:
                outcome.tokenless = failure
            else:
                outcome.status, outcome.error = response.status_code, failure
        elif response is not None:
            response.extensions[_NOTE] = str(failure)
        elif "text/event-stream" in request.headers.get("Accept", ""):
            _log.warning("%s", failure)
        else:
            raise detached(failure)
        return None

    def _report(self, response: Any, sent: AccessToken | None, refusal: Refusal | None) -> _Steps:
        outcome = current_outcome.get()
        if outcome is not None:
            outcome.status = response.status_code
            if outcome.error is not None:
                return  # why this call failed is known; of the token it says nothing new
        if refusal is None:
            if sent is not None and response.is_success and self._is_ours(response.request):
                self._source.accepted(sent.generation)
            return
        generation = sent.generation if sent else None
        try:
            error = yield from _result(in_background(self._source.verdict, generation, refusal))
        except McpnbError as unreadable:  # the store's
            error = unreadable
        if error is None:
            return
        response.extensions.setdefault(_NOTE, str(error))
        if outcome is not None:
            outcome.error = outcome.error or outcome.tokenless or error


def _result(future: Future[Any]) -> _Steps:
    yield future
    return future.result()


def _with(token: AccessToken | None, request: Any) -> Any:
    if token is not None:
        request.headers["Authorization"] = token.authorization
    return request


def replayable(request: Any) -> bool:
    """Whether the body of a request can be sent once more."""
    # Bytes in memory are both a sync and an async stream; an upload or a generator is one of them.
    stream = request.stream
    return isinstance(stream, httpx.SyncByteStream | httpx2.SyncByteStream) and isinstance(
        stream, httpx.AsyncByteStream | httpx2.AsyncByteStream
    )
