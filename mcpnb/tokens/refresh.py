"""Renewing one login, once for everybody: lock, re-read, adopt, else refresh, write, release."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
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
from mcpnb.storage import RecordName
from mcpnb.text import quote
from mcpnb.tokens.expiry import CLOCKS_DIFFER, expired
from mcpnb.tokens.record import LOCK_TIMEOUT, StoredLogin

__all__ = ["Refreshes", "in_backoff"]

_log = logging.getLogger(__name__)

_RETRY_PAUSE = 0.5
_LONGEST_PAUSE = 5.0
"""Seconds that a renewal waits to be tried again by itself, everybody behind it."""
_LONGEST_WAIT = 3600.0
_LATER = 30.0
"""Seconds until a renewal that failed is tried again while the token still lives, at most."""
_REVOKING = 10.0
"""Seconds after which no further earlier login is begun to be revoked."""


class Refreshes:
    """Renews one login; what came of it is stored with it, so that siblings need not ask, too."""

    def __init__(self, config: ServerConfig, login: StoredLogin) -> None:
        """Renew `login`, at the server that it names."""
        self._config = config
        self._login = login
        self._doubted: set[int] = set()
        self._unwritable_until = 0.0

    def mark_rejected(self, generation: int) -> None:
        """Note that the server rejects this generation: it does not count as alive any more."""
        self._doubted.add(generation)

    def is_rejected(self, generation: int) -> bool:
        """Whether the server has rejected this generation."""
        return generation in self._doubted

    @property
    def unwritable(self) -> bool:
        """Whether the store has just refused a write: then nothing is given away either."""
        return time.time() < self._unwritable_until

    def renew(self, seen: int, since: float) -> LoginRecord:
        """Give a newer login than the generation `seen`, or one that is as good.

        Args:
            seen: The generation that is stale, expired or rejected.
            since: When the caller began to wait, seconds since the epoch: it shares the failure of
                a sibling that tried after that.

        Raises:
            LoginRequired: There is no login, or it cannot be renewed.
            ServerUnreachable: The authorization server cannot be reached now; the login is kept.
            GrantError: It does not renew now; the login is kept.
            StoreError: The login cannot be read, locked or written.
        """
        with self._login.store.lock(self._login.key, LOCK_TIMEOUT):
            record = self._login.reload()
            if record is None:
                raise self.missing()
            # threat: refresh-token-theft-by-a-sibling
            if record.generation != seen and not expired(record):
                return record  # a sibling was here
            return self._renewed(record, since)

    def _renewed(self, record: LoginRecord, since: float) -> LoginRecord:
        lives = self._lives(record)
        if record.tokens.refresh_token is None:
            if lives:
                return record
            raise self.ended(record)
        if (refresh_failure := record.refresh_failure) and self._in_the_way(
            refresh_failure, record, since, lives=lives
        ):
            if lives:
                return record
            raise self._as_error(record, refresh_failure)
        now = time.time()
        sent = RefreshFailure("unknown", now, until=record.tokens.expires_at or now)
        marked = replace(record, refresh_failure=sent)
        try:
            # Before the refresh token is given away: can the new one be written at all? And should
            # this process die before it is, the next one knows that the answer was lost.
            self._login.write(marked)
        except StoreError:
            if not lives:
                raise
            self._unwritable_until = now + _LATER
            return record
        try:
            tokens = self._ask(record)
        except (GrantError, ServerUnreachable) as error:
            failure = error
        else:
            return self._stored(marked, tokens)
        return self._set_back(marked, detached(failure), lives=lives)

    def _lives(self, record: LoginRecord) -> bool:
        """Whether the access token can still be used, though it is time to renew it."""
        expires = record.tokens.expires_at
        alive = expires is None or expires > time.time()
        return alive and not self.is_rejected(record.generation)

    def _in_the_way(
        self, refresh_failure: RefreshFailure, record: LoginRecord, since: float, *, lives: bool
    ) -> bool:
        if refresh_failure.said and since <= refresh_failure.at <= time.time() + CLOCKS_DIFFER:
            return True  # a sibling tried while this one stood in line: its answer is ours
        if lives:
            return in_backoff(record)
        # Where an answer was lost, and the server takes the old token no more, it is time for the
        # one try that else comes when that expires.
        now = time.time()
        return (
            refresh_failure.kind == "refused" and now < refresh_failure.until <= now + _LONGEST_WAIT
        )

    def _ask(self, record: LoginRecord) -> Tokens:
        from mcpnb.oauth import (
            client as oauth_client,  # with the HTTP library: a fresh token needs neither
        )
        from mcpnb.oauth.http import Http

        record = replace(record, registration=_with_secret_of(self._config, record.registration))
        http = Http(self._config.url, allow_private=self._config.allow_private_network)
        with contextlib.closing(http):
            try:
                return oauth_client.refresh(record, http)
            except (GrantError, ServerUnreachable) as error:
                pause = _not_processed(error)
                if pause is None:
                    raise
                threading.Event().wait(pause)
                return oauth_client.refresh(record, http)

    def _stored(self, marked: LoginRecord, tokens: Tokens) -> LoginRecord:
        doubted = self.is_rejected(marked.generation)
        renewed = replace(
            marked.renewed(tokens),
            registration=_with_secret_of(self._config, marked.registration),
            rejected_at=time.time() if doubted else marked.rejected_at,
        )
        try:
            if not self._login.replace(marked, renewed):
                # Signed out of meanwhile, by somebody who did not wait for the lock.
                self.revoke_later(renewed)
                return self._of_others()
        except StoreError as error:
            self._login.keep_in_memory(renewed, error)
        return renewed

    def _of_others(self) -> LoginRecord:
        found = self._login.record()
        if found is None or expired(found):
            raise self.missing()
        return found

    def _set_back(self, marked: LoginRecord, error: Exception, *, lives: bool) -> LoginRecord:
        refresh_failure = _setback(error, marked)
        tokens = marked.tokens
        if refresh_failure.kind == "ended":
            # threat: dead-refresh-token
            tokens = replace(tokens, refresh_token=None)
            if not lives:
                tokens = replace(tokens, expires_at=tokens.obtained_at)
        # threat: forgotten-client
        if refresh_failure.error == "invalid_client" and marked.registration.method == "dcr":
            # The server has forgotten this client: the next sign-in makes a new one.
            with contextlib.suppress(StoreError):
                self._login.store.delete(RecordName("client", marked.registration.name))
        kept = replace(marked, refresh_failure=refresh_failure, tokens=tokens)
        try:
            if not self._login.replace(marked, kept):
                return self._of_others()
        except StoreError as unwritten:
            _log.warning("What became of a renewal could not be stored: %s", unwritten)
        if lives:
            return kept
        if refresh_failure.kind == "ended" or refresh_failure.error == "invalid_client":
            raise self._as_error(kept, refresh_failure)
        said = self._not_now(refresh_failure)
        if isinstance(error, GrantError):
            raise GrantError(
                said, error=error.error, status=error.status, retry_after=error.retry_after
            )
        raise ServerUnreachable(said, sent=refresh_failure.kind == "unknown")

    def revoke_later(self, record: LoginRecord) -> None:
        """Revoke a login that nobody wants any more, in the background."""
        in_background(self.revoke, record)

    def revoke(self, record: LoginRecord) -> bool:
        """Revoke a login's tokens at the server, and those of the logins it took the place of.

        Returns:
            Whether all of it was confirmed.
        """
        from mcpnb.oauth import client as oauth_client
        from mcpnb.oauth.http import Http

        http = Http(self._config.url, allow_private=self._config.allow_private_network)
        deadline, done = time.monotonic() + _REVOKING, True
        with contextlib.closing(http):
            for one in record.to_revoke():
                # A server that is slow or away is not waited for once more for each of them.
                done = time.monotonic() < deadline and oauth_client.revoke(one, http) and done
        return done

    # What to say

    def missing(self) -> LoginRequired:
        """Say that nobody is signed in, and since when."""
        server = self._config.url
        at = self._login.store.deleted_at(self._login.key)
        said = f"You signed out of {server} {_when(at)}." if at else f"Not signed in to {server}."
        return LoginRequired(
            said, server=server, advice="Sign in first: session.login(), or mcpnb login."
        )

    def ended(self, record: LoginRecord) -> LoginRequired:
        """Say who ended the login, and when."""
        server, refresh_failure = self._config.url, record.refresh_failure
        if refresh_failure is not None and refresh_failure.kind == "ended":
            return LoginRequired(
                f"The authorization server {quote(record.issuer)} ended the login for {server} "
                f"{_when(refresh_failure.at)} ({refresh_failure.said}). Sign in again.",
                server=server,
            )
        return LoginRequired(
            f"The login for {server} has ended: its token expired or was rejected, and the server "
            "gave nothing to renew it with. Sign in again.",
            server=server,
        )

    def _as_error(self, record: LoginRecord, refresh_failure: RefreshFailure) -> McpnbError:
        if refresh_failure.kind == "ended":
            return self.ended(record)
        if refresh_failure.error == "invalid_client":
            return self._unknown_client(record, refresh_failure)
        message = self._not_now(refresh_failure)
        if refresh_failure.kind == "refused":
            wait = max(refresh_failure.until - time.time(), 0.0)
            return GrantError(message, error=refresh_failure.error, retry_after=wait)
        return ServerUnreachable(message, sent=refresh_failure.kind == "unknown")

    def _not_now(self, refresh_failure: RefreshFailure) -> str:
        said = refresh_failure.said or "the answer of the authorization server was lost."
        said += "" if said.endswith(".") else "."
        when = ""
        if refresh_failure.until - time.time() > 1:
            when = f"; try again {_when(refresh_failure.until)}"
        elif "Try again" not in said:
            when = "; try again"
        return (
            f"The login for {self._config.url} could not be renewed "
            f"{_when(refresh_failure.at)}: {said} It is kept{when}."
        )

    def _unknown_client(self, record: LoginRecord, refresh_failure: RefreshFailure) -> McpnbError:
        client, issuer = record.registration, quote(record.issuer)
        ended = client.secret_expires_at
        why = (
            f"its secret ended {_when(ended)}"
            if ended and ended < time.time()
            else refresh_failure.said
        )
        if client.method != "preregistered":
            return LoginRequired(
                f"The authorization server {issuer} no longer knows this client ({why}). Sign in "
                "again: that makes a new one.",
                server=self._config.url,
            )
        return GrantError(
            f"The authorization server {issuer} does not accept the client id and secret that you "
            f"configured ({why}). Correct them; the login is kept.",
            error=refresh_failure.error,
        )


def in_backoff(record: LoginRecord) -> bool:
    """Whether a renewal that nobody needs yet would only repeat what went wrong the last time."""
    refresh_failure = record.refresh_failure
    # One from the future is of a clock that was set back since.
    if refresh_failure is None or refresh_failure.at > time.time() + CLOCKS_DIFFER:
        return False
    pause = min(_LATER, 0.05 * (record.tokens.lifetime or 0.0))
    # threat: refresh-token-replay
    return time.time() < max(refresh_failure.until, refresh_failure.at + pause)


def _with_secret_of(config: ServerConfig, registration: Registration) -> Registration:
    """Give the registration with the secret that a person has configured by now."""
    own = registration.method == "preregistered" and registration.client_id == config.client_id
    # threat: client-secret-at-refresh
    if not own or config.client_secret is None or config.issuer not in (None, registration.issuer):
        return registration
    return replace(registration, client_secret=config.client_secret)


def _setback(error: Exception, record: LoginRecord) -> RefreshFailure:
    now, said = time.time(), str(error)
    if isinstance(error, ServerUnreachable) and not error.sent:
        return RefreshFailure("unreachable", now, said=said)
    if isinstance(error, GrantError):
        # threat: forged-end-of-a-login
        if error.error == "invalid_grant":
            return RefreshFailure("ended", now, error.error, said)
        if error.error or 400 <= error.status < 500 or error.status == 503:
            return RefreshFailure(
                "refused", now, error.error, said, now + (error.retry_after or 0.0)
            )
    # A broken connection, an internal error, an answer that cannot be read: processed or not,
    # nobody knows.
    return RefreshFailure("unknown", now, said=said, until=record.tokens.expires_at or now)


def _not_processed(error: McpnbError) -> float | None:
    """Seconds before a second try of a refresh that was not processed, else `None`."""
    if isinstance(error, ServerUnreachable):
        return None if error.sent else _RETRY_PAUSE
    if isinstance(error, GrantError) and error.status in (429, 503) and not error.error:
        pause = error.retry_after if error.retry_after is not None else _RETRY_PAUSE
        return pause if pause <= _LONGEST_PAUSE else None
    return None


def _when(moment: float) -> str:
    """Say when: the time, and the day where it is not today's."""
    then, today = time.localtime(moment), time.localtime()
    day = "" if then[:3] == today[:3] else time.strftime("on %Y-%m-%d ", then)
    return day + time.strftime("at %H:%M:%S", then)
