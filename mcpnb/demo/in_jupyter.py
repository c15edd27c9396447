"""The demo's servers inside a Jupyter server, as an extension of it: for `mcpnb demo` and Binder.

They live as long as Jupyter, so that a kernel may restart. Kernels find them by name, through a
configuration file that is named in their environment.

The one thing that is not as in the world: behind Jupyter's proxy a browser reaches the consent page
at another address than the kernel reaches the token endpoint. A real authorization server is at one
address for everybody; this one learns from Jupyter where the browser is (`note_origins`).
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mcpnb.demo.servers import DemoServers

__all__ = ["FOLDER", "LIFETIME", "configuration", "note_origins"]

FOLDER: Final = "MCPNB_DEMO_FOLDER"
"""Names the folder that `mcpnb demo` made; it ends this server by closing its standard input."""
LIFETIME: Final = 15
"""Seconds that an access token lives: one sees it expire, and being renewed."""

CONFIGURATION = """\
# The demo's own: it is gone when the demo ends.
mcp_oauth_credentials_store = "file"  # no keyring of yours is asked

[mcp_servers.harbour]
url = "{harbour}"

# Its operator allows no redirect but to a port of the person's own computer.
[mcp_servers.lighthouse]
url = "{lighthouse}"
"""


def configuration(harbour: DemoServers, lighthouse: DemoServers) -> str:
    """Write what gives both servers their names."""
    return CONFIGURATION.format(harbour=harbour.mcp_url, lighthouse=lighthouse.mcp_url)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Start the servers, and tell all kernels where they are."""
    given = os.environ.get(FOLDER)
    folder = Path(given or tempfile.mkdtemp(prefix="mcpnb-demo-"))
    port = int(os.environ.get("MCPNB_DEMO_PORT", "0"))
    servers = (
        DemoServers(port=port, access_token_lifetime=LIFETIME, device_grant=True),
        DemoServers(access_token_lifetime=LIFETIME, callback_redirects_only=True),
    )
    for server in servers:
        server.start()
        atexit.register(server.stop)
    if find_spec("jupyter_server_proxy") is not None:
        note_origins(app, servers)
    config = folder / "config.toml"
    config.write_text(configuration(*servers), "utf-8")
    os.environ.update(
        MCPNB_CONFIG=str(config),
        MCPNB_HOME=str(folder / "mcpnb"),
        # `!mcpnb` in a cell, also where nobody activated this environment.
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    )
    if given is None:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    else:
        threading.Thread(target=_end_with, args=(app,), name="mcpnb demo", daemon=True).start()


def _end_with(app: Any) -> None:
    """End Jupyter when who started it closes our standard input, or dies."""
    while sys.stdin.buffer.read(1):
        pass
    app.stop(from_signal=True)


def note_origins(app: Any, servers: tuple[DemoServers, ...]) -> None:
    """Have the consent pages at the address that the browser reaches them at.

    Neither Jupyter nor a kernel knows that address: not behind JupyterHub, on Binder or through
    ``ssh -L``. The browser does, and says so in the ``Origin`` of every POST (Fetch standard,
    section 3.1); before a page can run a cell it has asked with one for a kernel.

    Args:
        app: The Jupyter server.
        servers: Whose pages.
    """
    settings = app.web_app.settings
    log: Callable[..., None] = settings["log_function"]

    def noting(handler: Any, *arguments: Any, **options: Any) -> None:
        origin = _origin(handler)
        if origin is not None:
            for server in servers:
                port = urlsplit(server.issuer).port
                server.authorization_server.public_address = f"{origin}{app.base_url}proxy/{port}"
        log(handler, *arguments, **options)

    settings["log_function"] = noting


def _origin(handler: Any) -> str | None:
    """Give the origin that a signed-in person's page says it is at."""
    request = handler.request
    origin = request.headers.get("Origin", "")
    if request.method not in {"POST", "PUT", "PATCH"} or handler.get_status() >= 400:
        return None
    # Not the pages' own form: theirs has an opaque origin.
    if urlsplit(origin).scheme not in {"http", "https"} or not handler.current_user:
        return None
    return str(origin)
