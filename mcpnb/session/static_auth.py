"""Puts a configured ``Authorization`` header on; apart, because it loads the HTTP libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

from mcpnb.auth import FORBIDDEN, UNAUTHORIZED, BearerAuth, current_outcome, replayable
from mcpnb.errors import McpnbError
from mcpnb.models import Secret
from mcpnb.session.static import StaticToken
from mcpnb.tokens import Held, TokenSource

if TYPE_CHECKING:
    from mcpnb.headers_helper import HeadersHelper

__all__ = ["HelpedAuth", "HelpedStaticAuth", "StaticAuth"]

Refused = Mapping[str, Secret]


class StaticAuth(BearerAuth):
    """Puts the configured header on requests to one server's origin, and on nothing else."""

    def __init__(self, source: StaticToken) -> None:
        """Serve one server's header."""
        super().__init__(source)
        self._static = source

    def _attach(self, request: Any, held: Held | None) -> Any:
        if held is not None:
            request.headers["Authorization"] = self._static.authorization.reveal()
        return request

    def _worth_renewing(self, response: Any, held: Held) -> bool:
        del response, held
        return False

    def _verdict(self, request: Any, response: Any, held: Held | None) -> McpnbError | None:
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
