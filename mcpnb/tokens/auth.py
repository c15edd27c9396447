"""The one class that is `httpx.Auth` and `httpx2.Auth`, for logins and for configured headers."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import aclosing, closing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import httpx2

from mcpnb.concurrency import ProcessBound
from mcpnb.errors import LoginRequired, McpnbError, detached
from mcpnb.oauth.challenge import Challenge, bearer_challenge
from mcpnb.oauth.models import Secret
from mcpnb.text import redact
from mcpnb.tokens import AccessToken, TokenSource
from mcpnb.tokens.static import StaticToken

if TYPE_CHECKING:
    from mcpnb.tokens.static import HeadersHelper

__all__ = [
    "BearerAuth",
    "HelpedAuth",
    "HelpedStaticAuth",
    "Outcome",
    "StaticAuth",
    "auth_of",
    "current_outcome",
    "replayable",
]

T = TypeVar("T")
UNAUTHORIZED, FORBIDDEN = 401, 403
_PORTS = {"https": 443, "http": 80}
_log = logging.getLogger(__name__)
_NOTE = "mcpnb"
"""Key of a response's ``extensions`` under which the reason of a final 401 or 403 is found."""


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


class BearerAuth(ProcessBound, httpx.Auth, httpx2.Auth):  # type: ignore[misc]  # two libraries, one shape
    """Puts a fresh token on requests to one server's origin, and on nothing else.

    A 401 leads to one renewal for everybody and one retry, if the body can be sent again. What is
    final after that is the answer itself: its ``extensions["mcpnb"]`` says why and what to do.
    """

    def __init__(self, source: TokenSource) -> None:
        """Serve the tokens of one login."""
        self._source = source
        url = httpx2.URL(source.server)
        self._origin = (url.scheme, url.raw_host, url.port or _PORTS[url.scheme])

    def __repr__(self) -> str:
        return f"<BearerAuth for {redact(self._source.server)}>"

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Drive one request of a sync client (see `httpx.Auth.sync_auth_flow`).

        Raises:
            LoginRequired: There is no login; nothing was sent.
        """
        if not self._is_ours(request):
            yield request
            return
        held = self._obtained(request, self._source.get)
        response = yield self._attach(request, held)
        if held is not None and self._worth_renewing(response, held):
            again = functools.partial(self._source.rejected, held.generation)
            held = self._obtained(request, lambda: again().result(), response)
            if held is None:
                return
            if replayable(request):
                response = yield self._attach(request, held)
        self._report(request, response, held)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Drive one request of an async client; with a fresh token there is no lock and no thread.

        Raises:
            LoginRequired: There is no login; nothing was sent.
        """
        if not self._is_ours(request):
            yield request
            return
        held = self._source.cached()
        if held is None:  # the store has to be read, and perhaps a keyring asked: not on the loop
            held = await self._awaited(request, self._source.lookup_async)
        if held is None:
            held = await self._awaited(request, self._source.refresh)
        response = yield self._attach(request, held)
        if held is not None and self._worth_renewing(response, held):
            again = functools.partial(self._source.rejected, held.generation)
            held = await self._awaited(request, again, response)
            if held is None:
                return
            if replayable(request):
                response = yield self._attach(request, held)
        self._report(request, response, held)

    def _is_ours(self, request: Any) -> bool:
        # Whatever address a client is asked for, and whatever `resource` says. Both libraries have
        # parsed and normalised it already, and connect to just this.
        url = request.url
        port = url.port or _PORTS.get(url.scheme)
        # threat: token-to-another-origin
        return (url.scheme, url.raw_host, port) == self._origin

    def _attach(self, request: Any, held: AccessToken | None) -> Any:
        if held is not None:
            request.headers["Authorization"] = f"Bearer {held.token.reveal()}"
        return request

    def _obtained(self, request: Any, get: Callable[[], T], response: Any = None) -> T | None:
        try:
            return get()
        except McpnbError as error:
            failure = error
        self._unavailable(request, failure, response)
        return None

    async def _awaited(
        self, request: Any, start: Callable[[], Future[T]], response: Any = None
    ) -> T | None:
        future = self._obtained(request, start, response)
        if future is None:
            return None
        try:
            # Shielded: a cancelled waiter cancels nobody else's renewal.
            return await asyncio.shield(asyncio.wrap_future(future))
        except McpnbError as error:
            failure = error
        self._unavailable(request, failure, response)
        return None

    def _unavailable(self, request: Any, error: McpnbError, response: Any) -> None:
        """No token can be had: raise before anything is sent, but never into the MCP SDK.

        There an exception of ours would end as an ExceptionGroup and kill every parallel call
        (measured), so the request goes out as it is and the server's own 401 is the answer.
        """
        if (outcome := current_outcome.get()) is not None:
            if response is None:
                outcome.tokenless = error
            else:
                outcome.status, outcome.error = response.status_code, error
        elif response is not None:
            response.extensions[_NOTE] = str(error)
        elif "text/event-stream" in request.headers.get("Accept", ""):
            _log.warning("%s", error)
        else:
            raise detached(error)

    def _worth_renewing(self, response: Any, held: AccessToken) -> bool:
        if response.status_code != UNAUTHORIZED or not self._is_ours(response.request):
            return False
        outcome = current_outcome.get()
        if outcome is not None and outcome.error is not None:
            # The SDK tries an older handshake after a refusal (measured): where the answer to the
            # renewal was lost, the same refresh token would be presented again within the call.
            return False
        challenge = _challenge(response)
        wanted = (challenge.scopes if challenge else None) or ()
        # Measured: some servers say 401 for too little scope. A refresh cannot widen a login.
        if challenge and challenge.error == "insufficient_scope" and wanted:
            return False
        return self._source.should_refresh(held.generation, wanted)

    def _report(self, request: Any, response: Any, held: AccessToken | None) -> None:
        outcome = current_outcome.get()
        if outcome is not None:
            outcome.status = response.status_code
            if outcome.error is not None:
                return  # what this call failed of is known; of the token that says nothing new
        if not self._is_ours(response.request):
            return  # a redirect led elsewhere, without the token: that answer says nothing of it
        try:
            error = self._verdict(request, response, held)
        except McpnbError as unreadable:  # the store's
            error = unreadable
        if error is None:
            return
        response.extensions.setdefault(_NOTE, str(error))
        if outcome is not None:
            outcome.error = outcome.error or outcome.tokenless or error

    def _verdict(self, request: Any, response: Any, held: AccessToken | None) -> McpnbError | None:
        status = response.status_code
        if status not in (UNAUTHORIZED, FORBIDDEN):
            if held is not None and response.is_success:
                self._source.accepted(held.generation)
            return None
        challenge = _challenge(response)
        wanted = (challenge.scopes if challenge else None) or ()
        lacking = challenge is not None and challenge.error == "insufficient_scope"
        if status == FORBIDDEN:
            return self._source.insufficient(wanted) if lacking else None
        if held is None:
            message = f"{self._source.server} wants a sign-in."
            return LoginRequired(message, server=self._source.server, scopes=wanted)
        if request.headers.get("Authorization") != f"Bearer {held.token.reveal()}":
            return LoginRequired(
                f"{self._source.server} rejected the token. It was renewed, but the body of this "
                "request cannot be sent twice: send the request again.",
                server=self._source.server,
            )
        self._source.refresh_did_not_help(held.generation, wanted)
        record = self._source.record()
        if lacking or (wanted and record and not set(wanted) <= set(record.tokens.scopes)):
            return self._source.insufficient(wanted)
        return self._source.refused()


