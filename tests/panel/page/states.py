"""Every state that the panel can be in, with made-up servers and people."""

from __future__ import annotations

import time
from copy import deepcopy
from itertools import count
from typing import Any

from mcpnb.text import qr_modules

State = dict[str, Any]

HOST = "mcp.harbour.example"
ISSUER = {"issuer": "https://login.harbour.example", "host": "login.harbour.example"}
SCOPES = ["berths:read", "berths:book", "offline_access"]
AUTHORIZE = (
    "https://login.harbour.example/authorize?response_type=code&client_id=c-8d2f61&"
    "redirect_uri=http%3A%2F%2F127.0.0.1%3A27182%2Fcallback&state=Zr3kQ0v1aXw&"
    "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
)
_serials = count(1)


def state(phase: str = "signed_out", **changes: Any) -> State:
    """Give a whole state, newer than all before."""
    whole: State = {
        "serial": next(_serials),
        "phase": phase,
        "server": {
            "url": f"https://{HOST}/mcp",
            "host": HOST,
            "name": None,
            "claim": "Harbour",
        },
        "account": None,
        "authorization_server": None,
        "permissions": [],
        "permissions_note": "The server names them after you click.",
        "kept": "It will be saved encrypted in ~/.local/share/mcpnb, key in: GNOME Keyring.",
        "who": "Anyone who can run code in this kernel can act as this login.",
        "memory_only": False,
        "memory_only_possible": True,
        "headline": f"Sign in to {HOST}",
        "detail": "mcpnb contacts no server before you click.",
        "notes": [],
        "error": None,
        "wait": None,
        "login": None,
        "jupyter": {"page_missing": False, "text": ""},
    }
    return deepcopy(whole | changes)


def wait(way: str = "page", **changes: Any) -> State:
    """Give what is waited for."""
    whole: State = {
        "url": AUTHORIZE,
        "way": way,
        "user_code": None,
        "expires_at": time.time() + 290,
        "can_paste": True,
        "ssh_line": None,
        "other_device": None,
        "offers_loopback": False,
    }
    return whole | changes


def waiting(way: str = "page", **changes: Any) -> State:
    """Give the state of a sign-in that waits for a person; what `wait` knows goes there."""
    there = {name: changes.pop(name) for name in list(changes) if name in wait()}
    known: State = {
        "authorization_server": ISSUER,
        "permissions": SCOPES,
        "permissions_note": "requested",
        "headline": "Waiting for you to approve",
        "detail": "Approve in the tab that opened. This continues by itself.",
    }
    return state("waiting", **(known | {"wait": wait(way, **there)} | changes))


def login(**changes: Any) -> State:
    """Give the state of somebody who is signed in; what a login has goes there."""
    inner: State = {
        "renews": "It refreshes itself.",
        "tools": None,
        "tools_state": "unknown",
        "tools_text": "",
        "missing": [],
    }
    inner |= {name: changes.pop(name) for name in list(changes) if name in inner}
    known: State = {
        "authorization_server": ISSUER,
        "permissions": SCOPES,
        "permissions_note": "granted",
        "headline": f"Signed in to {HOST}",
        "detail": "Every call carries a fresh token.",
        "kept": "Saved encrypted in ~/.local/share/mcpnb, key in: GNOME Keyring.",
        "account": "work",
        "login": inner,
    }
    return state("signed_in", **(known | changes))


def _other_device(url: str, text: str, *, can_begin_device: bool) -> State:
    rows = ["".join("01"[dark] for dark in row) for row in qr_modules(url)]
    return {"qr": rows, "text": text, "can_begin_device": can_begin_device}


