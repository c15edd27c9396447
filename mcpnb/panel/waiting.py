"""What a panel shows while a sign-in is under way: how its answer comes back, and how else."""

from __future__ import annotations

import functools
from typing import Any

from mcpnb import environment
from mcpnb.qr import modules

__all__ = ["waiting"]

_PASTE = (
    "After you approve, your browser may say this page can't be reached. That's expected. Copy the "
    "whole address from its address bar and paste it here."
)
_ERROR_PAGE = "The server shows an error page?"


def waiting(login: Any, page_host: str, *, drawn: bool) -> dict[str, Any]:
    """Describe a sign-in that is under way.

    Args:
        login: The sign-in.
        page_host: Host of the page that shows the panel, where it is known.
        drawn: Whether somebody looks at the QR code: it takes 30 ms, and most people never do.
    """
    via, url = login.via, login.url
    pasting = via is not None and via != "device"
    return {
        "url": url,
        "way": "elsewhere" if login.follows else via,
        "user_code": login.user_code,
        "expires_at": login.expires_at,
        "can_paste": pasting,
        "paste_help": _PASTE if pasting else "",
        "ssh_line": environment.here().ssh_line(login.port) if _helps(login, page_host) else None,
        "ssh_help": "If the kernel is on another computer than your browser, this line, typed in a "
        "terminal where the browser is, lets the answer through:",
        "other_device": _other_device(login, url, drawn=drawn)
        if login.state == "waiting" and url
        else None,
        "ways": _ways(login),
    }


def _helps(login: Any, page_host: str) -> bool:
    """Whether a forwarded port may help: not where the notebook is surely on the same machine."""
    if login.port is None or login.follows:
        return False
    if page_host and page_host not in ("127.0.0.1", "localhost", "[::1]"):
        return True
    return environment.here().browser != "here"


def _other_device(login: Any, url: str, *, drawn: bool) -> dict[str, Any]:
    device = login.user_code is not None
    if device:
        text = "Open this address on any device, and check or enter the code there."
    elif login.via == "relay":
        text = (
            "A phone that opens this ends at this notebook's page: if it can reach it, that page "
            "shows an address to copy back here; if not, so does its address bar."
        )
    else:
        text = (
            "A phone that opens this ends at an address that it cannot reach: send yourself the "
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
    """Give the ways out where nothing comes back; pasting stands beside all of them anyway."""
    if login.state != "waiting" or login.follows or login.via == "loopback":
        return []
    return [{"via": "loopback", "label": _ERROR_PAGE}]
