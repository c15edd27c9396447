"""The clients that sign-ins have registered: stored, used again, and forgotten."""

from __future__ import annotations

import contextlib
import time

from mcpnb.errors import McpnbError, StoreBusy
from mcpnb.oauth import client
from mcpnb.oauth import registration as registering
from mcpnb.oauth.credentials import Registration, RegistrationMethod, from_json, to_json
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import AuthorizationServer, ServerConfig
from mcpnb.oauth.scopes import covers
from mcpnb.storage import RecordName, TokenStore
from mcpnb.storage.base import Record
from mcpnb.tokens.record import client_key

_LOCK_TIMEOUT = 2.0
# A client secret that ends during the sign-in, or minutes after it, is of no use.
_SECRET_MARGIN = 600.0


class Registrations:
    """The registered clients of one sign-in, stored per issuer and redirect URI for the next."""

    def __init__(self, config: ServerConfig, store: TokenStore, http: Http) -> None:
        self._config = config
        self._store = store
        self._http = http
        self._reused: RecordName | None = None

    def obtain(  # noqa: PLR0913  each a different question
        self,
        method: RegistrationMethod,
        server: AuthorizationServer,
        redirect_uri: str | None,
        *,
        wanted: tuple[str, ...],
        bound: tuple[str, ...],
        keep: bool,
    ) -> Registration:
        """Return a registration that covers this redirect and these scopes.

        Args:
            method: How to come by one.
            server: The authorization server it is for.
            redirect_uri: Where the browser will be sent; `None` for the device grant.
            wanted: The scopes that will be asked for now.
            bound: The scopes to register a new client for, so that a later step-up needs no other.
            keep: Whether a new one is of use again (not for a port that will not come again).

        Raises:
            GrantError: The server does not register a client.
            LoginError: The given credentials are another issuer's.
        """
        if method == "preregistered":
            pinned = self._store.read(self._pin()) or self._store.read(self._pin(self._config.url))
            return registering.preregistered(
                self._config, server, pinned_issuer=pinned["issuer"] if pinned else None
            )
        if method == "cimd":
            return registering.via_metadata_document(self._config, server)
        key = client_key(server.issuer, redirect_uri)
        with contextlib.ExitStack() as locks:
            # Usually, all who sign in at the same moment share one registration. But a request
            # may take a minute: whoever has waited long enough registers a client of its own.
            with contextlib.suppress(StoreBusy):
                locks.enter_context(self._store.lock(key, _LOCK_TIMEOUT))
            known = _usable(self._store.read(key), wanted)
            if known is not None:
                self._reused = key
                return known
            registration = client.register(server, redirect_uri, bound, self._http)
            if keep:
                self._store.write(key, to_json(registration))
        return registration

    def knows(self, server: AuthorizationServer, redirect_uri: str) -> bool:
        """Whether a dynamic registration of this redirect URI is stored, and can be read."""
        with contextlib.suppress(McpnbError, KeyError, TypeError):
            stored = self._store.read(client_key(server.issuer, redirect_uri))
            return stored is not None and bool(from_json(Registration, stored))
        return False

    def confirm(self, registration: Registration) -> None:
        """After a sign-in: credentials that a person gave now belong to this issuer (SEP-2352)."""
        if registration.method == "preregistered":
            self._store.write(self._pin(), {"issuer": registration.issuer})

    def reuse(self, registration: Registration) -> None:
        """Note that a sign-in begun by somebody else goes on with this registration."""
        if registration.method == "dcr":
            self._reused = client_key(registration.issuer, registration.redirect_uri)

    def drop_reused(self) -> None:
        """Forget a reused registration that the server seems not to know any more.

        It shows its own error page then and never tells us; the next sign-in registers anew.
        """
        if self._reused is not None:
            with contextlib.suppress(McpnbError):
                self._store.delete(self._reused)

    def _pin(self, server: str | None = None) -> RecordName:
        # Written under the whole address at first, also where that holds a secret.
        name = server or self._config.name_in_store
        return RecordName("issuer", f"{name}\n{self._config.client_id}")


def _usable(record: Record | None, wanted: tuple[str, ...]) -> Registration | None:
    """Return a stored registration; `None`: a new one has to be made."""
    try:
        found = from_json(Registration, record)
    except (KeyError, TypeError):
        return None
    expires = found.secret_expires_at
    alive = expires is None or expires > time.time() + _SECRET_MARGIN
    # threat: expired-client-secret
    return found if alive and covers(found.scopes, wanted) else None
