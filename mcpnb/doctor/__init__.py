"""Why signing in does not work, who can fix it, and what to do.

Nothing is changed by it, except by a sign-in that a person asks for.
"""

from __future__ import annotations

from contextlib import closing, suppress

from mcpnb import environment
from mcpnb.doctor.machine import clock, environment_check, front_end, port, software, way_back
from mcpnb.doctor.report import Check, Report
from mcpnb.doctor.server import Server, headers_helper
from mcpnb.doctor.trace import SignIn, signed_in
from mcpnb.errors import McpnbError
from mcpnb.login.pending import PendingLogins
from mcpnb.oauth.models import ServerConfig
from mcpnb.storage import TokenStore
from mcpnb.text import Redactor
from mcpnb.tokens.record import login_key

__all__ = ["Check", "Report", "SignIn", "examine", "examine_machine"]


def examine(
    config: ServerConfig, store: TokenStore, *, call: bool = False, sign_in: SignIn | None = None
) -> Report:
    """Go through a sign-in as far as possible without changing anything anywhere.

    Requested are the documents of discovery, and a client metadata document of the person's own.
    Nothing is registered, no token is requested, refreshed or (without `call`) sent, and the store
    is only read. A command that prints headers is run on this machine, as the first call would.

    Args:
        config: The server, by its canonical URL, and how to sign in to it.
        store: Where its login is stored, or would be.
        call: List the server's tools with the stored token, to see whether it is accepted.
        sign_in: Starts a sign-in that really happens, and is explained step by step; the server's
            tools are listed with the new login.
    """
    helper, config = headers_helper(config)
    hide, place, new = Redactor(), environment.current(), False
    if config.client_secret is not None:
        hide.add(config.client_secret.reveal())
    server = Server(config, store)
    with closing(server.http):
        login = server.login(asked=call)
        hide.add(*server.secrets())
        checks = list(server.sign_in())
        if sign_in is not None:
            steps, new = signed_in(server, sign_in, hide)
            checks, login = [*checks, *steps], server.login(asked=call or new)
            hide.add(*server.secrets())
        checks += [*helper, login, *server.stored()]
        if (call or new) and server.first is not None:
            checks.append(server.call(new=new))
    checks += clock(server.skews)
    checks.append(environment_check(place))
    checks.append(port(config, server.method, awaited=_awaited(config, store)))
    if config.authorization is None:
        checks.append(way_back(place, config, server.authorization))
    checks += [*software(store), front_end(place)]
    return Report(config.url, checks).edited(hide)


def _awaited(config: ServerConfig, store: TokenStore) -> int | None:
    """Return the port at which a sign-in to this server is pending, here or in another process."""
    with suppress(McpnbError):
        pending = PendingLogins(store, login_key(config.name_in_store, config.account)).current()
        return pending.port if pending else None
    return None


def examine_machine(store: TokenStore) -> Report:
    """Check this machine alone; nobody is contacted."""
    place = environment.current()
    around = [environment_check(place), port(None, None), way_back(place, None, None)]
    return Report(None, [*around, *software(store), front_end(place)])
