"""Registered clients, stored per issuer and redirect URI and used again at the next sign-in."""

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

_LOCK_TIMEOUT = 2.0
# A client secret that ends during the sign-in, or minutes after it, is of no use.
_SECRET_MARGIN = 600.0


class Registrations:
    """The registrations of one sign-in: looked up, made, doubted, dropped."""

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
        # threat: registration-of-another-issuer, registration-of-another-redirect
        key = RecordName("client", f"{server.issuer}\n{redirect_uri or 'device'}")
        with contextlib.ExitStack() as locks:
            # Usually, all who sign in at the same moment share one registration. But a request
            # may take a minute: whoever has waited long enough registers a client of its own.
            with contextlib.suppress(StoreBusy):
                locks.enter_context(self._store.lock(key, _LOCK_TIMEOUT))
            known = _read(self._store.read(key))
            if known is not None and _usable(known, wanted):
                self._reused = key
                return known
            registration = client.register(server, redirect_uri, bound, self._http)
            if keep:
                self._store.write(key, to_json(registration))
        return registration

    def confirm(self, registration: Registration) -> None:
        """After a sign-in: credentials that a person gave now belong to this issuer (SEP-2352)."""
        if registration.method == "preregistered":
            self._store.write(self._pin(), {"issuer": registration.issuer})

    def reuse(self, registration: Registration) -> None:
        """Note that a sign-in begun by somebody else goes on with this registration."""
        if registration.method == "dcr":
            self._reused = RecordName("client", registration.name)

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


def _read(record: Record | None) -> Registration | None:
    with contextlib.suppress(KeyError, TypeError):  # then a new one is made
        return from_json(Registration, record) if record else None
    return None


def _usable(registration: Registration, wanted: tuple[str, ...]) -> bool:
    expires = registration.secret_expires_at
    alive = expires is None or expires > time.time() + _SECRET_MARGIN
    # threat: expired-client-secret
    return alive and covers(registration.scopes, wanted)
