"""What views show of a sign-in."""

from __future__ import annotations

import sys
import time

from mcpnb import views
from mcpnb.login.sharing import Sharing
from mcpnb.models import Via
from mcpnb.notebook import place
from mcpnb.protocol.device import DeviceRequest

__all__ = ["ON_ANOTHER_DEVICE", "Shown"]

ON_ANOTHER_DEVICE = "Or sign in on another device: login(device=True)"
"""What is noted where no browser opened and the server offers it; a terminal has other words."""


class Shown(Sharing):
    """The half of a sign-in that a person sees. All of it is `None` or empty until it is known."""

    def _ipython_display_(self) -> None:
        views.room().passing(self)

    def _ended(self, timeout: float | None) -> bool:
        """Wait for the end, and say whether it came in time.

        In a plain script nobody but `wait` can say which address to open.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: self._over() or self._unopened, timeout)
            tell = self._unopened and not (self._viewed or self._over()) and place() == "terminal"
            self._viewed = self._viewed or tell  # once is enough
        if tell and sys.stderr is not None:
            sys.stderr.write(self._instruction())
            sys.stderr.flush()
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        with self._changed:
            return self._changed.wait_for(self._over, left)

    def _instruction(self) -> str:
        back = f"The answer comes back to {self.redirect_uri}; or give" if self.port else "Give"
        return (
            f"No browser could be opened here. Open this address:\n\n{self.url}\n\n"
            f"{back} the address that the browser ends at to the login: login.submit(...)\n"
        )

    @property
    def url(self) -> str | None:
        """The authorization URL, `None` until it is known. It may change: see `notes`."""
        return self._pending.request.url if self._pending else None

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are asked for; empty until known, or where the server decides."""
        return self._pending.request.scopes if self._pending else ()

    @property
    def redirect_uri(self) -> str | None:
        """Where the browser will be sent at the end."""
        return self._pending.request.redirect_uri if self._pending else None

    @property
    def resource_name(self) -> str | None:
        """What the server calls itself. Nobody has checked it."""
        return self._resource_name

    @property
    def via(self) -> str | None:
        """How the answer comes back, once known: ``relay``, ``loopback``, ``paste``, ``device``."""
        return self._pending.via if self._pending else None

    def is_by(self, way: Via) -> bool:
        """Whether it is what somebody means who wants to sign in this way."""
        return way in ("auto", self.via, self._redirect_via)

    @property
    def is_past(self) -> bool:
        """Whether somebody has signed in since it began: then its failure is no news."""
        return self._last_sign_in() not in (0.0, self._signed_in_before)

    @property
    def found_none(self) -> bool:
        """Whether it was to go on with what is pending, and nothing is: nobody's failure."""
        return self._found_none

    @property
    def follows(self) -> bool:
        """Whether this shows a sign-in that another notebook or terminal leads."""
        return self._follows

    @property
    def port(self) -> int | None:
        """The port of the machine of this process that the answer comes to, if it does."""
        return self._pending.port if self._pending else None

    @property
    def offers_device(self) -> bool:
        """Whether the server lets one sign in on another device (RFC 8628)."""
        server = self._pending.request.server if self._pending else None
        return server is not None and server.device_authorization_endpoint is not None

    @property
    def issuer(self) -> str | None:
        """The authorization server, once it is known."""
        return self._pending.request.server.issuer if self._pending else None

    @property
    def expires_at(self) -> float | None:
        """Until when an answer is awaited, seconds since the epoch."""
        return self._pending.expires_at if self._pending else None

    @property
    def user_code(self) -> str | None:
        """The code to enter at `url`, in a sign-in on another device."""
        request = self._pending.request if self._pending else None
        return request.user_code if isinstance(request, DeviceRequest) else None
