"""`mcpnb demo`: JupyterLab and the servers as one thing that begins and ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import psutil
import pytest

from mcpnb.demo import lab, main
from mcpnb.demo.servers import bind
from tests import house
from tests.demo.running import Demo, started
from tests.fakes.people import free_port, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(os.name != "posix", reason="signals are other ones there"),
]
BROWSER = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
"""Notes what it is to open."""
READY = "Press Ctrl-C to stop"


def three_free_ports() -> int:
    """Find the first of three ports in a row that nobody has."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as taken:
            for number in range(port, port + 3):
                taken.enter_context(bind(number))
            return port


def family(demo: Demo) -> list[psutil.Process]:
    """List the processes that the demo started."""
    return psutil.Process(demo.process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether they end within the time that they may take."""
    _, left = psutil.wait_procs(processes, 20)
    return not left


class TestEnding:
    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_nothing_is_left_behind(self, tmp_path: Path, world: Path, how: signal.Signals) -> None:
        """No process, also none of a kernel, and no file: a person's folders stay as they were."""
        with started(tmp_path) as demo:
            demo.reads_until(READY)
            if how == signal.SIGINT:
                kernels = f"{demo.origin}/api/kernels"
                headers = {"Authorization": f"token {demo.token}"}
                answer = httpx2.post(kernels, headers=headers, trust_env=False, timeout=30)
                assert answer.status_code == 201
            processes = family(demo)
            assert len(processes) == 1 + (how == signal.SIGINT)
            demo.process.send_signal(how)
            demo.reads_until("nothing is left behind")
            assert demo.process.wait(20) == 0
        assert all_gone(processes)
        assert list(tmp_path.iterdir()) == []
        # Nothing was made in the home folder, nor where mcpnb keeps logins and settings.
        assert not [path for path in (world / "home").rglob("*") if path.is_file()]
        assert list((world / "mcpnb").rglob("*")) == []

    def test_killed_it_takes_jupyterlab_along(self, tmp_path: Path) -> None:
        """Nobody is left to ask: JupyterLab notices that its standard input is closed."""
        with started(tmp_path) as demo:
            demo.reads_until(READY)
            processes = family(demo)
            demo.process.kill()
            assert all_gone(processes)

    def test_jupyterlab_that_dies_is_told_with_its_last_words(self, tmp_path: Path) -> None:
        with started(tmp_path) as demo:
            demo.reads_until(READY)
            [jupyter] = family(demo)
            jupyter.kill()
            text = demo.reads_until("JupyterLab ended by itself (-9). Its last output:")
            assert demo.process.wait(20) == 1
        assert "Traceback" not in text
        assert list(tmp_path.iterdir()) == []


class TestStarting:
    def test_jupyterlab_that_cannot_start_is_told_with_its_last_words(self, tmp_path: Path) -> None:
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "jupyterlab.py").write_text("raise SystemExit('no disk left')\n")
        temp = tmp_path / "temp"
        temp.mkdir()
        with started(temp, path=tmp_path / "broken") as demo:
            demo.reads_until("no disk left")
            assert demo.process.wait(20) == 1
        assert "JupyterLab did not start. Its last output:" in "".join(demo.lines)
        assert list(temp.iterdir()) == []

    def test_it_is_up_when_it_listens_which_is_after_it_wrote_down_where(
        self, tmp_path: Path
    ) -> None:
        jupyter, port = lab.Lab(tmp_path, port=None, open_browser=False), free_port()
        (tmp_path / "runtime" / "jpserver-1.json").write_text(json.dumps({"port": port}))
        assert not jupyter.is_up()
        with socket.create_server(("127.0.0.1", port)):
            assert jupyter.is_up()

    def test_a_browser_is_opened_and_no_token_is_on_its_command_line(self, tmp_path: Path) -> None:
        """At the port that was given; the next are the servers', which it prints."""
        seen, temp, port = tmp_path / "seen", tmp_path / "temp", three_free_ports()
        temp.mkdir()
        url = f"http://127.0.0.1:{port + 1}/mcp"
        browser = f"{sys.executable} -c {BROWSER!r} {seen} %s"
        with started(temp, f"--port={port}", browser=browser) as demo:
            assert f"mcpnb login {url}\n" in demo.reads_until(READY)
            assert demo.origin == f"http://127.0.0.1:{port}"
            assert httpx2.post(url, json={}, trust_env=False).status_code == 401
            page = httpx2.get(demo.address, trust_env=False, timeout=30, follow_redirects=True)
            assert page.status_code == 200
            until(seen.exists, timeout=30)
            assert re.fullmatch(r"file:///\S+-open\.html", seen.read_text("utf-8"))

    def test_the_consent_page_is_where_a_persons_browser_says_that_it_is(
        self, tmp_path: Path
    ) -> None:
        """Behind whatever proxy; but nobody without Jupyter's token has a say in it."""
        with started(tmp_path) as demo, httpx2.Client(trust_env=False, timeout=30) as http:
            found = re.search(r"mcpnb login (\S+)/mcp", demo.reads_until(READY))
            assert found is not None
            resource = http.get(f"{found[1]}/.well-known/oauth-protected-resource/mcp").json()
            [issuer] = resource["authorization_servers"]

            def page() -> str:
                server = http.get(f"{issuer}/.well-known/oauth-authorization-server").json()
                return str(server["authorization_endpoint"])

            def post(origin: str, token: str) -> int:
                headers = {"Origin": origin, "Authorization": f"token {token}"}
                http.cookies.clear()
                return http.post(f"{demo.origin}/api/contents", headers=headers).status_code

            assert page() == f"{issuer}/authorize"
            assert post("https://evil.example", "a guess") >= 400
            assert post("null", demo.token) == 201
            assert page() == f"{issuer}/authorize"
            assert post("https://hub.example", demo.token) == 201
            expected = f"https://hub.example/proxy/{issuer.rpartition(':')[2]}/authorize"
            until(lambda: page() == expected)  # Jupyter notes it once it has answered

    def test_a_taken_port_is_a_sentence(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert main(terminal=False, port=port) == 1
        assert f"Ports {port}, {port + 1} and {port + 2}" in capsys.readouterr().err
        assert main(terminal=False, port=65_534) == 1

    @pytest.mark.parametrize("missing", ["jupyterlab", "matplotlib", "uvicorn"])
    def test_what_is_not_installed_is_named_with_the_command(self, missing: str) -> None:
        code = (
            f"import sys; sys.modules[{missing!r}] = None; from mcpnb.demo import main; "
            f"sys.exit(main(terminal={missing == 'uvicorn'}))"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
        )
        assert run.returncode == 1
        assert f"The demo needs {missing}" in run.stderr
        assert 'pip install "mcpnb[demo]"' in run.stderr


def test_all_that_it_starts_is_declared() -> None:
    assert {name.replace("_", "-") for name in lab.NEEDED} == house.STARTED
