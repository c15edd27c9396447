"""The doctor checks this machine: port, store, keyring, environment, callback, front end."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import mcpnb
from mcpnb.doctor import examine_machine
from mcpnb.doctor.machine import front_end, way_back
from mcpnb.environment import ANYWIDGET, CALLBACK, WIDGET_MANAGER, detect
from mcpnb.oauth.models import AuthorizationServer, ServerConfig
from mcpnb.storage import open_store
from mcpnb.stores import FileStore, MemoryStore
from tests.fakes.broken import wrong
from tests.fakes.certificates import secured_by, self_signed
from tests.fakes.kernels import Kernel
from tests.fakes.people import connect, free_port, sign_in, until, waiting
from tests.fakes.server import FakeServer

OUR_KEY = "A" * 43
DISPLAY = {"DISPLAY": ":0"}
SSH = {"SSH_CONNECTION": "203.0.113.5 50122 192.0.2.7 22", "USER": "ada"}
KERNEL = {"JPY_PARENT_PID": "7"}
PODMAN = {"container": "podman"}
LINE = "ssh -N -L {0}:127.0.0.1:{0} ada@192.0.2.7"
HUB = "https://hub.example/callback"
PASTED = "paste the address"


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Let another program listen on a port, as soon as no other test's does."""
    with contextlib.ExitStack() as held:

        def listens() -> bool:
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                return True
            return False

        until(listens)
        yield


class TestPort:
    @pytest.mark.parametrize(
        ("given", "verdict"),
        [
            ({}, "warning"),
            ({"client_id": "mine"}, "problem"),
            ({"callback_port": None, "callback_url": "http://127.0.0.1:{}/callback"}, "problem"),
        ],
        ids=["another will do", "the client is registered with it", "a configured address has it"],
    )
    def test_one_that_is_in_use_is_named(
        self, fake: FakeServer, given: dict[str, Any], verdict: str
    ) -> None:
        port = free_port()
        own = {k: v.format(port) if isinstance(v, str) else v for k, v in given.items()}
        with taken(port):
            report = connect(fake.url, **{"callback_port": port} | own).doctor()

        assert wrong(report) == {"port": verdict}
        assert f"lsof -i :{port}" in str(report["port"].fix)
        assert report["port"].side == "this machine"

    def test_a_sign_in_of_ones_own_may_wait_there(self, fake: FakeServer) -> None:
        session = connect(fake.url, callback_port=free_port())
        login, _ = waiting(session)
        try:
            report = session.doctor()
        finally:
            login.cancel()

        assert wrong(report) == {}
        assert "a sign-in that is waiting" in report["port"].answer

    def test_one_that_needs_a_privilege_is_not_taken_by_a_program_or_a_sign_in(
        self, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        login, _ = waiting(connect(fake.url, callback_port=free_port()))

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")  # as for port 80

        try:
            with monkeypatch.context() as patch:
                patch.setattr("socketserver.TCPServer.server_activate", refuse)
                report = connect(fake.url, callback_port=free_port(), client_id="mine").doctor()
        finally:
            login.cancel()

        assert wrong(report)["port"] == "problem"
        assert "(Permission denied). Choose another port" in str(report["port"].fix)
        assert "lsof" not in str(report["port"].fix)

    @pytest.mark.xdist_group("desk")
    def test_the_usual_port_is_looked_at_without_a_server(self) -> None:
        with taken(27182):
            assert wrong(examine_machine(MemoryStore())) == {"port": "warning"}


class TestStore:
    @pytest.mark.parametrize("locks", [True, False])
    def test_a_folder_that_cannot_be_made_or_has_no_locks_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, locks: bool
    ) -> None:
        """Some network file systems have none; no such one is at hand here."""

        def no_locks(*_: object) -> None:
            raise OSError(38, "Function not implemented")

        folder = tmp_path
        if locks:
            (tmp_path / "file").write_text("in the way")
            folder = tmp_path / "file" / "logins"
        else:
            monkeypatch.setattr("fcntl.flock", no_locks)

        check = examine_machine(FileStore(folder))["store"]

        assert check.verdict == "problem"
        assert ("can be written" if locks else "local disk") in str(check.fix)

    def test_looking_leaves_nothing_behind(self, tmp_path: Path) -> None:
        examine_machine(FileStore(tmp_path))

        assert list(tmp_path.iterdir()) == []

    def test_a_key_that_is_malformed_is_named_and_so_is_its_login(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MCPNB_STORE_KEY", OUR_KEY)
        sign_in(session := kernel())
        monkeypatch.setenv("MCPNB_STORE_KEY", "short")

        report = kernel().doctor()

        assert session.signed_in
        assert wrong(report) == {"login": "problem", "store": "problem"}
        assert examine_machine(open_store("file"))["store"].verdict == "problem"


@pytest.mark.parametrize(
    ("store", "key", "verdict"),
    [
        ("auto", "", "warning"),
        ("keyring", "", "problem"),
        ("auto", OUR_KEY, "ok"),
        ("file", "", ""),
    ],
)
def test_without_a_keyring_a_file_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, store: str, key: str, verdict: str
) -> None:
    """And a problem for who wants nothing else; who chose a file is not told about keyrings."""
    if key:
        monkeypatch.setenv("MCPNB_STORE_KEY", key)

    found = [check for check in examine_machine(open_store(store)) if check.id == "keyring"]

    assert [check.verdict for check in found] == ([verdict] if verdict else [])
    if verdict == "warning":
        assert "MCPNB_STORE_KEY" in str(found[0].fix)


