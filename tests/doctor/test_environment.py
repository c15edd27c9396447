"""The doctor names the environment, the way back from here, Jupyter's parts, the headers helper."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcpnb.doctor import Check, examine_machine
from mcpnb.doctor.machine import way_back
from mcpnb.environment import ANYWIDGET, CALLBACK, WIDGET_MANAGER, detect
from mcpnb.oauth.models import AuthorizationServer, ServerConfig
from mcpnb.stores import MemoryStore
from tests.fakes.ailments import assert_only_looked_at, everything, wrong
from tests.fakes.helper import Helper
from tests.fakes.people import connect
from tests.fakes.server import FakeServer

DISPLAY = {"DISPLAY": ":0"}
SSH = {"SSH_CONNECTION": "203.0.113.5 50122 192.0.2.7 22", "USER": "ada"}
URL = "https://mcp.example/mcp"
LINE = "ssh -N -L 27182:127.0.0.1:27182 ada@192.0.2.7"


def way(environ: dict[str, str], *, device: bool = False, **configured: object) -> Check:
    endpoint = "https://as.example/device" if device else None
    server = AuthorizationServer(
        "https://as.example", "", "", device_authorization_endpoint=endpoint
    )
    config = ServerConfig(URL, **configured)  # type: ignore[arg-type]
    return way_back(detect(environ), config, server)


class TestWayBack:
    def test_where_the_browser_is_here_the_loopback_will_do(self) -> None:
        check = way(DISPLAY)

        assert check.verdict == "ok"
        assert check.answer.startswith("http://127.0.0.1:27182/callback: your browser is on this")
        assert check.fix is None

    def test_over_ssh_there_is_the_exact_line(self) -> None:
        check = way(SSH, device=True)

        assert check.verdict == "unknown"
        assert "other end of the SSH connection" in check.answer
        assert LINE in str(check.fix)
        assert "paste the address" in str(check.fix)
        assert "also offers a sign-in on another device" in str(check.fix)

    def test_the_line_has_the_configured_port(self) -> None:
        assert LINE.replace("27182", "9000") in str(way(SSH, callback_port=9000).fix)
        assert "ssh" not in str(way(SSH, callback_port=0).fix)

    def test_an_editor_that_forwards_ports_is_named(self) -> None:
        assert "VS Code forwards the port" in way({"REMOTE_CONTAINERS": "true"}).answer

    def test_in_a_notebook_its_page_decides(self) -> None:
        check = way({"JPY_PARENT_PID": "7", "JUPYTERHUB_SERVICE_PREFIX": "/user/a/"})

        assert check.answer.startswith("In a notebook the panel's page decides")
        assert "this is JupyterHub" in check.answer

    def test_a_kernel_that_was_started_over_ssh_has_the_line_too(self) -> None:
        check = way(SSH | {"JPY_PARENT_PID": "7", "container": "podman"})

        assert "other end of the SSH connection" in check.answer
        assert LINE in str(check.fix)

    def test_a_container_is_not_reached_by_ssh(self) -> None:
        check = way({"container": "podman"} | DISPLAY)

        assert "outside the container" in check.answer
        assert "ssh" not in str(check.fix)

    def test_an_address_that_leads_to_the_port_is_offered(self) -> None:
        place = {"WEB_HOST": "a.cloudworkstations.dev"}

        assert "https://27182-a.cloudworkstations.dev/callback" in str(way(place).fix)

    def test_a_configured_address_is_taken_as_it_is(self) -> None:
        own = "https://hub.example/callback"

        assert way(SSH, callback_url=own).answer.startswith(f"{own}, as you configured")

    @pytest.mark.parametrize("via", ["paste", "device"])
    def test_a_chosen_way_is_taken_as_it_is(self, via: str) -> None:
        check = way(SSH, callback=via)

        assert check.verdict == "ok"
        assert "as you configured" in check.answer

    def test_a_configured_token_needs_no_way_back(
        self, fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("THE_TOKEN", "planted-token")
        own = tmp_path / "config.toml"
        own.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\nbearer_token_env_var = "THE_TOKEN"\n')

        assert "way-back" not in {check.id for check in connect("x", config=str(own)).doctor()}


class TestEnvironment:
    def test_it_is_named_with_what_told_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in SSH.items():
            monkeypatch.setenv(name, value)

        answer = examine_machine(MemoryStore())["environment"].answer

        assert "an SSH session (SSH_CONNECTION)" in answer


class TestFrontEnd:
    @pytest.fixture(autouse=True)
    def notebook(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("VSCODE_PID", "VSCODE_CWD", "TERM_PROGRAM", "VSCODE_IPC_HOOK_CLI"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("JPY_PARENT_PID", str(os.getppid()))

    def folder(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *parts: str) -> Check:
        monkeypatch.setattr("mcpnb.doctor.machine.data_folders", lambda: (folder,))
        for part in parts:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            (folder / part).touch()
        return examine_machine(MemoryStore())["front-end"]

    def test_in_a_notebook_a_missing_part_is_a_warning(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        check = self.folder(monkeypatch, tmp_path, ANYWIDGET, WIDGET_MANAGER)

        assert check.verdict == "warning"
        assert "mcpnb's callback page" in check.answer
        assert "anywidget" not in check.answer
        assert "mcpnb jupyter" in str(check.fix)

    def test_it_is_said_where_each_part_is(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        check = self.folder(monkeypatch, tmp_path, CALLBACK, ANYWIDGET, WIDGET_MANAGER)

        assert check.verdict == "ok"
        assert f"callback page in {(tmp_path / CALLBACK).parent}" in check.answer

    def test_in_a_terminal_nothing_is_missed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("JPY_PARENT_PID")

        assert self.folder(monkeypatch, tmp_path).verdict == "ok"

    def test_a_front_end_that_brings_widgets_itself_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("COLAB_RELEASE_TAG", "x")

        assert "Not looked for" in self.folder(monkeypatch, tmp_path).answer


class TestHeadersHelper:
    @pytest.fixture
    def helper(self, tmp_path: Path) -> Helper:
        return Helper(tmp_path)

    def test_it_is_said_that_it_was_run_and_the_names_it_gives(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        helper.says(**{"X-Key": "planted-key", "X-Team": "planted-team"})

        report = connect("team", config=helper.configured(fake.url)).doctor()

        assert wrong(report) == {}
        assert "was run on this machine, and prints: X-Key, X-Team" in report["headers"].answer
        assert "planted" not in everything(report)
        assert len(helper.runs) == 1
        assert_only_looked_at(fake)
        assert "x-key" not in {name for r in fake.requests for name in r.headers}

    def test_a_token_that_it_gives_takes_the_place_of_a_sign_in(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        helper.says(Authorization="Bearer planted-token")
        session = connect("team", config=helper.configured(fake.url))

        report = session.doctor(call=True, sign_in=True)

        assert wrong(report) == {}
        assert "replaces a sign-in" in report["headers"].answer
        assert report["sign-in"].answer.startswith("Not tried")
        assert "planted" not in everything(report)
        assert {r.bearer for r in fake.requests} == {None}

    def test_a_variable_goes_first(
        self, fake: FakeServer, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("THE_TOKEN", "planted-token")
        helper.says(Authorization="Bearer planted-other")
        own = helper.configured(fake.url, 'bearer_token_env_var = "THE_TOKEN"')

        report = connect("team", config=own).doctor()

        assert "THE_TOKEN goes first" in report["headers"].answer
        assert "comes from THE_TOKEN" in report["login"].answer

    def test_one_that_fails_is_a_problem_and_the_rest_is_looked_at(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        report = connect("team", config=helper.configured(fake.url)).doctor()

        assert wrong(report) == {"headers": "problem"}
        assert "It was run." in report["headers"].answer
        assert report["headers"].side == "your configuration"
        assert report["pkce"].verdict == "ok"

    def test_where_it_fails_a_sign_in_is_not_possible(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        session = connect("team", config=helper.configured(fake.url))

        report = session.doctor(sign_in=True)

        assert report["headers"].verdict == "problem"
        assert any(c.id.startswith("sign-in") and c.verdict == "problem" for c in report)
        assert fake.asked("/register") == []

    @pytest.mark.parametrize("command", ["mcpnb token SERVER --header --json"])
    def test_mcpnb_itself_is_not_run(self, fake: FakeServer, helper: Helper, command: str) -> None:
        report = connect("team", config=helper.configured(fake.url, command=command)).doctor()

        assert report["headers"].answer.startswith("Not run: it is mcpnb itself")

    def test_nor_is_that_of_a_disabled_server(self, fake: FakeServer, helper: Helper) -> None:
        helper.says(**{"X-Key": "k"})

        report = connect("team", config=helper.configured(fake.url, "enabled = false")).doctor()

        assert "disabled" in report["headers"].answer
        assert helper.runs == []

    def test_a_server_without_one_is_not_told_about_it(self, fake: FakeServer) -> None:
        assert "headers" not in {check.id for check in connect(fake.url).doctor()}
