"""Ask whether a person has approved the sign-in on another device (RFC 8628)."""

from __future__ import annotations

import time

from mcpnb.errors import GrantError, LoginDenied, LoginTimeout, ServerUnreachable
from mcpnb.login.answers import Completion
from mcpnb.login.pending import PendingLogin
from mcpnb.login.progress import Progress
from mcpnb.login.request import Deps
from mcpnb.oauth import client
from mcpnb.oauth.authorization import DeviceRequest
from mcpnb.oauth.credentials import Tokens

_SLOWER = 5.0
"""Seconds added to the interval by every ``slow_down`` (RFC 8628 section 3.5)."""
_SLOWEST = 60.0


class DevicePoller:
    """Polls the token endpoint: nothing comes back from another device by itself."""

    def __init__(self, deps: Deps, progress: Progress, completion: Completion) -> None:
        self._deps = deps
        self._progress = progress
        self._completion = completion
        self._interval = 0.0
        self._ask_at = 0.0
        self._heard = False

    @property
    def heard(self) -> bool:
        """Whether the person has approved or declined."""
        return self._heard

    def poll(self) -> None:
        """Ask once, if it is time.

        Raises:
            LoginDenied: The person declined.
            LoginTimeout: The code has expired.
            GrantError: The server refuses for another reason.
        """
        pending = self._progress.pending
        if pending is None or not isinstance(pending.request, DeviceRequest):
            return
        if not self._interval:  # the first question comes one interval after the code was issued
            self._interval = pending.request.interval
            self._ask_at = time.monotonic() + self._interval
        if self._progress.state != "waiting" or time.monotonic() < self._ask_at:
            return
        try:
            with self._completion.exchanging():
                self._complete(pending, client.poll_device(pending.request, self._deps.http))
        except ServerUnreachable:
            # RFC 8628 section 3.5: after a connection timeout, poll less often.
            self._interval = min(2 * self._interval, _SLOWEST)
        except GrantError as error:
            self._not_yet(error)
        self._ask_at = time.monotonic() + self._interval

    def _complete(self, pending: PendingLogin, tokens: Tokens) -> None:
        self._heard = True
        with self._deps.pending.claimed(pending.request):
            self._progress.enter("exchanging")
            self._completion.store(pending.request, tokens)

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
