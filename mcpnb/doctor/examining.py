"""The whole examination, in the order in which a sign-in comes by everything."""

from __future__ import annotations

from contextlib import closing

from mcpnb import environment
from mcpnb.doctor.announcing import announcing
from mcpnb.doctor.authorizing import Authorizing, authorizing
from mcpnb.doctor.calling import called
from mcpnb.doctor.describing import describing
from mcpnb.doctor.helping import helped
from mcpnb.doctor.logins import login_checks, not_asked, stored_login
from mcpnb.doctor.looking import Look, WatchedHttp
from mcpnb.doctor.machine import clock, machine_checks, port
from mcpnb.doctor.masking import Masks
from mcpnb.doctor.reaching import address, reaching, shown_address
from mcpnb.doctor.registering import callback_port, client_checks
from mcpnb.doctor.report import Check, Report
from mcpnb.doctor.signing_in import SignIn, signed_in
from mcpnb.doctor.surroundings import environment_check, front_end, way_back
from mcpnb.doctor.topics import problem
from mcpnb.errors import McpnbError
from mcpnb.login.loopback import DEFAULT_PORT
from mcpnb.login.pending import PendingLogins
from mcpnb.oauth.credentials import LoginRecord, RegistrationMethod
from mcpnb.oauth.models import ServerConfig
from mcpnb.storage import TokenStore
from mcpnb.tokens.record import login_key

__all__ = ["examine", "examine_address", "examine_machine"]


def examine(
    config: ServerConfig,
    store: TokenStore,
    *,
    call: bool = False,
    sign_in: SignIn | None = None,
) -> Report:
    """Go through a sign-in as far as that is possible without changing anything anywhere.

    Asked are the requests of discovery, and a client metadata document of your own. Nothing is
    registered, no token is asked for, renewed or (without `call`) sent, and the store is only read.
    A command that prints headers is run on this machine, as the first call would run it.

    Args:
        config: The server, by its canonical URL, and how to sign in to it.
        store: Where its login rests, or would.
        call: List the server's tools with the stored token, to see whether it is accepted.
        sign_in: Begins a sign-in that really happens, and is explained step by step; the server's
            tools are listed with what it brings.
    """
    helper, config = helped(config)
    masks = Masks()
    masks.add(config.client_secret)
    with closing(WatchedHttp(config.url, allow_private=config.allow_private_network)) as http:
        look = Look(config, store, http)
        record, login = stored_login(look)
        masks.add_login(record)
        checks, at, method = _signing_in(look, record)
        if config.authorization is None and look.failure is not None and not _any_problem(checks):
            checks.append(_unexplained(look.failure))
        new = False
        if sign_in is not None:
            steps, new = signed_in(look, sign_in, masks)
            record, login = stored_login(look)
            masks.add_login(record)
            checks += steps
        checks += [*helper, login if call or new else not_asked(look, record, login)]
        if record is not None:
            checks += login_checks(look, record, at)
        if (call or new) and look.first is not None:
            checks.append(called(look, record, new=new))
        checks += _here(look, at, method)
    return Report(config.url, masks.cover(checks))


def _any_problem(checks: list[Check]) -> bool:
    return any(check.verdict == "problem" for check in checks)


def _here(look: Look, at: Authorizing | None, method: RegistrationMethod | None) -> list[Check]:
    """Look at this machine, as far as a sign-in to this server needs it."""
    config, place = look.config, environment.current()
    time = clock(look.http.skews)
    waiting = _waits(config, look.store)
    fixed = config.callback_url is not None
    callback = port(callback_port(config), method, fixed=fixed, waiting=waiting)
    checks = [*([time] if time else []), environment_check(place), callback]
    if config.authorization is None:
        checks.append(way_back(place, config, at.server if at else None))
    return [*checks, *machine_checks(look.store), front_end(place)]


def _waits(config: ServerConfig, store: TokenStore) -> bool:
    """Whether a sign-in to this server is pending, here or in another process."""
    try:
        return (
            PendingLogins(store, login_key(config.name_in_store, config.account)).current()
            is not None
        )
    except McpnbError:
        return False


def _signing_in(
    look: Look, record: LoginRecord | None
) -> tuple[list[Check], Authorizing | None, RegistrationMethod | None]:
    reached, there = reaching(look)
    checks = [address(look.server), *reached]
    if not there or look.config.authorization is not None:
        return checks, None, None  # or a configured token takes the place of a sign-in
    described, what = describing(look)
    checks += described
    open_to_all = look.found is not None and look.found.authorization_server is None
    if open_to_all:
        return checks, None, None
    found, at = authorizing(look, what)
    client, method = client_checks(look, at, record)
    return [*checks, *found, *announcing(look, at), *client], at, method


def _unexplained(failure: McpnbError) -> Check:
    return problem(
        "discovery",
        "all of the above together",
        str(failure),
        "server operator",
        "See what the message names; “mcpnb discover” shows the same.",
        rule=getattr(failure, "rule", ""),
    )


def examine_machine(store: TokenStore) -> Report:
    """Look at this machine alone; nobody is contacted."""
    place = environment.current()
    callback = port(DEFAULT_PORT, None, fixed=False, waiting=False)
    around = [environment_check(place), callback, way_back(place, None, None)]
    return Report(None, [*around, *machine_checks(store), front_end(place)])


def examine_address(server: str, store: TokenStore) -> Report:
    """Report on an address that cannot be used at all, and on this machine."""
    return Report(shown_address(server), [address(server), *examine_machine(store)])
