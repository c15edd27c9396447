"""One look at a session: everything that is shown of it, from one read of the store."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from mcpnb.errors import ConfigError, McpnbError, StoreError
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import ServerConfig
from mcpnb.session.credential import Credential
from mcpnb.storage import RecordName
from mcpnb.tokens import login_key


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What is known of a session at one moment. Nobody is contacted for it, and nothing is run.

    The panel, `repr`, the list of servers and the doctor all show this.
    """

    server: str
    """The canonical URL."""
    name: str | None
    """The name in the configuration, if it has one."""
    account: str | None
    """The label of this login, where one server has several."""
    record_name: RecordName
    """Names the login's record in the store."""
    status: str
    """``authenticated``, ``expired`` (it refreshes itself), ``reauth_required``, ``none``, or
    ``bearer_token`` where the configuration has a token."""
    enabled: bool = True
    """Whether the configuration lets it be used."""
    readable: bool = True
    """Whether the stored login, or that there is none, could be read."""
    problem: McpnbError | None = None
    """Why it cannot be used, or its login cannot be read or stored."""
    waits_for: str | None = None
    """The headers helper that has not run yet: whether it gives a token is not known."""
    token_source: str | None = None
    """What has the configured token, in a few words, where there is one."""
    issuer: str | None = None
    """The authorization server: of the login, else the configured one."""
    scopes: tuple[str, ...] = ()
    """The granted scopes."""
    requested_scopes: tuple[str, ...] = ()
    """Scopes that are given or configured; empty: the server names them."""
    wanted_scopes: tuple[str, ...] = ()
    """Scopes that a refused call needed, beyond the granted ones."""
    expires_at: float | None = None
    """When the access token expires, seconds since the epoch, where the server said so."""
    refreshes: bool = False
    """Whether there is a refresh token."""
    location: str = ""
    """Where the login is stored, or would be, and what protects it, in a few words."""
    protected_by: str = ""
    """The part of `location` that fits on a short line."""
    in_memory: bool = False
    """Whether the login is in this process only, or would be."""
    memory_is_a_choice: bool = False
    """Whether the login could be stored elsewhere than in this process, too."""

    @property
    def signed_in(self) -> bool:
        """Whether calls work without a person, as far as this machine knows."""
        return self.status in ("authenticated", "expired", "bearer_token")

    @property
    def summary(self) -> str:
        """The state in a few words, as `repr` shows it."""
        if not self.enabled:
            return "disabled"
        if self.problem is not None:
            what = "not usable" if self.readable else "login not readable"
            return f"{what}: {self.problem}"
        if self.token_source is not None:
            return f"no sign-in: uses {self.token_source}"
        if self.waits_for is not None and self.status == "none":
            return f"not asked yet: {self.waits_for} runs at the first call"
        if not self.signed_in:
            ended = self.status == "reauth_required"
            return "login ended, sign in again" if ended else "not signed in"
        left = "" if self.expires_at is None else f", {_left(self.expires_at - time.time())}"
        refreshes = ", renews itself" if self.refreshes else ""
        return f"signed in{left}{refreshes}, {self.protected_by}"


def look_at(config: ServerConfig, credential: Credential) -> SessionInfo:
    """Return what is known of a session. Nobody is contacted for it, and nothing is run."""
    info = SessionInfo(
        server=config.url,
        name=config.name,
        account=config.account,
        record_name=login_key(config.name_in_store, config.account),
        status="none",
        enabled=config.enabled,
        issuer=config.issuer,
        requested_scopes=config.scopes or (),
        in_memory=credential.in_memory,
        memory_is_a_choice=credential.memory_is_a_choice,
        waits_for=None if credential.is_known else f"http_headers_helper in {config.source}",
    )
    try:
        credential.require_enabled()
    except ConfigError as error:
        info = replace(info, problem=error)  # its login is shown, and can be signed out of
    if credential.is_known and (configured := credential.source.configured):
        info = replace(info, status="bearer_token", token_source=configured)
        try:
            credential.require_usable()
        except ConfigError as error:
            info = replace(info, problem=error)
        return info
    source = credential.source if credential.is_known else credential.login
    try:
        record = source.record()
    except (ConfigError, StoreError) as error:  # a ConfigError: MCPNB_STORE_KEY is no key
        return replace(info, problem=error, readable=False)
    try:
        location = credential.store.location(info.record_name)
        protected_by = credential.store.protected_by(info.record_name)
    except (ConfigError, StoreError) as error:
        info = replace(info, problem=error)
    else:
        info = replace(info, location=location, protected_by=protected_by)
    info = replace(info, wanted_scopes=source.wanted or ())
    if record is None:
        return info
    return replace(
        info,
        status=_status(record),
        issuer=record.issuer,
        scopes=record.tokens.scopes,
        expires_at=record.tokens.expires_at,
        refreshes=record.tokens.refresh_token is not None,
    )


def _status(record: LoginRecord) -> str:
    expires = record.tokens.expires_at
    if expires is None or expires > time.time():
        return "authenticated"
    failure = record.refresh_failure
    forgotten = failure is not None and failure.error == "invalid_client"
    refreshes = record.tokens.refresh_token is not None and not forgotten
    return "expired" if refreshes else "reauth_required"


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "token expired"
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit} left"
    return f"{seconds:.0f} s left"
