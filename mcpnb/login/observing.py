"""Who looks on while a sign-in happens, and draws or writes elsewhere what is seen."""

from __future__ import annotations

from mcpnb.errors import McpnbError
from mcpnb.http import Exchange
from mcpnb.pending import PendingRequest
from mcpnb.protocol.authorization import AuthorizationRequest

__all__ = ["Observer"]


class Observer:
    """Sees every step of one sign-in, as it happens, in the thread that does it.

    What it is given holds secrets: whoever shows any of it masks them. This one looks away.
    """

    def exchanged(self, exchange: Exchange) -> None:
        """See a request that was sent, and what came of it."""

    def asked(self, request: PendingRequest) -> None:
        """See the request that a person is about to open."""

    def answered(
        self, text: str, request: AuthorizationRequest, refusal: McpnbError | None
    ) -> None:
        """See what came back for it, from wherever it came.

        Args:
            text: The address as it was received or pasted, whatever it is.
            request: What it should be the answer to.
            refusal: Why it was not taken, or what the server refused with it.
        """
