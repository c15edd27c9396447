"""What a sign-in needs of this machine: network, clock, port, store, keyring, packages, Jupyter."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from mcpnb.concurrency import file_lock
from mcpnb.doctor.report import Check, check, first_of
from mcpnb.environment import (
    ANYWIDGET,
    CALLBACK,
    WIDGET_MANAGER,
    Environment,
    data_folders,
    installed,
    user_data_folder,
)
from mcpnb.errors import LoginError, McpnbError, ServerUnreachable, StoreError
from mcpnb.login.loopback import DEFAULT_PORT, LoopbackListener
from mcpnb.login.redirects import port_of
from mcpnb.oauth.credentials import RegistrationMethod
from mcpnb.oauth.http import Response
from mcpnb.oauth.models import AuthorizationServer, ServerConfig
from mcpnb.storage import FileStore, RecordName, TokenStore, open_store
from mcpnb.storage.atomic import check_folder
from mcpnb.storage.keyring import system_keyring
from mcpnb.version import __version__

# The first that fits: a refused certificate is a TLS error too, and all of these are OSErrors.
_CAUSES = (
    (ssl.SSLCertVerificationError, "certificate"),
    (socket.gaierror, "dns"),
    (ssl.SSLError, "tls"),
    (ConnectionRefusedError, "refused"),
    (TimeoutError, "time"),
    ((ImportError, ValueError), "proxy"),
)
# OpenSSL's words for X509_V_ERR_CERT_HAS_EXPIRED, _CERT_NOT_YET_VALID and _HOSTNAME_MISMATCH.
_OPERATORS = ("expired", "not yet valid", "mismatch", "not valid for")
_SKEW = 60.0
"""Seconds by which clocks may differ."""
_PACKAGES = ("mcp", "httpx", "httpx2", "authlib", "keyring", "cryptography")
_FOR_NOTEBOOKS = ("ipywidgets", "anywidget")
_CERTIFICATES = {"SSL_CERT_FILE": Path.is_file, "SSL_CERT_DIR": Path.is_dir}
_LOCAL = ("jupyter", "ssh", "container", "no-display")
"""Places that are nobody's service: another signal tells where the browser is."""
_ELSEWHERE: dict[str, str] = {
    "ssh": "at the other end of the SSH connection",
    "container": "outside the container, which has a 127.0.0.1 of its own",
    "no-display": "on another machine, since this one has no display",
}
_PARTS = {
    CALLBACK: "mcpnb's callback page",
    ANYWIDGET: "anywidget's front-end part",
    WIDGET_MANAGER: "the widget manager (jupyterlab_widgets)",
}


def unreachable(error: Exception | None, *, of: str = "reach", **words: str) -> Check:
    """Return why there is no response, from the errors that led to ours."""
    kind, why = _cause(error) if isinstance(error, ServerUnreachable) else ("address", "")
    return check(f"reach/{kind}", of=of, error=error, why=why, **words)


def _cause(error: ServerUnreachable) -> tuple[str, str]:
    seen: list[BaseException] = [error]
    while (cause := seen[-1].__cause__ or seen[-1].__context__) is not None and cause not in seen:
        kind = next((kind for errors, kind in _CAUSES if isinstance(cause, errors)), "")
        if kind == "certificate":
            why = str(getattr(cause, "verify_message", "")) or str(cause)
            kind = kind if any(word in why.lower() for word in _OPERATORS) else "authority"
            return kind, why[:120]
        if kind:
            return kind, ""
        seen.append(cause)
    return ("closed" if error.sent else "nothing"), ""


# Clock and port


def clock_ahead(answer: Response) -> float | None:
    """Return how many seconds the server's clock is ahead of this machine's, if it told."""
    # A cached response tells when it was made, not what time it is (RFC 9111 section 5.1).
    said = "" if "age" in answer.headers else answer.headers.get("date", "")
    try:
        date = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time()


def clock(skews: dict[str, float]) -> Iterator[Check]:
    """Compare this machine's clock with the servers', by how much each is ahead."""
    if not skews:
        return
    wrong = {host: ahead for host, ahead in skews.items() if abs(ahead) > _SKEW}
    found = "; ".join(
        f"the clock of {host} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} "
        "this machine's"
        for host, ahead in wrong.items()
    )
    kind = first_of(here=len(wrong) == len(skews), server=wrong)
    yield check(f"clock/{kind}", hosts=", ".join(skews), found=found)


def port(
    config: ServerConfig | None,
    method: RegistrationMethod | None,
    *,
    awaited: int | None = None,
) -> Check:
    """Check whether the callback port is free, by listening there for a moment.

    Args:
        config: The server, if one is asked about. A callback address of its own fixes the port.
        method: How mcpnb becomes a client. Only a dynamic registration can name another port.
        awaited: The port at which a sign-in of the same person is waiting.
    """
    number = port_of(config)
    try:
        if number:
            LoopbackListener(number, fallback=False).close()
    except LoginError as error:
        fixed = method in ("preregistered", "cimd") or (config is not None and config.callback_url)
        kind = first_of(waiting=number == awaited, fixed=fixed, free=True)
        return check(f"port/{kind}", port=number, error=error)
    return check(f"port/{first_of(any=not number)}", port=number)


# Packages, the store and its key, the network


def software(store: TokenStore) -> Iterator[Check]:
    """Check what is installed, the store with its key, and the network settings."""
    versions = {}
    for name in (*_PACKAGES, *_FOR_NOTEBOOKS):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = f"{name} {version(name)}"
    here = f"Python {platform.python_version()} on {platform.system()}, mcpnb {__version__}"
    absent = [f"no {name}" for name in _FOR_NOTEBOOKS if name not in versions]
    missing = " ".join(name for name in _PACKAGES if name not in versions)
    found = ", ".join([here, *versions.values(), *absent])
    yield check(f"python/{first_of(missing=missing)}", missing=missing, versions=found)
    yield _store(store)
    if store in (open_store("keyring"), open_store("auto")):
        yield _keyring(only=store is open_store("keyring"))
    yield _network()


