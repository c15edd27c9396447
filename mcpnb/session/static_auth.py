"""Puts a configured ``Authorization`` header on; apart, because it loads the HTTP libraries."""

from __future__ import annotations

from typing import Any

from mcpnb.auth import BearerAuth
from mcpnb.errors import McpnbError
from mcpnb.session.static import StaticToken
from mcpnb.tokens import Held

__all__ = ["StaticAuth"]


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
