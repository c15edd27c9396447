"""Asking whether a person has agreed on another device (RFC 8628)."""

from __future__ import annotations

import time

from mcpnb.errors import GrantError, LoginDenied, LoginTimeout, ServerUnreachable
from mcpnb.login.answers import Answering
from mcpnb.login.pending import PendingLogin
from mcpnb.login.progress import Observer
from mcpnb.oauth import client
from mcpnb.oauth.credentials import Tokens
from mcpnb.oauth.device import DeviceRequest
from mcpnb.oauth.models import ServerConfig
from mcpnb.tokens import TokenSource

__all__ = ["Polling"]

_SLOWER = 5.0
"""Seconds added to the interval by every ``slow_down`` (RFC 8628 section 3.5)."""
_SLOWEST = 60.0


class Polling(Answering):
    """The half of a sign-in on another device: nothing comes back, so it is asked for."""

    def __init__(self, config: ServerConfig, source: TokenSource, observer: Observer) -> None:
        super().__init__(config, source, observer)
        self._interval = 0.0
        self._ask_at = 0.0

    def _poll(self) -> None:
        """Ask once, if it is time."""
        pending = self._pending
        if pending is None or not isinstance(pending.request, DeviceRequest):
            return
        if not self._interval:  # the first question comes one interval after the code was given
            self._interval = pending.request.interval
            self._ask_at = time.monotonic() + self._interval
        if self._state != "waiting" or time.monotonic() < self._ask_at:
            return
        try:
            with self._exchange_under_way:
                self._granted(pending, client.poll_device(pending.request, self._http))
        except ServerUnreachable:
            # RFC 8628 section 3.5: no answer means to ask less often.
            self._interval = min(2 * self._interval, _SLOWEST)
        except GrantError as error:
            self._not_yet(error)
        self._ask_at = time.monotonic() + self._interval

    def _granted(self, pending: PendingLogin, tokens: Tokens) -> None:
        self._heard = True
        with self._pendings.claimed(pending.request):
            self._enter("exchanging")
            self._keep(pending.request, tokens)

    def _not_yet(self, error: GrantError) -> None:
        if error.error == "slow_down":
            self._interval = self._interval + _SLOWER
        elif not error.error and (error.status == 429 or error.status >= 500):
            self._interval = min(2 * self._interval, _SLOWEST)
        elif error.error == "access_denied":
            self._heard = True
            raise LoginDenied("The sign-in was declined on the other device.", error=error.error)
        elif error.error == "expired_token":
            raise LoginTimeout("The code was not entered in time. Sign in again for a new one.")
        elif error.error != "authorization_pending":
            raise error
