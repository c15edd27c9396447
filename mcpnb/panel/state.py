"""What the panel shows, derived from a session and its sign-in."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpnb import environment
from mcpnb.environment import is_voila
from mcpnb.errors import McpnbError, NoSignInNeeded
from mcpnb.login.qr import modules
from mcpnb.oauth.urls import host_of
from mcpnb.text import duration, redact, sanitize

if TYPE_CHECKING:
    from mcpnb.login import Login
    from mcpnb.session import Session, SessionInfo


_PASTE = (
    "After you approve, your browser may say this page can't be reached. That's expected. Copy the "
    "whole address from its address bar and paste it here."
)
_ERROR_PAGE = "The server shows an error page?"


def waiting(login: Any, page_host: str, *, drawn: bool) -> dict[str, Any]:
    """Return the panel's state of a sign-in under way.

    Args:
        login: The sign-in.
        page_host: Host of the page that shows the panel, where it is known.
        drawn: Whether somebody looks at the QR code: it takes 30 ms, and most people never do.
    """
    callback, url = login.callback, login.url
    pasting = callback is not None and callback != "device"
    return {
        "url": url,
        "way": "elsewhere" if login.is_follower else callback,
        "user_code": login.user_code,
        "expires_at": login.expires_at,
        "can_paste": pasting,
        "paste_help": _PASTE if pasting else "",
        "ssh_line": environment.current().ssh_line(login.port)
        if _helps(login, page_host)
        else None,
        "ssh_help": "If the kernel is not on your browser's computer, run this line in a terminal "
        "there. It forwards the port:",
        "other_device": _other_device(login, url, drawn=drawn)
        if login.state == "waiting" and url
        else None,
        "ways": _ways(login),
    }


def _helps(login: Any, page_host: str) -> bool:
    """Return whether forwarding a port may help: not if the page is surely on this machine."""
    if login.port is None or login.is_follower:
        return False
    if page_host and page_host not in ("127.0.0.1", "localhost", "[::1]"):
        return True
    return environment.current().browser != "here"


def _other_device(login: Any, url: str, *, drawn: bool) -> dict[str, Any]:
    device = login.user_code is not None
    if device:
        text = "Open this address on any device, then check or enter the code there."
    elif login.callback == "page":
        text = (
            "A phone that opens this ends at this notebook's page. If the phone can reach it, the "
            "page shows an address to copy back here. If not, the address bar has it."
        )
    else:
        text = (
            "A phone that opens this ends at an address that it cannot reach. Send yourself the "
            "whole address from its address bar, and paste it here."
        )
    return {
        "url": url,
        "qr": _code(url) if drawn or device else None,
        "text": text,
        "is_device_grant": device,
        "can_begin_device": login.offers_device and not device,
    }


@functools.lru_cache(maxsize=4)
def _code(url: str) -> list[str] | None:
    try:
        rows = modules(url)
    except ValueError:  # longer than a camera can read
        return None
    return ["".join("1" if dark else "0" for dark in row) for row in rows]


def _ways(login: Any) -> list[dict[str, str]]:
    """Return what to try if no response comes. Pasting is always possible."""
    if login.state != "waiting" or login.is_follower or login.callback == "loopback":
        return []
    return [{"via": "loopback", "label": _ERROR_PAGE}]


_WHO = "Anyone who can run code in this kernel can act as this login."
_WHO_IN_VOILA = "This page's own kernel can act as this login, until the page is closed."
_PHASES = {
    "discovering": "starting",
    "registering": "starting",
    "waiting": "waiting",
    "exchanging": "exchanging",
}
_LONGEST_HOST = 60


@dataclass(frozen=True, slots=True)
class Extras:
    """What the panel knows in addition to the session."""

    page_missing: bool = False
    """Whether Jupyter does not serve the callback page."""
    installed: str = ""
    """Where mcpnb has copied it."""
    relayed_from: str = ""
    """Host of the page that shows the panel, as that page reports it."""
    tools: tuple[tuple[str, str], ...] | None = None
    tools_state: str = "unknown"
    tools_text: str = ""
    drawn: bool = False
    """Whether a person looks at the QR code."""
    note: str = ""


def described(session: Session, extras: Extras) -> dict[str, Any]:
    """Return the panel's state of a session. Nobody is contacted.

    Args:
        session: The server, signed in to or not.
        extras: What the panel knows in addition.
    """
    unusable = session.problem  # a headers helper runs for it: not on an event loop
    info = session.info()
    phase, problem = _phase(info, session.latest_login, unusable or info.problem)
    return _described(session, info, extras, phase, problem)


def _phase(
    info: SessionInfo, login: Login[Session] | None, problem: McpnbError | None
) -> tuple[str, McpnbError | None]:
    if problem is not None:
        return "unusable", problem
    # Asked once: it may end between two questions.
    if login is not None and (phase := _PHASES.get(login.state)):
        return phase, None
    failed = login is not None and login.state == "failed" and not login.superseded
    error = login.error if login is not None and failed else None
    if info.status == "bearer_token":
        return "no_sign_in", None
    if info.signed_in:
        return "signed_in", error
    if isinstance(error, NoSignInNeeded):
        return "no_sign_in", None
    return ("failed" if error is not None else "signed_out"), error


def _described(
    session: Session,
    info: SessionInfo,
    extras: Extras,
    phase: str,
    problem: McpnbError | None,
) -> dict[str, Any]:
    login = session.latest_login
    under_way = phase in ("starting", "waiting", "exchanging")
    headline, detail = _lines(session, info, phase)
    issuer = (login.issuer if login and under_way else None) or info.issuer
    granted = phase == "signed_in"
    scopes = info.scopes if granted else info.requested_scopes
    if login is not None and login.scopes and under_way:
        scopes = login.scopes
    return {
        "phase": phase,
        "server": {
            "url": sanitize(session.server, 500),
            "host": _host(session.server),
            "name": sanitize(session.name, 60) if session.name else None,
            "claim": sanitize(login.resource_name, 60) if login and login.resource_name else None,
        },
        "account": sanitize(session.account, 60) if session.account else None,
        "authorization_server": {
            "issuer": sanitize(issuer, 300),
            "host": _host(issuer),
        }
        if issuer
        else None,
        "permissions": [
            {"name": sanitize(scope, 100), "description": None} for scope in scopes[:100]
        ],
        "permissions_note": _permissions_note(phase, scopes),
        "kept": _kept(info),
        "who": _WHO_IN_VOILA if is_voila() and info.in_memory else _WHO,
        "memory_only": info.in_memory,
        "memory_only_possible": phase in ("signed_out", "failed")
        and info.status == "none"
        and info.memory_is_a_choice,
        "headline": headline,
        "detail": detail,
        "notes": _notes(session, extras, under_way=under_way),
        "error": {"text": sanitize(problem, 600), "next": _next(phase)} if problem else None,
        "wait": waiting(login, extras.relayed_from, drawn=extras.drawn)
        if login and under_way
        else None,
        "login": _login(info, extras) if granted else None,
        "jupyter": _jupyter(extras),
    }


def _host(url: str) -> str:
    """Return the host as DNS has it; of a long one the end, which shows its owner."""
    try:
        host = redact(host_of(url))
    except ValueError:  # a configured issuer is compared, and may be no address
        return sanitize(url, 100)
    return sanitize(host if len(host) <= _LONGEST_HOST else f"…{host[-_LONGEST_HOST:]}", 100)


def _lines(session: Session, info: SessionInfo, phase: str) -> tuple[str, str]:
    """Return the headline, and the sentence below it."""
    host = _host(session.server)
    login = session.latest_login
    if phase == "waiting" and login is not None and login.user_code is not None:
        return (
            "Enter the code on your other device",
            "This continues by itself when you have approved there.",
        )
    if phase == "waiting" and login is not None and login.is_follower:
        return (
            "A sign-in is under way in another notebook",
            "This panel follows it. You can also continue here.",
        )
    lines = {
        "signed_out": (f"Sign in to {host}", "mcpnb contacts no server before you click."),
        "starting": (f"Contacting {host} …", "Looking up how to sign in."),
        "waiting": (
            "Waiting for you to approve",
            "Approve in the tab that opened. This continues by itself.",
        ),
        "exchanging": ("Approved. Finishing …", "Getting the login from the server."),
        "signed_in": (f"Signed in to {host}", "Every call carries a fresh token."),
        "failed": (f"Not signed in to {host}", ""),
        "no_sign_in": (f"{host} needs no sign-in", "Just call it."),
        "unusable": (f"{host} cannot be used", ""),
    }
    if phase == "no_sign_in" and info.status == "bearer_token":
        return lines[phase][0], "The configuration has a token for it: just call it."
    return lines[phase]


def _permissions_note(phase: str, scopes: tuple[str, ...]) -> str:
    if phase == "signed_in":
        return "granted" if scopes else "The server did not say what was granted."
    if phase in ("waiting", "exchanging"):
        return "requested" if scopes else "The server decides."
    return "will be requested" if scopes else "The server names them after you click."


def _kept(info: SessionInfo) -> str:
    if not info.location:
        return ""
    words = sanitize(info.location, 200)
    return f"Saved {words}." if info.signed_in else f"It will be saved {words}."


def _notes(session: Session, extras: Extras, *, under_way: bool) -> list[str]:
    login = session.latest_login
    shown = [_elsewhere(login), *login.notes[-4:]] if login is not None and under_way else []
    return [sanitize(note, 400) for note in [*shown, extras.note] if note]


def _elsewhere(login: Login[Any]) -> str:
    """Return a warning if the page is not the authorization server's (RFC 9700 section 4.4).

    A hostile server can send people to an honest server's page. Only the person can see that.
    """
    if login.url is None or login.issuer is None or _host(login.url) == _host(login.issuer):
        return ""
    return f"You approve on {_host(login.url)}. The code goes to {_host(login.issuer)}."


def _next(phase: str) -> str:
    if phase == "unusable":
        return "Correct it, then run this cell again."
    if phase == "signed_in":
        return "The earlier login still works."
    return "Sign in again. Or call session.doctor() to find out why."


def _login(info: SessionInfo, extras: Extras) -> dict[str, Any]:
    listed = extras.tools
    return {
        "renews": _renews(info),
        "expires_at": info.expires_at,
        "tools": None if listed is None else [{"name": n, "description": d} for n, d in listed],
        "tools_state": extras.tools_state,
        "tools_text": extras.tools_text,
        "missing": [sanitize(scope, 100) for scope in info.wanted_scopes[:50]],
    }


def _renews(info: SessionInfo) -> str:
    if info.refreshes:
        return "It refreshes itself."
    ends = info.expires_at
    if ends is None:
        return "The server did not say how long it lasts."
    return f"It ends {_in(ends - time.time())}. Sign in again then."


def _in(seconds: float) -> str:
    if seconds <= 0:
        return "now"
    return f"in {duration(seconds)}" if seconds >= 59 else "in less than a minute"


def _jupyter(extras: Extras) -> dict[str, Any]:
    if extras.installed:
        text = f"The page is now in {sanitize(extras.installed, 300)}."
    elif extras.page_missing:
        text = (
            "Your Jupyter does not serve mcpnb's page. Without it, a sign-in takes one more click, "
            "and you may have to paste an address. mcpnb can copy it into your Jupyter folder."
        )
    else:
        text = ""
    missing = extras.page_missing and not extras.installed
    return {"page_missing": missing, "can_install": missing, "text": text}