NETWORK = {
    "a proxy": (
        "HTTPS_PROXY",
        "http://me:pass-word@proxy.example:3128",
        "ok",
        "proxy.example:3128",
    ),
    "SOCKS without its package": ("ALL_PROXY", "socks5://proxy.example:1080", "problem", "socksio"),
    "certificates that are not there": ("SSL_CERT_FILE", "/nowhere/ca.pem", "problem", "SSL_CERT"),
}


class TestEnvironment:
    def test_it_is_named_with_what_told_it_and_what_is_installed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSH_CONNECTION", SSH["SSH_CONNECTION"])

        report = examine_machine(MemoryStore())

        assert "an SSH session (SSH_CONNECTION)" in report["environment"].answer
        for installed in (f"mcpnb {mcpnb.__version__}", "mcp 2.", "ipywidgets"):
            assert installed in report["python"].answer

    @pytest.mark.parametrize("name", NETWORK)
    def test_settings_of_the_network_are_looked_at(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        variable, value, verdict, says = NETWORK[name]
        monkeypatch.setenv(variable, value)

        report = examine_machine(MemoryStore())

        assert report["network"].verdict == verdict
        assert says in (report["network"].fix or report["network"].answer)
        assert "pass-word" not in repr(report)

    @pytest.mark.parametrize("proxy", ["socks5://proxy.example:1080", "gopher://me:word@x.example"])
    def test_a_proxy_that_cannot_be_used_is_why_nothing_is_reached(
        self, monkeypatch: pytest.MonkeyPatch, proxy: str
    ) -> None:
        monkeypatch.setenv("ALL_PROXY", proxy)

        report = connect("https://mcp.example/mcp").doctor()

        assert report["reach"].answer.startswith("Proxy: the configured one cannot be used")
        assert "me:word" not in repr(report)


@pytest.mark.parametrize(("ahead", "verdict"), [(600, {"clock": "warning"}), (50, {})])
def test_one_servers_clock_among_several_is_its_operators(
    fakes: Callable[[], FakeServer], ahead: int, verdict: dict[str, str]
) -> None:
    """And a minute is no matter."""
    fake, other = fakes(), fakes()
    other.clock_ahead = ahead
    fake.describe(authorization_servers=[other.base])

    report = connect(fake.url).doctor()

    assert wrong(report) == verdict
    if verdict:
        assert report["clock"].side == "server operator"
        assert "ahead" in report["clock"].answer


class Place(NamedTuple):
    """Where a sign-in starts, and what has to be said of its callback."""

    environ: dict[str, str]
    verdict: str
    says: str
    fix: str = ""
    configured: dict[str, Any] = {}  # noqa: RUF012  never changed
    never: str = "nothing"


PLACES = {
    "the browser is here": Place(
        DISPLAY, "ok", "http://127.0.0.1:27182/callback: your browser is on this"
    ),
    "over SSH": Place(SSH, "unknown", "other end of the SSH connection", LINE.format(27182)),
    "over SSH, pasted": Place(SSH, "unknown", "27182", PASTED),
    "a configured port": Place(SSH, "unknown", "9000", LINE.format(9000), {"callback_port": 9000}),
    "any port cannot be forwarded": Place(
        SSH, "unknown", "any free port", "leave callback_port out", {"callback_port": 0}, "ssh"
    ),
    "an editor that forwards ports": Place(
        {"REMOTE_CONTAINERS": "true"}, "ok", "VS Code forwards the port"
    ),
    "a notebook, whose page decides": Place(
        KERNEL, "unknown", "In a notebook the panel's page decides", PASTED
    ),
    "a hosted notebook": Place(
        KERNEL | {"JUPYTERHUB_SERVICE_PREFIX": "/user/a/"}, "unknown", "this is JupyterHub"
    ),
    "a kernel that was started over SSH": Place(
        SSH | KERNEL | PODMAN, "unknown", "other end of the SSH connection", LINE.format(27182)
    ),
    "a container is not reached by SSH": Place(
        PODMAN | DISPLAY, "unknown", "outside the container", PASTED, {}, "ssh"
    ),
    "an address that leads to the port": Place(
        {"WEB_HOST": "a.cloudworkstations.dev"},
        "unknown",
        "27182",
        "https://27182-a.cloudworkstations.dev/callback",
    ),
    "a configured address": Place(
        SSH, "ok", f"{HUB}, as you configured", "", {"callback_url": HUB}
    ),
    "pasting, as configured": Place(SSH, "ok", "as you configured", "", {"callback": "paste"}),
    "a device, as configured": Place(SSH, "ok", "as you configured", "", {"callback": "device"}),
}


class TestCallback:
    @pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
    def test_it_is_named_with_the_ways_around(self, place: Place) -> None:
        server = AuthorizationServer("https://as.example", "", "")
        config = ServerConfig("https://mcp.example/mcp", **place.configured)

        check = way_back(detect(place.environ), config, server)

        assert check.verdict == place.verdict
        assert place.says in check.answer
        assert place.fix in str(check.fix)
        assert place.never not in str(check.fix)
        assert (check.fix is None) is (place.verdict == "ok")

    @pytest.mark.parametrize(("offered", "says"), [(None, "offers no"), ("/x", "also offers a")])
    def test_a_sign_in_on_another_device_is_named(self, offered: str | None, says: str) -> None:
        server = AuthorizationServer("https://x", "", "", device_authorization_endpoint=offered)

        assert f"This server {says} sign-in on" in str(way_back(detect(SSH), None, server).fix)


@pytest.mark.parametrize(
    ("environ", "there", "verdict", "says"),
    [
        (KERNEL, (ANYWIDGET, WIDGET_MANAGER), "warning", "here: mcpnb's callback page. The"),
        (KERNEL, (CALLBACK, ANYWIDGET, WIDGET_MANAGER), "ok", "callback page in {}"),
        (DISPLAY, (), "ok", "Only the panel in a notebook needs them"),
        (KERNEL | {"COLAB_RELEASE_TAG": "x"}, (), "ok", "Not looked for"),
    ],
    ids=["a part is missing", "all are there", "a terminal", "a front end with widgets of its own"],
)
def test_it_is_said_which_parts_of_the_front_end_are_where(
    tmp_path: Path, environ: dict[str, str], there: tuple[str, ...], verdict: str, says: str
) -> None:
    for part in there:
        (tmp_path / part).parent.mkdir(parents=True)
        (tmp_path / part).touch()

    check = front_end(detect(environ), (tmp_path,))

    assert check.verdict == verdict
    assert says.format((tmp_path / CALLBACK).parent) in check.answer
    assert ("mcpnb jupyter" in str(check.fix)) is (verdict == "warning")


@contextlib.contextmanager
def serving(certificate: Path) -> Iterator[str]:
    """Greet whoever comes over TLS."""
    context = secured_by(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def greet() -> None:
            with contextlib.suppress(OSError):  # the client hangs up
                context.wrap_socket(listening.accept()[0], server_side=True).close()

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield f"https://localhost:{listening.getsockname()[1]}/mcp"
        thread.join(10)


@pytest.mark.parametrize(
    ("days", "says", "side"),
    [(1, "is not trusted", "this machine"), (-1, "has expired", "server operator")],
)
def test_a_certificate_is_refused_with_who_can_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, says: str, side: str
) -> None:
    certificate = self_signed(tmp_path, days=days)
    with serving(certificate) as url:
        if days < 0:  # its authority is trusted here
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        check = connect(url).doctor()["reach"]

    assert check.answer.startswith(f"TLS: the server's certificate {says}")
    assert check.side == side