def _challenge(response: Any) -> Challenge | None:
    return bearer_challenge(response.headers.get_list("www-authenticate"))


def replayable(request: Any) -> bool:
    """Whether the body of a request can be sent once more."""
    # Bytes in memory are both a sync and an async stream; an upload or a generator is one of them.
    stream = request.stream
    return isinstance(stream, httpx.SyncByteStream | httpx2.SyncByteStream) and isinstance(
        stream, httpx.AsyncByteStream | httpx2.AsyncByteStream
    )


Refused = Mapping[str, Secret]


class StaticAuth(BearerAuth):
    """Puts the configured header on requests to one server's origin, and on nothing else."""

    def __init__(self, source: StaticToken) -> None:
        """Serve one server's header."""
        super().__init__(source)
        self._static = source

    def _attach(self, request: Any, held: AccessToken | None) -> Any:
        if held is not None:
            request.headers["Authorization"] = self._static.authorization.reveal()
        return request

    def _worth_renewing(self, response: Any, held: AccessToken) -> bool:
        del response, held
        return False

    def _verdict(self, request: Any, response: Any, held: AccessToken | None) -> McpnbError | None:
        del request, held
        return self._static.refused() if response.status_code == 401 else None


class _Helped(BearerAuth):
    """Runs ``http_headers_helper`` once more when the server refuses, and asks once more.

    In a call the request hooks put the new headers on; what stands in for a token is put on here.
    """

    _helper: HeadersHelper

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Drive one request of a sync client."""
        refused = self._helper.known
        with closing(super().sync_auth_flow(request)) as flow:
            sent, again = next(flow), True
            while True:
                response = yield sent
                if again and refused is not None and self._may_help(sent, response):
                    again = False
                    if self._renewed(response, refused):
                        response = yield self._put_on(sent)
                try:
                    sent = flow.send(response)
                except StopIteration:
                    return

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Drive one request of an async client; the command never runs on the loop."""
        refused = self._helper.known
        async with aclosing(super().async_auth_flow(request)) as flow:
            sent, again = await anext(flow), True
            while True:
                response = yield sent
                if again and refused is not None and self._may_help(sent, response):
                    again = False
                    if await asyncio.to_thread(self._renewed, response, refused):
                        response = yield self._put_on(sent)
                try:
                    sent = await flow.asend(response)
                except StopAsyncIteration:
                    return

    def _may_help(self, request: Any, response: Any) -> bool:
        is_call = current_outcome.get() is not None
        return (
            response.status_code in (UNAUTHORIZED, FORBIDDEN)
            and self._is_ours(response.request)
            and (is_call or isinstance(self._source, StaticToken))
            and replayable(request)
        )

    def _renewed(self, response: Any, refused: Refused) -> bool:
        try:
            return self._helper.renewed(refused)
        except McpnbError as error:
            # The server's answer stands; what it takes to get another one is said with it.
            self._unavailable(response.request, error, response)
            return False

    def _put_on(self, request: Any) -> Any:
        if isinstance(self._source, StaticToken):
            request.headers["Authorization"] = self._source.authorization.reveal()
        return request


def auth_of(source: TokenSource, helper: HeadersHelper | None) -> BearerAuth:
    """Return the auth for a login, a configured token, and a headers helper beside either."""
    if isinstance(source, StaticToken):
        return HelpedStaticAuth(source, helper) if helper else StaticAuth(source)
    return HelpedAuth(source, helper) if helper else BearerAuth(source)


class HelpedAuth(_Helped):
    """For a login, beside which a helper gives other headers."""

    def __init__(self, source: TokenSource, helper: HeadersHelper) -> None:
        """Serve one login's tokens."""
        super().__init__(source)
        self._helper = helper


class HelpedStaticAuth(_Helped, StaticAuth):  # type: ignore[misc]  # as its base's base
    """For a configured token, or one that the helper gives."""

    def __init__(self, source: StaticToken, helper: HeadersHelper) -> None:
        """Serve one server's header."""
        super().__init__(source)
        self._helper = helper
