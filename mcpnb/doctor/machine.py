"""What a sign-in needs of this machine."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import socket
import tempfile
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from mcpnb.doctor.report import Check
from mcpnb.doctor.topics import found, problem, warning
from mcpnb.errors import McpnbError, StoreError
from mcpnb.oauth.credentials import RegistrationMethod
from mcpnb.storage import FileStore, RecordName, TokenStore, open_store
from mcpnb.storage.atomic import check_owner
from mcpnb.storage.keyring import system_keyring
from mcpnb.text import quote
from mcpnb.version import __version__

__all__ = ["clock", "machine_checks", "port"]

_SKEW = 60.0
_PACKAGES = ("mcp", "httpx", "httpx2", "authlib", "keyring", "cryptography")
_NEW = RecordName("login", "")
_CERTIFICATES = {"SSL_CERT_FILE": Path.is_file, "SSL_CERT_DIR": Path.is_dir}


def machine_checks(store: TokenStore) -> list[Check]:
    """Look at the store, the keyring, the environment and what is installed."""
    keyring = _keyring(store)
    return [_python(), _store(store), *([keyring] if keyring else []), _network(), _notebook()]


# The clock and the port


def clock(skews: dict[str, float]) -> Check | None:
    """Compare this machine's clock with those of the servers that said what theirs shows."""
    if not skews:
        return None
    asked = "Date of " + ", ".join(skews)
    wrong = {host: ahead for host, ahead in skews.items() if abs(ahead) > _SKEW}
    if not wrong:
        return found("clock", asked, "The clocks agree")
    said = "; ".join(
        f"{host}'s clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this one"
        for host, ahead in wrong.items()
    )
    if len(wrong) < len(skews):
        fix = "The operator has to set that server's clock (NTP): the others agree with this one."
        return warning("clock", asked, said, "server operator", fix)
    return warning(
        "clock",
        asked,
        f"{said}: tokens and certificates may seem to have ended, or not to be good yet",
        "this machine",
        "Set this machine's clock by NTP (timedatectl, or the date settings); if it is right, the "
        "server's is wrong.",
    )


def port(number: int, method: RegistrationMethod | None, *, fixed: bool, waiting: bool) -> Check:
    """Look whether the callback port can be had.

    Args:
        number: The port; 0 for any free one.
        method: How mcpnb becomes a client, where that is known: only its own registration can
            name another port.
        fixed: Whether a configured address names the port.
        waiting: Whether a sign-in of one's own waits, there perhaps.
    """
    asked = f"127.0.0.1:{number}"
    if number == 0:
        return found("port", asked, "Any free port is taken")
    failure = _binding(number)
    if failure is None:
        return found("port", asked, f"Port {number} is free")
    if failure.errno == errno.EADDRINUSE and waiting:
        return found("port", asked, f"Port {number} is in use, by a sign-in that waits")
    said = f"Port {number} cannot be listened on: {failure.strerror}"
    to_do = (
        f"Close the program that uses it (lsof -i :{number} names it), or choose another port "
        "(callback_port=, --port)."
    )
    if failure.errno != errno.EADDRINUSE:
        to_do = "Choose another port (callback_port=, --port)."
    if method in ("preregistered", "cimd") or fixed:
        answer = f"{said}, and no other one can be used: the redirect address is fixed"
        return problem("port", asked, answer, "this machine", to_do)
    answer = f"{said}. Another port is taken where the server lets mcpnb register it"
    return warning("port", asked, answer, "this machine", to_do)


def _binding(number: int) -> OSError | None:
    with socket.socket() as probe:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        elif os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the listener does
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            return error
    return None


# The store and its key


def _store(store: TokenStore) -> Check:
    if not isinstance(store, FileStore):
        return _kept(store, "where logins rest")
    folder = store.folder
    asked = str(folder)
    there = next((p for p in (folder, *folder.absolute().parents) if p.exists()), folder)
    try:
        if folder.exists():
            check_owner(folder.stat())
        # Nothing stays behind: where it can be, the file has no name at any time.
        with tempfile.TemporaryFile(dir=there) as probe:
            locked = _lock(probe.fileno())
    except OSError as error:
        return problem(
            "store",
            asked,
            f"Logins cannot be stored in {folder}: {error.strerror or error}",
            "this machine",
            "Set MCPNB_HOME to a folder of yours that can be written, or use store=“memory”.",
        )
    if not locked:
        return problem(
            "store",
            asked,
            f"No lock can be had in {there}: two programs could lose a login to each other",
            "this machine",
            "Set MCPNB_HOME to a folder on a local disk, or use store=“memory”.",
        )
    return _kept(store, asked)