def _store(store: TokenStore) -> Check:
    folder: object = "where logins are stored"
    if isinstance(store, FileStore):
        folder = store.folder
        there = next((p for p in (folder, *folder.absolute().parents) if p.exists()), folder)
        kind = "folder"
        try:
            if folder.exists():
                check_folder(folder)
            with tempfile.TemporaryDirectory(dir=there) as place:  # nothing is left behind
                kind = "lock"
                file_lock(Path(place, "lock"), timeout=1).release()
        except OSError as error:
            return check(f"store/{kind}", folder=folder, why=error.strerror or error)
    try:
        return check("store/ok", folder=folder, where=store.location(RecordName("login", "")))
    except McpnbError as error:
        return check("store/key", folder=folder, error=error)


def _keyring(*, only: bool) -> Check:
    """Check the system's keyring. Nothing is unlocked for it."""
    keyring, why = system_keyring(), ""
    try:
        name = keyring.name
        if name is None:
            why = "There is no usable system keyring here"
        elif keyring.is_locked:
            why = f"{name} is locked"
        # KWallet does not tell whether it is closed, and prompts where it is.
        elif name != "KWallet":
            keyring.find("doctor")  # there is no such entry; that it answers is what counts
    except StoreError as error:
        name, why = None, str(error)
    kind = first_of(ok=not why, only=only, variable=os.environ.get("MCPNB_STORE_KEY"), file=True)
    return check(f"keyring/{kind}", name=name, why=why)


def _network() -> Check:
    own = {name: os.environ[name] for name in _CERTIFICATES if os.environ.get(name)}
    for name, value in own.items():
        if not _CERTIFICATES[name](Path(value)):
            return check("network/certificates", name=name, value=value[:200])
    urls = {kind: url for kind, url in urllib.request.getproxies().items() if kind != "no"}
    proxies = ", ".join(f"{kind} by {_place(url)}" for kind, url in sorted(urls.items()))
    socks = any(url.lower().startswith("socks") for url in urls.values())
    trust = f"certificates from {', '.join(own)}" if own else "certificates that the system trusts"
    kind = first_of(socks=socks and find_spec("socksio") is None)
    return check(f"network/{kind}", proxies=proxies or "No proxy", trust=trust)


def _place(url: str) -> str:
    """Name a proxy without the password that its address may hold."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url if "://" in url else f"//{url}")
        if parts.hostname:
            return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return "an address that cannot be read"


# Where this runs


def environment_check(place: Environment) -> Check:
    """Name the environment, and what identified it."""
    return check("environment/ok", signals=place.told_by or place.name)


def way_back(
    place: Environment, config: ServerConfig | None, server: AuthorizationServer | None
) -> Check:
    """Return which callback a sign-in from here uses, why, and what else works."""
    device = "Some servers also offer a sign-in on another device (--device)."
    if server is not None:
        offers = "also offers a" if server.device_authorization_endpoint else "offers no"
        device = f"This server {offers} sign-in on another device (--device)."
    if config is not None and config.callback_url is not None:
        return check("way-back/own", callback=config.callback_url, device=device)
    if config is not None and config.callback in ("paste", "device"):
        return check(f"way-back/{config.callback}")
    page, where, number = "", "", port_of(config)
    if place.in_notebook:
        page = "In a notebook the panel's page decides: it knows where it is, and is the redirect "
        page += "itself where Jupyter serves mcpnb's page (see “Front-end part”). Otherwise "
    if place.browser == "elsewhere":
        known = (_ELSEWHERE[kind] for kind in place.signs if kind in _ELSEWHERE)
        hosted = f"on your own machine, and this is {place.name}"
        where = next(known, hosted) if place.kind in _LOCAL else hosted
    return check(
        f"way-back/{place.browser}",
        page=page,
        callback=f"http://127.0.0.1:{number or '(any free port)'}/callback",
        place=place.name,
        where=where,
        ways=" ".join(_instead(place, number, device)),
        device=device,
    )


def _instead(place: Environment, number: int, device: str) -> Iterator[str]:
    """List the ways around, the one that needs least first."""
    yield "If the browser is on another machine: paste the address that it ends at (mcpnb login"
    yield f"--no-browser). {device}"
    if not number:
        yield f"Or leave callback_port out: {DEFAULT_PORT} can be forwarded, a changing port not."
        return
    if place.ssh_host or not place.has("container", "colab", "kaggle", "databricks", "binder"):
        yield f"Or forward the port, with this line on that machine: {place.ssh_line(number)}"
    if public := place.callback_url(number):
        yield f"Or use the callback address {public} (--callback-url)."


def front_end(place: Environment, folders: tuple[Path, ...] | None = None) -> Check:
    """Check whether Jupyter finds in its folders what it shows the panel with."""
    folders = data_folders() if folders is None else folders
    paths = {name: installed(part, folders) for part, name in _PARTS.items()}
    missing = [name for name, path in paths.items() if path is None]
    kind = first_of(
        own=place.has("colab", "kaggle", "databricks", "vscode", "vscode-remote"),
        ok=not missing,
        missing=place.in_notebook,
        terminal=True,
    )
    return check(
        f"front-end/{kind}",
        folders=", ".join(map(str, folders)),
        there="; ".join(f"{name} in {path.parent}" for name, path in paths.items() if path),
        missing=", ".join(missing),
        folder=user_data_folder(),
    )
