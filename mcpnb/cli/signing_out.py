"""``mcpnb logout``: what became of it, honestly."""

from __future__ import annotations

from typing import Any

from mcpnb.cli.group import say
from mcpnb.errors import ConfigError, StoreError

__all__ = ["sign_out", "sign_out_everywhere"]

_SAID = {
    "revoked": "revoked at the server",
    "forgotten": "forgotten here; the server did not confirm that it is revoked: end it on the "
    "server's own account page, if it has one",
    "unread": "forgotten here; it could not be read, so the server was not told: end it there",
}


_BEGUN = "the sign-in that was begun is forgotten"


def sign_out(session: Any) -> int:
    """Sign out of one server."""
    try:
        held, unreadable = session.status != "none", False
    except StoreError:
        held, unreadable = True, True
    except ConfigError:  # a headers helper's: no reason to stay signed in
        held, unreadable = True, False
    begun = set(session.store.keys("pending"))
    revoked = session.logout()  # a sign-in that waits ends, too
    if not held:
        left = begun == set(session.store.keys("pending"))
        say(f"Not signed in to {session.server}: {'nothing to do' if left else _BEGUN}.")
        return 0
    outcome = "revoked" if revoked else ("unread" if unreadable else "forgotten")
    say(f"Signed out of {session.server}: {_SAID[outcome]}.")
    return 0


def sign_out_everywhere() -> int:
    """Sign out of all that is stored; fails if anything of it is still there."""
    from mcpnb.session.connect import sign_out_everywhere as everywhere
    from mcpnb.storage import open_store

    stored = {key.name for key in open_store("auto").keys("login")}
    done = everywhere()
    for server, account, outcome in done:
        label = f" ({account})" if account else ""
        name = f"{server}\n{account}" if account else server
        if outcome == "forgotten" and name not in stored:
            say(f"Not signed in to {server}{label}: {_BEGUN}.")
        elif outcome in _SAID:
            say(f"Signed out of {server}{label}: {_SAID[outcome]}.")
        else:
            say(f"Still signed in to {server}{label}: {outcome}")
    if not done:
        say("No login is stored: nothing to do.")
    return 0 if all(outcome in _SAID for _, _, outcome in done) else 1
