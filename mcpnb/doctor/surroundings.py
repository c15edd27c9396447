"""Where this runs, which way an answer would come back here, and what Jupyter has to show."""

from __future__ import annotations

from mcpnb.doctor.report import Check, Side
from mcpnb.doctor.topics import found, unknown, warning
from mcpnb.environment import (
    ANYWIDGET,
    CALLBACK,
    WIDGET_MANAGER,
    Environment,
    data_folders,
    installed,
    user_data_folder,
)
from mcpnb.login.loopback import DEFAULT_PORT
from mcpnb.oauth.models import AuthorizationServer, ServerConfig

__all__ = ["environment_check", "front_end", "way_back"]

_MACHINE: Side = "this machine"
_PARTS = {
    CALLBACK: "mcpnb's callback page",
    ANYWIDGET: "anywidget's front-end part",
    WIDGET_MANAGER: "the widget manager (jupyterlab_widgets)",
}
_CHOSEN = {
    "paste": "The address that the browser ends at is pasted, and nothing is listened on",
    "device": "On another device: nothing comes back, the server is asked",
}
_LOCAL = ("jupyter", "ssh", "container", "no-display")
"""Places that are nobody's service: what is beside them tells where the browser is."""
_ELSEWHERE: dict[str, str] = {
    "ssh": "at the other end of the SSH connection",
    "container": "outside of the container, whose 127.0.0.1 is its own",
    "no-display": "on another machine, since this one has no display",
}


def environment_check(place: Environment) -> Check:
    """Name the environment, and what told it."""
    told = [f"{sign.name} ({sign.said_by})" for sign in place.signs if sign.said_by]
    return found("environment", "environment variables", "; ".join(told) or place.name)


def way_back(
    place: Environment, config: ServerConfig | None, server: AuthorizationServer | None
) -> Check:
    """Say which redirect a sign-in from here would use, why, and what works beside it.

    Args:
        place: Where this runs.
        config: The server and what is configured for it, if one is asked about.
        server: Its authorization server, as far as that is known.
    """
    asked = "the environment, and your configuration"
    port = _port(config)
    if config is not None and config.callback_url is not None:
        said = f"{config.callback_url}, as you configured. {_beside(server)}"
        return found("way-back", asked, said)
    if config is not None and config.callback in _CHOSEN:
        return found("way-back", asked, f"{_CHOSEN[config.callback]}, as you configured (via)")
    address = f"http://127.0.0.1:{port or '(any free port)'}/callback"
    page = (
        "In a notebook the panel's page decides: it knows where it is, and is the redirect itself "
        "where Jupyter serves mcpnb's page (see “Front-end part”). Else "
        if place.in_notebook
        else ""
    )
    if place.browser == "here":
        said = f"{page}{address}: your browser is on this machine ({place.name}). {_beside(server)}"
        return found("way-back", asked, said)
    if place.browser == "forwarded":
        said = (
            f"{page}{address}: VS Code forwards the port to the machine with your browser by "
            f"itself ({place.name}). {_beside(server)}"
        )
        return found("way-back", asked, said)
    if place.browser == "unknown":
        said = f"{page}{address}, which reaches this machine only from a browser on it"
    else:
        known = (_ELSEWHERE[s.kind] for s in place.signs if s.kind in _ELSEWHERE)
        hosted = f"on your own machine, and this is {place.name}"
        where = next(known, hosted) if place.kind in _LOCAL else hosted
        said = f"{page}{address}, but your browser seems to be {where}"
    return unknown("way-back", asked, said, _instead(place, port, server), _MACHINE)


def _port(config: ServerConfig | None) -> int:
    given = config.callback_port if config is not None else None
    return DEFAULT_PORT if given is None else given


def _beside(server: AuthorizationServer | None) -> str:
    return f"Pasting the address that the browser ends at works beside it. {_device(server)}"


def _instead(place: Environment, port: int, server: AuthorizationServer | None) -> str:
    """Give the ways around, the one that needs least first."""
    first = (
        "If the browser is on another machine: paste the address that it ends at (mcpnb login "
        "--no-browser)."
    )
    ways = [first, _device(server)]
    shut = place.has("container", "colab", "kaggle", "databricks", "binder")
    if port and (place.ssh_host or not shut):
        line = place.ssh_line(port)
        ways.append(f"Or forward the port, with this line on that machine: {line}")
    elif not port:
        ways.append(f"Or leave callback_port out: {DEFAULT_PORT} can be forwarded, any port not.")
    if port and (public := place.callback_url(port)):
        ways.append(f"Or have the answer come to {public} (--callback-url).")
    return " ".join(ways)


def _device(server: AuthorizationServer | None) -> str:
    if server is None:
        return "Some servers also offer a sign-in on another device (--device)."
    if server.device_authorization_endpoint is None:
        return "This server offers no sign-in on another device."
    return "This server also offers a sign-in on another device (--device)."


def front_end(place: Environment) -> Check:
    """Look whether Jupyter would find what it shows the panel with."""
    folders = data_folders()
    asked = ", ".join(str(folder) for folder in folders)
    if place.has("colab", "kaggle", "databricks", "vscode", "vscode-remote"):
        return found("front-end", asked, "Not looked for: this front end brings widgets by itself")
    places = {name: installed(part, folders) for part, name in _PARTS.items()}
    there = [f"{name} in {path.parent}" for name, path in places.items() if path is not None]
    missing = [name for name, path in places.items() if path is None]
    if not missing:
        return found("front-end", asked, "; ".join(there))
    said = f"Not in any of Jupyter's folders here: {', '.join(missing)}"
    if not place.in_notebook:
        only = "Only the panel in a notebook needs them (mcpnb jupyter puts them in place)"
        return found("front-end", asked, f"{said}. {only}")
    return warning(
        "front-end",
        asked,
        f"{said}. The panel cannot be shown, or cannot take the answer, unless Jupyter runs in "
        "another environment that has them",
        _MACHINE,
        f"Run: mcpnb jupyter. It puts them into {user_data_folder()}, where each Jupyter of yours "
        "looks; then reload the page. Where the widget manager is missing: pip install "
        "jupyterlab_widgets in Jupyter's own environment.",
    )
