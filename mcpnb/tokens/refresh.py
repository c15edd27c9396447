"""One refresh for all who share a login: lock, re-read, adopt, else refresh, write, unlock."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from mcpnb.concurrency import in_background
from mcpnb.errors import (
    GrantError,
    LoginRequired,
    McpnbError,
    ServerUnreachable,
    StoreError,
    detached,
)
from mcpnb.oauth.credentials import LoginRecord, RefreshFailure, Registration, Tokens
from mcpnb.oauth.models import ServerConfig
from mcpnb.text import at, quote
from mcpnb.tokens.record import CLOCKS_DIFFER, LOCK_TIMEOUT, StoredLogin, client_key, expired

_log = logging.getLogger(__name__)

_RETRY_PAUSE = 0.5
_LONGEST_PAUSE = 5.0
"""Seconds that a refresh waits for its own second try, while everybody else waits for it."""
_RETRY_WITHIN = 20.0
"""Seconds from the first request to the second one, at most. A request may take 30 seconds, and
siblings wait for the lock for no longer than `LOCK_TIMEOUT`."""
_LONGEST_WAIT = 3600.0
_LATER = 30.0
"""Seconds until a failed refresh is tried again while the token can still be used, at most."""
_REVOKING = 10.0
"""Seconds after which the revocation of no further replaced login is begun."""


class Refreshes:
    """Refreshes one login. The outcome is stored with it, so that siblings need not ask too.

    `refresh` and the methods that it calls are the refresh protocol, in the order of its steps:

    1. Take the record's lock, and read the record again.
    2. Adopt the token that a sibling has got meanwhile, or the failure that it met.
    3. Mark the login (`RefreshFailure` of kind ``unknown``) before the refresh token is given away.
    4. Ask the server.
    5. Store the response, if the login is still the one that was marked. Otherwise somebody has
       signed out, left a tombstone, and the new tokens are revoked.
    """

    def __init__(
        self, config: ServerConfig, login: StoredLogin, is_rejected: Callable[[int], bool]
    ) -> None:
        """Do nothing yet; `is_rejected` tells what the server has rejected before its expiry."""
        self._config = config
        self._login = login
        self._is_rejected = is_rejected
        self._unwritable_until = 0.0

    @property
    def unwritable(self) -> bool:
        """Whether the store has just refused a write: no refresh token is given away then."""
        return time.time() < self._unwritable_until

    def refresh(self, seen: int, since: float) -> LoginRecord:
        """Return a login newer than the generation `seen`, or one that can still be used.

        Args:
            seen: The generation that is stale, expired or rejected.
            since: When the caller began to wait, seconds since the epoch. The caller shares the
                failure of a sibling that tried after that.

        Raises:
            LoginRequired: There is no login, or it cannot be refreshed.
            ServerUnreachable: The authorization server cannot be reached now; the login is kept.
            GrantError: The authorization server refuses for now; the login is kept.
            StoreError: The login cannot be read, locked or written.
        """
        with self._login.store.lock(self._login.key, LOCK_TIMEOUT):
            record = self._login.reload()
            if record is None:
                raise not_signed_in(self._config.url, self._login)
            # threat: refresh-token-theft-by-a-sibling
            if record.generation != seen and not expired(record):
                return record  # a sibling has refreshed it
            return self._refresh(record, since)

    def _refresh(self, record: LoginRecord, since: float) -> LoginRecord:
        lives = self._lives(record)
        if record.tokens.refresh_token is None:
            if lives:
                return record
            raise self._ended(record)
        earlier = record.refresh_failure
        if earlier and self._stands(earlier, record, since, lives=lives):
            if lives:
                return record
            raise self._as_error(record, earlier)
        now = time.time()
        sent = RefreshFailure("unknown", now, retry_after=record.tokens.expires_at or now)
        marked = replace(record, refresh_failure=sent)
        try:
            # Before the refresh token is given away: can the new one be written at all? And should
            # this process die before it is, the next one knows that the response was lost.
            self._login.write(marked)
        except StoreError:
            if not lives:
                raise
            self._unwritable_until = now + _LATER
            return record
        try:
            tokens = self._request(record)
        except (GrantError, ServerUnreachable) as error:
            failure = error
        else:
            return self._store(marked, tokens)
        return self._store_failure(marked, detached(failure), lives=lives)

    def _lives(self, record: LoginRecord) -> bool:
        """Whether the access token can still be used, though it is time to refresh it."""
        expires = record.tokens.expires_at
        alive = expires is None or expires > time.time()
        return alive and not self._is_rejected(record.generation)

    def _stands(
        self, failure: RefreshFailure, record: LoginRecord, since: float, *, lives: bool
    ) -> bool:
        """Whether an earlier failure stands, so that the server is not asked now."""
        if failure.message and since <= failure.at <= time.time() + CLOCKS_DIFFER:
            return True  # a sibling tried while the caller waited: its failure is the caller's too
        if lives:
            return in_backoff(record)
        # Where a response was lost, and the server no longer takes the old token, this is the one
        # more try that otherwise follows at its expiry.
        now = time.time()
        return failure.kind == "refused" and now < failure.retry_after <= now + _LONGEST_WAIT

    def _request(self, record: LoginRecord) -> Tokens:
        # They load the HTTP library, which a fresh token does not need.
        from mcpnb.oauth import client as oauth_client
        from mcpnb.oauth.http import Http

        registration = _with_configured_secret(self._config, record.registration)
        record = replace(record, registration=registration)
        http = Http(self._config.url, allow_private=self._config.allow_private_network)
        latest = time.monotonic() + _RETRY_WITHIN
        with contextlib.closing(http):
            try:
                return oauth_client.refresh(record, http)
            except (GrantError, ServerUnreachable) as error:
                pause = _pause_if_not_processed(error)
                if pause is None or time.monotonic() + pause > latest:
                    raise
                threading.Event().wait(pause)
                return oauth_client.refresh(record, http)

    def _store(self, marked: LoginRecord, tokens: Tokens) -> LoginRecord:
        rejected = self._is_rejected(marked.generation)
        refreshed = replace(
            marked.renewed(tokens),
            registration=_with_configured_secret(self._config, marked.registration),
            rejected_at=time.time() if rejected else marked.rejected_at,
        )
        try:
            if not self._login.replace(marked, refreshed):
                # Somebody who did not wait for the lock has signed out meanwhile.
                in_background(self.revoke, refreshed)
                return self._newer()
        except StoreError as error:
            self._login.keep_in_memory(refreshed, error)
        return refreshed

    def _newer(self) -> LoginRecord:
        found = self._login.record()
        if found is None or expired(found):
            raise not_signed_in(self._config.url, self._login)
        return found

    def _store_failure(self, marked: LoginRecord, error: Exception, *, lives: bool) -> LoginRecord:
        failure, tokens = _failure_of(error, marked), marked.tokens
        if failure.kind == "ended":
            # threat: dead-refresh-token
            tokens = replace(tokens, refresh_token=None)
            if not lives:
                tokens = replace(tokens, expires_at=tokens.obtained_at)
        # threat: forgotten-client
        if failure.error == "invalid_client" and marked.registration.method == "dcr":
            # The server has forgotten this client: the next sign-in registers a new one.
            with contextlib.suppress(StoreError):
                client = marked.registration
                self._login.store.delete(client_key(client.issuer, client.redirect_uri))
        record = replace(marked, refresh_failure=failure, tokens=tokens)
        try:
            if not self._login.replace(marked, record):
                return self._newer()
        except StoreError as unwritten:
            _log.warning("The outcome of a refresh could not be stored: %s", unwritten)
        if lives:
            return record
        if failure.kind == "ended" or failure.error == "invalid_client":
            raise self._as_error(record, failure)
        message = self._not_now(failure)
        if isinstance(error, GrantError):
            raise GrantError(
                message, error=error.error, status=error.status, retry_after=error.retry_after
            )
        raise ServerUnreachable(message, sent=failure.kind == "unknown")

    def revoke(self, record: LoginRecord) -> bool:
        """Revoke a login's tokens, and those of the logins that it replaced.

        Returns:
            Whether the server confirmed all of it.
        """
        from mcpnb.oauth import client as oauth_client
        from mcpnb.oauth.http import Http

        http = Http(self._config.url, allow_private=self._config.allow_private_network)
        deadline, confirmed = time.monotonic() + _REVOKING, True
        with contextlib.closing(http):
            for one in record.to_revoke():
                # A server that is slow or down is not waited for again for each of them.
                in_time = time.monotonic() < deadline
                confirmed = in_time and oauth_client.revoke(one, http) and confirmed
        return confirmed

    # What to tell a person

    def _ended(self, record: LoginRecord) -> LoginRequired:
        """Return the error that the login has ended: who ended it, and when."""
        server, failure = self._config.url, record.refresh_failure
        if failure is not None and failure.kind == "ended":
            what = (
                f"The authorization server {quote(record.issuer)} ended the login for {server} "
                f"{at(failure.at)} ({failure.message})."
            )
        else:
            what = (
                f"The login for {server} has ended: its token expired or was rejected, and the "
                "server issued no refresh token."
            )
        return LoginRequired(f"{what} Sign in again.", server=server)

    def _as_error(self, record: LoginRecord, failure: RefreshFailure) -> McpnbError:
        if failure.kind == "ended":
            return self._ended(record)
        if failure.error == "invalid_client":
            return self._unknown_client(record, failure)
        message = self._not_now(failure)
        if failure.kind == "refused":
            wait = max(failure.retry_after - time.time(), 0.0)
            return GrantError(message, error=failure.error, retry_after=wait)
        return ServerUnreachable(message, sent=failure.kind == "unknown")

    def _not_now(self, failure: RefreshFailure) -> str:
        why = failure.message or "the response of the authorization server was lost."
        why += "" if why.endswith(".") else "."
        advice = ""
        if failure.retry_after - time.time() > 1:
            advice = f"; try again {at(failure.retry_after)}"
        elif "Try again" not in why:
            advice = "; try again"
        return (
            f"The login for {self._config.url} could not be refreshed "
            f"{at(failure.at)}: {why} It is kept{advice}."
        )

    def _unknown_client(self, record: LoginRecord, failure: RefreshFailure) -> McpnbError:
        client, issuer = record.registration, quote(record.issuer)
        ended = client.secret_expires_at
        secret_ended = ended is not None and 0 < ended < time.time()
        why = f"its secret ended {at(ended or 0)}" if secret_ended else failure.message
        if client.method != "preregistered":
            return LoginRequired(
                f"The authorization server {issuer} no longer knows this client ({why}). Sign in "
                "again: that registers a new one.",
                server=self._config.url,
            )
        return GrantError(
            f"The authorization server {issuer} does not accept the client id and secret that you "
            f"configured ({why}). Correct them; the login is kept.",
            error=failure.error,
        )


def not_signed_in(server: str, login: StoredLogin) -> LoginRequired:
    """Return the error that nobody is signed in, and since when."""
    ended = login.store.deleted_at(login.key)
    what = f"You signed out of {server} {at(ended)}." if ended else f"Not signed in to {server}."
    return LoginRequired(
        what, server=server, advice="Sign in first: session.login(), or mcpnb login."
    )


def in_backoff(record: LoginRecord) -> bool:
    """Whether a refresh that is not needed yet would only repeat the last failure."""
    failure = record.refresh_failure
    # A failure from the future means that the clock was set back since.
    if failure is None or failure.at > time.time() + CLOCKS_DIFFER:
        return False
    pause = min(_LATER, 0.05 * (record.tokens.lifetime or 0.0))
    # threat: refresh-token-replay
    return time.time() < max(failure.retry_after, failure.at + pause)


def _with_configured_secret(config: ServerConfig, registration: Registration) -> Registration:
    """Return the registration with the secret that is configured by now."""
    own = registration.method == "preregistered" and registration.client_id == config.client_id
    # threat: client-secret-at-refresh
    if not own or config.client_secret is None or config.issuer not in (None, registration.issuer):
        return registration
    return replace(registration, client_secret=config.client_secret)


def _failure_of(error: Exception, record: LoginRecord) -> RefreshFailure:
    now, message = time.time(), str(error)
    if isinstance(error, ServerUnreachable) and not error.sent:
        return RefreshFailure("unreachable", now, message=message)
    if isinstance(error, GrantError):
        # threat: forged-end-of-a-login
        if error.error == "invalid_grant":
            return RefreshFailure("ended", now, error.error, message)
        if error.error or 400 <= error.status < 500 or error.status == 503:
            retry_at = now + (error.retry_after or 0.0)
            return RefreshFailure("refused", now, error.error, message, retry_at)
    # A broken connection, an internal error, a response that cannot be read: nobody knows whether
    # the request was processed.
    return RefreshFailure(
        "unknown", now, message=message, retry_after=record.tokens.expires_at or now
    )


def _pause_if_not_processed(error: McpnbError) -> float | None:
    """Return the seconds before a second try, or `None` if the first may have been processed."""
    if isinstance(error, ServerUnreachable):
        return None if error.sent else _RETRY_PAUSE
    if isinstance(error, GrantError) and error.status in (429, 503) and not error.error:
        pause = error.retry_after if error.retry_after is not None else _RETRY_PAUSE
        return pause if pause <= _LONGEST_PAUSE else None
    return None