_DEVICE_URL = "https://login.harbour.example/device?user_code=WDJB-MJHT"
_DEVICE = _other_device(
    _DEVICE_URL,
    "Scan this with your phone, check that the code is the same, and approve there.",
    can_begin_device=False,
)
_ELSEWHERE = _other_device(
    AUTHORIZE,
    "Approve on another device; you will copy the address that it ends at back to here.",
    can_begin_device=True,
)
_TOOLS = [
    {"name": "find_berth", "description": "Look for a free berth by length, draught and dates."},
    {"name": "book_berth", "description": "Book one. Asks the harbour office to confirm."},
    {"name": "tide_table", "description": "High and low water for a day, in metres above chart."},
    {"name": "log_arrival_of_vessel", "description": ""},
]
_LONG: State = {
    "server": {
        "url": "https://mcp.a-really-quite-long-department-name.statistics.harbour.example/v2/mcp",
        "host": "mcp.a-really-quite-long-department-name.statistics.harbour.example",
        "name": "hafenverwaltung",
        "claim": "Wasserstraßen- und Schifffahrtsverwaltungsdienstleistungszentrum",
    },
    "headline": "Anmeldung bei mcp.a-really-quite-long-department-name.statistics.harbour.example",
    "detail": "Vor dem Klick wird kein Server angesprochen, nichts angemeldet und nichts gezählt.",
    "permissions": ["https://harbour.example/scopes/liegeplatzreservierungen.readwrite.all"],
}

STATES: dict[str, State] = {
    "signed out": state(),
    "signed out, all known": state(
        authorization_server=ISSUER,
        permissions=SCOPES,
        permissions_note="will be requested",
        server=state()["server"] | {"name": "harbour"},
    ),
    "signed out, Jupyter lacks the page": state(
        jupyter={
            "page_missing": True,
            "text": "Jupyter runs in another environment and lacks the page that brings the "
            "answer back. Signing in works without it, with one more step.",
        }
    ),
    "signed out, long words": state(**_LONG),
    "starting": state(
        "starting",
        headline=f"Contacting {HOST} …",
        detail="Looking up how to sign in.",
        wait=wait(url=None, can_paste=False, expires_at=None),
    ),
    "waiting, relay": waiting(offers_loopback=True, other_device=_ELSEWHERE),
    "waiting, loopback over ssh": waiting(
        "loopback",
        ssh_line="ssh -L 27182:127.0.0.1:27182 ada@quay.harbour.example",
    ),
    "waiting, paste": waiting("paste"),
    "waiting, device": waiting(
        "device",
        user_code="WDJB-MJHT",
        url=_DEVICE_URL,
        can_paste=False,
        other_device=_DEVICE,
        headline="Enter the code on your other device",
        detail="This continues by itself when you have approved there.",
    ),
    "waiting, in another notebook": waiting(
        "elsewhere",
        url=None,
        can_paste=False,
        headline="A sign-in is under way in another notebook",
        detail="This panel follows it. You can also continue here.",
    ),
    "waiting, relay refused": waiting(
        "loopback",
        notes=["The server refused the notebook's own address, so another way was taken."],
    ),
    "exchanging": state(
        "exchanging",
        authorization_server=ISSUER,
        permissions=SCOPES,
        permissions_note="requested",
        headline="Approved. Finishing …",
        detail="Getting the login from the server.",
        wait=wait(can_paste=False, url=None, expires_at=None),
    ),
    "signed in": login(),
    "signed in, tools": login(tools=_TOOLS, tools_state="ready"),
    "signed in, tools loading": login(tools_state="loading"),
    "signed in, tools failed": login(
        tools_state="failed", tools_text="The server did not answer in 10 s."
    ),
    "signed in, more needed": login(missing=["berths:cancel"]),
    "signed in, memory only": login(
        account=None,
        kept="In this kernel's memory only: gone when it ends.",
        memory_only=True,
        renews="It ends in 58 min. Sign in again then.",
    ),
    "failed, denied": state(
        "failed",
        authorization_server=ISSUER,
        permissions=SCOPES,
        permissions_note="requested",
        headline=f"Not signed in to {HOST}",
        detail="",
        error={
            "text": "login.harbour.example says: “The user denied access.”",
            "next": "Sign in again. Or call session.doctor() to find out why.",
        },
    ),
    "no sign-in": state(
        "no_sign_in",
        headline=f"{HOST} needs no sign-in",
        detail="Just call it.",
    ),
    "unusable": state(
        "unusable",
        headline=f"{HOST} cannot be used",
        detail="",
        error={
            "text": "It asks for a sign-in, but names no authorization server.",
            "next": "Correct it, then run this cell again.",
        },
    ),
}


def fresh(name: str) -> State:
    """Give one of these, newer than all before."""
    return STATES[name] | {"serial": next(_serials)}
