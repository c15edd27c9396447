"""JupyterHub as a process of its own: each person's server below /user/NAME/, behind its proxy."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
from playwright.sync_api import Page

from tests.fakes.people import free_port
from tests.peers.browsers import missing
from tests.peers.jupyter import EXPOSED, Jupyter, folders
from tests.peers.oidc import node_modules
from tests.peers.said import bare_environment, started

PERSON, PASSWORD = "ada", "password-of-the-hub"
SERVICE = "token-of-the-hubs-service-0123456789"
_CONFIG = """
c = get_config()
given = {given}
port, hub_port, api_port = given["ports"]
c.JupyterHub.bind_url = f"http://127.0.0.1:{{port}}/"
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = hub_port
c.JupyterHub.log_level = "DEBUG"
c.JupyterHub.db_url = "sqlite:///:memory:"
c.JupyterHub.cookie_secret_file = given["place"] + "/cookie_secret"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{{api_port}}"
c.ConfigurableHTTPProxy.command = [given["proxy"]]
c.ConfigurableHTTPProxy.pid_file = given["place"] + "/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = given["password"]
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = given["place"] + "/home"
c.Spawner.cmd = [given["python"], "-m", "jupyterhub.singleuser"]
c.Spawner.args = given["arguments"]
c.Spawner.ip = "127.0.0.1"
c.Spawner.default_url = "/lab"
c.Spawner.notebook_dir = given["place"] + "/notebooks"
c.Spawner.environment = given["environment"]
c.JupyterHub.services = [{{"name": "tests", "api_token": given["service"]}}]
scopes = ["admin:users", "admin:servers", "access:servers"]
c.JupyterHub.load_roles = [{{"name": "tests", "services": ["tests"], "scopes": scopes}}]
"""


class Hub(Jupyter):
    """The server of one person at a hub; the service's token is good for it, too."""

    def enter(self, page: Page, place: str) -> None:
        """Open a place as a person does who may have to log in at the hub first."""
        page.goto(self.url + place)
        if page.locator("#username_input").count():
            page.locator("#username_input").fill(PERSON)
            page.locator("#password_input").fill(PASSWORD)
            page.locator("#login_submit").click()
        page.wait_for_url(self.url + "**")


@contextlib.contextmanager
def hub(place: Path) -> Iterator[Hub]:
    """Run a hub, its proxy, and the server of one person who is not logged in yet."""
    modules = node_modules() / ".bin"
    if not (modules / "configurable-http-proxy").exists():
        missing("JupyterHub's proxy", "run `npm ci` in tests/node")
    ports = [free_port() for _ in range(3)]
    # As for any Jupyter; Node beside it for the proxy.
    environment = bare_environment(place / "home") | folders(place)
    environment["PATH"] = os.pathsep.join([str(modules), environment["PATH"]])
    environment["JUPYTER_RUNTIME_DIR"] = str(place / "runtime")
    given = {
        "arguments": ["--allow-root", "--debug", *EXPOSED],
        "environment": environment,
        "password": PASSWORD,
        "place": str(place),
        "ports": ports,
        "proxy": str(modules / "configurable-http-proxy"),
        "python": sys.executable,
        "service": SERVICE,
    }
    config = place / "hub.py"
    config.write_text(_CONFIG.format(given=repr(given)), "utf-8")
    command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    with started(command, environment, place, place / "server.log") as saying:
        saying.says("JupyterHub is now running")
        url = f"http://127.0.0.1:{ports[0]}"
        _begin(url)
        yield Hub(f"{url}/user/{PERSON}/", place, saying, SERVICE)


def _begin(url: str) -> None:
    """Start the person's server; the hub tells by an event stream when it is there."""
    headers = {"Authorization": f"token {SERVICE}"}
    api = f"{url}/hub/api/users/{PERSON}"
    with httpx2.Client(trust_env=False, timeout=30, headers=headers) as client:
        client.post(api).raise_for_status()
        client.post(f"{api}/server").raise_for_status()
        with client.stream("GET", f"{api}/server/progress") as events:
            for line in events.iter_lines():
                event = json.loads(line.removeprefix("data:")) if line else {}
                assert not event.get("failed"), event
                if event.get("ready"):
                    return
    raise AssertionError("the person's server did not start")
