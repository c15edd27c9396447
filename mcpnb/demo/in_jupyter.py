"""The demo's servers inside a Jupyter server, as an extension of it: for `mcpnb demo` and Binder.

They live as long as Jupyter, so that a kernel may restart. Kernels find them by name, through a
configuration file that their environment names.

One thing differs from real servers. Behind Jupyter's proxy a browser reaches the consent page at
another address than the kernel reaches the token endpoint. A real authorization server has one
address for everybody; this one learns from Jupyter where the browser is (`note_origins`).
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mcpnb.demo.servers import DemoServers

FOLDER: Final = "MCPNB_DEMO_FOLDER"
"""Names the folder that `mcpnb demo` made; it ends this server by closing its standard input."""
LIFETIME: Final = 15
"""Seconds that an access token lives: short enough to see it expire and be refreshed."""

CONFIGURATION = """\
# This file belongs to the demo, and goes when the demo ends.
mcp_oauth_credentials_store = "file"  # your keyring is not used

[mcp_servers.harbour]
url = "{}"

# Its operator allows no redirect but to a port of the person's own computer.
[mcp_servers.lighthouse]
url = "{}"
"""


def demo_servers(configuration: Path, *, port: int = 0) -> tuple[DemoServers, DemoServers]:
    """Return the servers of the notebooks, harbour and lighthouse, and write their names down."""
    harbour = DemoServers(port=port, access_token_lifetime=LIFETIME, device_grant=True)
    lighthouse = DemoServers(access_token_lifetime=LIFETIME, redirects="callback")
    configuration.write_text(CONFIGURATION.format(harbour.mcp_url, lighthouse.mcp_url), "utf-8")
    return harbour, lighthouse


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Start the servers, and tell all kernels where they are."""
    given = os.environ.get(FOLDER)
    folder = Path(given or tempfile.mkdtemp(prefix="mcpnb-demo-"))
    config = folder / "config.toml"
    servers = demo_servers(config, port=int(os.environ.get("MCPNB_DEMO_PORT", "0")))
    for server in servers:
        server.start()
        atexit.register(server.stop)
    if find_spec("jupyter_server_proxy") is not None:
        note_origins(app, servers)
    os.environ.update(
        MCPNB_CONFIG=str(config),
        MCPNB_HOME=str(folder / "mcpnb"),
        # For `!mcpnb` in a cell, also where nobody activated this environment.
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    )
    if given is None:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    else:
        threading.Thread(target=_end_with, args=(app,), name="mcpnb demo", daemon=True).start()


def _end_with(app: Any) -> None:
    """End Jupyter when the process that started it closes our standard input, or dies."""
    while sys.stdin.buffer.read(1):
        pass
    app.stop(from_signal=True)


def note_origins(app: Any, servers: tuple[DemoServers, ...]) -> None:
    """Put the consent pages at the address where the browser reaches them.

    Neither Jupyter nor a kernel knows that address: not behind JupyterHub, on Binder or through
    ``ssh -L``. The browser sends it in the ``Origin`` of every POST (Fetch standard, section 3.1),
    and a page sends a POST for a kernel before it can run a cell.
    """
    settings = app.web_app.settings
    log = settings["log_function"]

    def noting(handler: Any, *arguments: Any, **options: Any) -> None:
        origin = _origin(handler)
        if origin is not None:
            for server in servers:
                port = urlsplit(server.issuer).port
                server.authorization_server.public_address = f"{origin}{app.base_url}proxy/{port}"
        log(handler, *arguments, **options)

    settings["log_function"] = noting


def _origin(handler: Any) -> str | None:
    """Return the origin that the page of a signed-in person names."""
    request = handler.request
    origin = request.headers.get("Origin", "")
    if request.method not in {"POST", "PUT", "PATCH"} or handler.get_status() >= 400:
        return None
    # Not the consent page's own form, which has an opaque origin.
    if urlsplit(origin).scheme not in {"http", "https"} or not handler.current_user:
        return None
    return str(origin)
