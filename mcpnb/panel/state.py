"""What the panel shows, derived from a session and its sign-in."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpnb import environment
from mcpnb.errors import McpnbError, NoSignInNeeded
from mcpnb.oauth.urls import host_of
from mcpnb.text import duration, qr_modules, redact, sanitize

if TYPE_CHECKING:
    from mcpnb.login import Login, Snapshot
    from mcpnb.login.pending import PendingLogin, PendingRequest
    from mcpnb.session import Session, SessionInfo


_UNDER_WAY = {
    "discovering": "starting",
    "registering": "starting",
    "waiting": "waiting",
    "exchanging": "exchanging",
}
"""States of a sign-in, and the panel's phases of it."""
_LONGEST_HOST = 60


@dataclass(frozen=True, slots=True)
class Tools:
    """What is known of the server's tools."""

    state: str = "unknown"
    text: str = ""
    listed: list[dict[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Extras:
    """What the panel knows in addition to the session."""

    page_missing: bool = False
    """Whether Jupyter does not serve the callback page."""
    installed: str = ""
    """Where mcpnb has copied it."""
    relayed_from: str = ""
    """Host of the page that shows the panel, as that page reports it."""
    tools: Tools = Tools()
    drawn: bool = False
    """Whether a person looks at the QR code: it takes 30 ms, and most people never do."""
    note: str = ""


def described(session: Session, extras: Extras) -> dict[str, Any]:
    """Return the panel's state of a session. Nobody is contacted."""
    unusable = session.problem  # a headers helper runs for it: not on an event loop
    info, login = session.info(), session.latest_login
    now = login.now if login is not None else None  # once: it may change between two questions
    phase, problem = _phase(info, login, now, unusable or info.problem)
    current = now if phase in _UNDER_WAY.values() else None
    request = current.pending.request if current and current.pending else None
    issuer = request.server.issuer if request else info.issuer
    scopes = info.scopes if phase == "signed_in" else info.requested_scopes
    scopes = (request and request.scopes) or scopes
    headline, detail = _lines(_host(session.server), info, phase, current)
    return {
        "phase": phase,
        "server": {
            "url": sanitize(session.server, 500),
            "host": _host(session.server),
            "name": sanitize(session.name, 60) if session.name else None,
            "claim": sanitize(now.resource_name, 60) if now and now.resource_name else None,
        },
        "account": sanitize(session.account, 60) if session.account else None,
        "authorization_server": {"issuer": sanitize(issuer, 300), "host": _host(issuer)}
        if issuer
        else None,
        "permissions": [sanitize(scope, 100) for scope in scopes[:100]],
        "permissions_note": _permissions_note(phase, scopes),
        "kept": _kept(info),
        "who": _who(info),
        "memory_only": info.in_memory,
        "memory_only_possible": phase in ("signed_out", "failed")
        and info.status == "none"
        and info.memory_is_a_choice,
        "headline": headline,
        "detail": detail,
        "notes": _notes(current, request, extras.note),
        "error": {"text": sanitize(problem, 600), "next": _next(phase)} if problem else None,
        "wait": _wait(current, current.pending, extras) if current and current.pending else None,
        "login": _login(info, extras) if phase == "signed_in" else None,
        "jupyter": _jupyter(extras),
    }


def _phase(
    info: SessionInfo,
    login: Login[Session] | None,
    now: Snapshot | None,
    problem: McpnbError | None,
) -> tuple[str, McpnbError | None]:
    if problem is not None:
        return "unusable", problem
    if now is not None and (phase := _UNDER_WAY.get(now.state)):
        return phase, None
    error = None
    if login is not None and now is not None and now.state == "failed" and not login.superseded:
        error = now.error
    if info.status == "bearer_token":
        return "no_sign_in", None
    if info.signed_in:
        return "signed_in", error
    if isinstance(error, NoSignInNeeded):
        return "no_sign_in", None
    return ("failed" if error is not None else "signed_out"), error


def _host(url: str) -> str:
    """Return the host as DNS has it; of a long one the end, which shows its owner."""
    try:
        host = redact(host_of(url))
    except ValueError:  # a configured issuer is compared, and may be no address
        return sanitize(url, 100)
    return sanitize(host if len(host) <= _LONGEST_HOST else f"…{host[-_LONGEST_HOST:]}", 100)


def _lines(host: str, info: SessionInfo, phase: str, now: Snapshot | None) -> tuple[str, str]:
    """Return the headline, and the sentence below it."""
    if phase == "waiting" and now and now.pending and now.pending.on_device:
        return (
            "Enter the code on your other device",
            "This continues by itself when you have approved there.",
        )
    if phase == "waiting" and now and now.is_follower:
        return (
            "A sign-in is under way in another notebook",
            "This panel follows it. You can also continue here.",
        )
    just_call = "Just call it."
    if info.status == "bearer_token":
        just_call = "The configuration has a token for it: just call it."
    return {
        "signed_out": (f"Sign in to {host}", "mcpnb contacts no server before you click."),
        "starting": (f"Contacting {host} …", "Looking up how to sign in."),
        "waiting": (
            "Waiting for you to approve",
            "Approve in the tab that opened. This continues by itself.",
        ),
        "exchanging": ("Approved. Finishing …", "Getting the login from the server."),
        "signed_in": (f"Signed in to {host}", "Every call carries a fresh token."),
        "failed": (f"Not signed in to {host}", ""),
        "no_sign_in": (f"{host} needs no sign-in", just_call),
        "unusable": (f"{host} cannot be used", ""),
    }[phase]


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


def _who(info: SessionInfo) -> str:
    if environment.is_voila() and info.in_memory:
        return "This page's own kernel can act as this login, until the page is closed."
    return "Anyone who can run code in this kernel can act as this login."


def _notes(now: Snapshot | None, request: PendingRequest | None, note: str) -> list[str]:
    shown = [_elsewhere(request) if request else "", *(now.notes[-4:] if now else ()), note]
    return [sanitize(each, 400) for each in shown if each]


def _elsewhere(request: PendingRequest) -> str:
    """Return a warning if the page is not the authorization server's (RFC 9700 section 4.4).

    A hostile server can send people to an honest server's page. Only the person can see that.
    """
    page, server = _host(request.url), _host(request.server.issuer)
    return f"You approve on {page}. The code goes to {server}." if page != server else ""


def _next(phase: str) -> str:
    if phase == "unusable":
        return "Correct it, then run this cell again."
    if phase == "signed_in":
        return "The earlier login still works."
    return "Sign in again. Or call session.doctor() to find out why."


def _wait(now: Snapshot, pending: PendingLogin, extras: Extras) -> dict[str, Any]:
    """Return what is to be known of a sign-in under way."""
    leads, waits, callback = not now.is_follower, now.state == "waiting", pending.callback
    port = pending.port if leads and _forwarding_helps(extras.relayed_from) else None
    return {
        "url": pending.request.url,
        "way": callback if leads else "elsewhere",
        "user_code": pending.request.user_code,
        "expires_at": pending.expires_at,
        "can_paste": not pending.on_device,
        "ssh_line": environment.current().ssh_line(port) if port else None,
        "other_device": _other_device(pending, extras) if waits else None,
        # Pasting is always possible; this is for servers that refuse the page's address.
        "offers_loopback": waits and leads and callback != "loopback",
    }


def _forwarding_helps(page_host: str) -> bool:
    """Return whether forwarding a port may help: not if the page is surely on this machine."""
    if page_host and page_host not in ("127.0.0.1", "localhost", "[::1]"):
        return True
    return environment.current().browser != "here"


def _other_device(pending: PendingLogin, extras: Extras) -> dict[str, Any]:
    request, device = pending.request, pending.on_device
    if device:
        text = "Open this address on any device, then check or enter the code there."
    elif pending.callback == "page":
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
        "qr": _code(request.url) if extras.drawn or device else None,
        "text": text,
        "can_begin_device": bool(request.server.device_authorization_endpoint) and not device,
    }


@functools.lru_cache(maxsize=4)
def _code(url: str) -> list[str] | None:
    try:
        rows = qr_modules(url)
    except ValueError:  # longer than a camera can read
        return None
    return ["".join("1" if dark else "0" for dark in row) for row in rows]


def _login(info: SessionInfo, extras: Extras) -> dict[str, Any]:
    return {
        "renews": "It refreshes itself." if info.refreshes else _ends(info.expires_at),
        "tools": extras.tools.listed,
        "tools_state": extras.tools.state,
        "tools_text": extras.tools.text,
        "missing": [sanitize(scope, 100) for scope in info.wanted_scopes[:50]],
    }


def _ends(expires_at: float | None) -> str:
    if expires_at is None:
        return "The server did not say how long it lasts."
    left, when = expires_at - time.time(), "now"
    if left > 0:
        when = f"in {duration(left)}" if left >= 59 else "in less than a minute"
    return f"It ends {when}. Sign in again then."


def _jupyter(extras: Extras) -> dict[str, Any]:
    missing = extras.page_missing and not extras.installed
    text = ""
    if extras.installed:
        text = f"The page is now in {sanitize(extras.installed, 300)}."
    elif missing:
        text = (
            "Your Jupyter does not serve mcpnb's page. Without it, a sign-in takes one more click, "
            "and you may have to paste an address. mcpnb can copy it into your Jupyter folder."
        )
    return {"page_missing": missing, "text": text}