def _kept(store: TokenStore, asked: str) -> Check:
    try:
        return found("store", asked, f"Logins rest {store.kept(_NEW)}")
    except McpnbError as error:
        fix = "Mend what the message names, or choose another store (store=, --store)."
        return problem("store", asked, str(error), "this machine", fix)


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return True  # Windows always has them
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _keyring(store: TokenStore) -> Check | None:
    """Look at the system's keyring where the store would use it. Nothing is unlocked for it."""
    only = store is open_store("keyring")
    if not only and store is not open_store("auto"):
        return None
    keyring, asked = system_keyring(), "the system's keyring"
    try:
        name = keyring.name
        locked = name is not None and keyring.is_locked
        # KWallet does not tell whether it is closed, and opens a prompt where it is.
        if name not in (None, "KWallet") and not locked:
            keyring.find("doctor")  # is not there; that it answers is what counts
    except StoreError as error:
        return _without(str(error), asked, only=only)
    if name is None:
        return _without("There is no system keyring that can be used here", asked, only=only)
    if locked:
        return _without(f"{name} is locked", asked, only=only)
    return found("keyring", asked, f"{name} answers")


def _without(said: str, asked: str, *, only: bool) -> Check:
    if only:
        fix = "Unlock or install a keyring (Secret Service, KWallet), or use store=“auto”."
        return problem("keyring", asked, said, "this machine", fix)
    if os.environ.get("MCPNB_STORE_KEY"):
        return found("keyring", asked, f"{said}; MCPNB_STORE_KEY is set instead")
    return warning(
        "keyring",
        asked,
        f"{said}: the key of stored logins rests in a file, which only its permissions protect",
        "this machine",
        "Unlock or install a keyring (Secret Service, KWallet), or set MCPNB_STORE_KEY; on a "
        "machine of your own the file may be good enough.",
    )


# What surrounds it


def _network() -> Check:
    asked = "proxy variables and settings, SSL_CERT_FILE, SSL_CERT_DIR"
    for name, is_there in _CERTIFICATES.items():
        value = os.environ.get(name)
        if value and not is_there(Path(value)):
            said = f"{name} names {quote(value, 200)}, which is not there: no TLS will be trusted"
            fix = f"Correct {name}, or remove it."
            return problem("network", asked, said, "this machine", fix)
    proxies = urllib.request.getproxies()
    shown = [f"{kind} by {_place(url)}" for kind, url in sorted(proxies.items()) if kind != "no"]
    socks = any(urlsplit(url).scheme.startswith("socks") for url in proxies.values())
    if socks and find_spec("socksio") is None:
        return problem(
            "network",
            asked,
            f"A SOCKS proxy is set ({', '.join(shown)}), and the package for it is missing",
            "this machine",
            "Run: pip install socksio; or unset ALL_PROXY where no proxy is needed.",
        )
    own = [name for name in _CERTIFICATES if os.environ.get(name)]
    trust = f"certificates from {', '.join(own)}" if own else "certificates that the system trusts"
    return found("network", asked, f"{', '.join(shown) or 'No proxy'}; {trust}")


def _place(url: str) -> str:
    """Name a proxy without the password that may be in its address."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url if "://" in url else f"//{url}")
        if parts.hostname:
            return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return "an address that cannot be read"


def _python() -> Check:
    versions, missing = [], []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    here = f"Python {platform.python_version()} on {platform.system()}, mcpnb {__version__}"
    if missing:
        said = f"{here}; not installed: {', '.join(missing)}"
        fix = f"Run: pip install {' '.join(missing)}"
        return problem("python", "installed packages", said, "this machine", fix)
    return found("python", "installed packages", f"{here}, {', '.join(versions)}")


def _notebook() -> Check:
    there = [name for name in ("ipywidgets", "anywidget") if find_spec(name) is not None]
    said = f"{' and '.join(there)} can be imported" if there else "no widgets can be imported"
    lacking = [name for name in ("ipywidgets", "anywidget") if name not in there]
    also = f"; {' and '.join(lacking)} cannot" if there and lacking else ""
    return found("notebook", "ipywidgets, anywidget", f"{said}{also}")
