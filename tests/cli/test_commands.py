"""The commands, as processes, against the demo's servers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.terminal import MCPNB, Ended, Running, run

pytestmark = pytest.mark.slow

COMMANDS = [
    "login",
    "logout",
    "list",
    "discover",
    "token",
    "tools",
    "call",
    "relay",
    "doctor",
    "demo",
]


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServers]:
    with DemoServers() as servers:
        yield servers


def log_in(url: str, *more: str) -> Ended:
    with Running("login", url, "--no-browser", "--port", "0", *more) as login:
        approve(login.address())
        return login.end().expect(0)


@pytest.fixture(scope="module")
def home(demo: DemoServers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world in which somebody is signed in."""
    folder = tmp_path_factory.mktemp("signed in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCPNB_HOME", str(folder))
        log_in(demo.mcp_url)
    return folder


@pytest.fixture
def signed_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MCPNB_HOME", str(home))
    return home


def secrets_in(home: Path) -> list[str]:
    """Every secret that is stored there, opened with its own key."""
    store = FileStore(home)
    record = store.read(store.keys("login")[0])
    assert record is not None
    tokens = record["tokens"]
    return [tokens["access_token"], tokens["refresh_token"]]


class TestHelp:
    def test_it_names_every_command(self) -> None:
        done = run("--help").expect(0)

        assert done.err == ""
        for command in COMMANDS:
            assert f"\n  {command} " in done.out

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_explains_itself(self, command: str) -> None:
        """Every option in words, no line wider than a terminal, nothing left of click's marks."""
        done = run(command, "--help").expect(0)

        assert done.out.startswith(f"Usage: mcpnb {command} ")
        assert max(map(len, done.out.splitlines())) <= 80
        assert "\b" not in done.out
        options = done.out.partition("Options:\n")[2]
        for line in options.splitlines():
            if line.startswith("  -"):
                name, _, words = line.strip().partition("  ")
                following = options.partition(line + "\n")[2].partition("\n")[0]
                assert words or following.startswith("     "), f"{name} says nothing"

    def test_the_version_is_told(self) -> None:
        import mcpnb

        assert mcpnb.__version__ in run("--version").expect(0).out


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["unknown"],
            ["login"],
            ["login", "not-configured"],
            ["login", "http://mcp.example/mcp"],
            ["login", "https://user:word@mcp.example/mcp"],
            ["login", "https://mcp.example/mcp", "--port", "70000"],
            ["login", "https://mcp.example/mcp", "--timeout", "soon"],
            ["login", "https://mcp.example/mcp", "--scopes", 'a"b'],
            ["login", "https://mcp.example/mcp", "--registration", "magic"],
            ["login", "https://mcp.example/mcp", "--config", "/nowhere.toml"],
            ["token", "https://mcp.example/mcp", "--json"],
            ["call", "https://mcp.example/mcp", "x", "no-equals"],
            ["call", "https://mcp.example/mcp", "x", "--args", "{broken"],
            ["call", "https://mcp.example/mcp", "x", "--args", "[1]"],
            ["discover", ""],
        ],
        ids=" ".join,
    )
    def test_a_wrong_one_is_2_and_says_what_is_wrong(self, arguments: list[str]) -> None:
        done = run(*arguments).expect(2)

        assert done.out == ""
        assert done.err.strip()
        assert "user:word" not in done.err

    @pytest.mark.parametrize("command", [["token"], ["tools"], ["call", "echo"]])
    def test_without_a_login_it_is_3_and_says_how_to_get_one(
        self, demo: DemoServers, command: list[str]
    ) -> None:
        done = run(command[0], demo.mcp_url, *command[1:]).expect(3)

        assert done.out == ""
        assert f"mcpnb login {demo.mcp_url}" in done.err


class TestSignedIn:
    """Data on stdout, everything else on stderr."""

    def test_list_shows_the_login(self, demo: DemoServers, signed_in: Path) -> None:
        del signed_in
        done = run("list").expect(0)

        head, row = done.out.splitlines()
        assert head.split()[:2] == ["Name", "Server"]
        assert demo.mcp_url in row
        assert "authenticated" in row

    def test_list_as_json_is_an_array_of_objects(self, demo: DemoServers, signed_in: Path) -> None:
        del signed_in
        [row] = json.loads(run("list", "--json").expect(0).out)

        assert row["url"] == demo.mcp_url
        assert row["auth_status"] == "authenticated"
        assert row["scopes"] == ["data:read"] or "data:read" in row["scopes"]
        assert {"name", "account", "expires_at", "store", "source"} <= set(row)

    def test_an_empty_list_is_empty_data_and_a_hint(self) -> None:
        done = run("list").expect(0)
        assert done.out == ""
        assert "mcpnb login URL" in done.err
        assert json.loads(run("list", "--json").expect(0).out) == []

    def test_token_prints_the_token_and_nothing_else(
        self, demo: DemoServers, signed_in: Path
    ) -> None:
        plain = run("token", demo.mcp_url).expect(0)
        header = run("token", demo.mcp_url, "--header").expect(0)
        as_json = run("token", demo.mcp_url, "--header", "--json").expect(0)

        access = secrets_in(signed_in)[0]
        assert plain.out == f"{access}\n"
        assert header.out == f"Authorization: Bearer {access}\n"
        assert json.loads(as_json.out) == {"Authorization": f"Bearer {access}"}
        assert plain.err == header.err == as_json.err == ""

    def test_tools_are_a_table_or_json(self, demo: DemoServers, signed_in: Path) -> None:
        del signed_in
        table = run("tools", demo.mcp_url).expect(0)
        tools = json.loads(run("tools", demo.mcp_url, "--json").expect(0).out)

        assert {"whoami", "publish"} <= {tool["name"] for tool in tools}
        assert all(tool["inputSchema"]["type"] == "object" for tool in tools)
        assert all(tool["name"] in table.out for tool in tools)

    def test_call_prints_the_text_or_the_whole_result(
        self, demo: DemoServers, signed_in: Path
    ) -> None:
        del signed_in
        text = run("call", demo.mcp_url, "harbour_traffic", "limit=2").expect(0)
        given = run(
            "call", demo.mcp_url, "harbour_traffic", "--args", "-", given='{"limit": 2}'
        ).expect(0)
        whole = run("call", demo.mcp_url, "harbour_traffic", "limit=2", "--json").expect(0)

        assert text.out == given.out
        assert len(json.loads(text.out)["result"] if "result" in text.out else [1, 2]) == 2
        assert "content" in json.loads(whole.out)

    def test_a_tool_that_fails_is_1_and_what_is_missing_is_3(
        self, demo: DemoServers, signed_in: Path
    ) -> None:
        del signed_in
        failed = run("call", demo.mcp_url, "harbour_traffic", "limit=many").expect(1)
        assert failed.out == ""
        assert failed.err.startswith("Error: ")
        unknown = run("call", demo.mcp_url, "no_such_tool").expect(1)
        assert "no_such_tool" in unknown.err

        missing = run("call", demo.mcp_url, "publish", "title=Fog").expect(3)
        assert f"mcpnb login {demo.mcp_url} --scopes data:write" in missing.err

    @pytest.mark.slow
    def test_an_argument_that_a_tool_does_not_have_is_refused_before_anything_is_called(
        self, demo: DemoServers, signed_in: Path
    ) -> None:
        """The server would drop it, and the call would be another one than was meant."""
        del signed_in
        refused = run("call", demo.mcp_url, "harbour_traffic", "limits=2").expect(2)
        assert refused.out == ""
        assert "there is no argument 'limits' (did you mean 'limit'?)" in refused.err

        # A schema may leave open what else there is: JSON goes as it is.
        run("call", demo.mcp_url, "harbour_traffic", "--args", '{"limits": 2}').expect(0)

    def test_no_other_command_shows_a_secret(self, demo: DemoServers, signed_in: Path) -> None:
        held = secrets_in(signed_in)
        for arguments in (
            ["list"],
            ["list", "--json"],
            ["discover", demo.mcp_url, "--json"],
            ["tools", demo.mcp_url, "--json"],
            ["call", demo.mcp_url, "whoami", "--json"],
        ):
            done = run(*arguments).expect(0)
            assert not [s for s in held if s in done.out + done.err], arguments

    def test_a_reader_that_has_gone_is_no_traceback(
        self, demo: DemoServers, signed_in: Path
    ) -> None:
        """As in `mcpnb tools ... | head -1`."""
        del signed_in
        for arguments in (["list"], ["tools", demo.mcp_url], ["--help"]):
            read, write = os.pipe()
            os.close(read)
            with open(write, "w") as gone:  # noqa: PTH123  a descriptor
                done = subprocess.run(
                    [*MCPNB, *arguments],
                    stdout=gone,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=30,
                    check=False,
                )
            assert done.returncode != 0
            assert done.stderr == ""


class TestDiscover:
    def test_it_says_how_one_would_sign_in(self, demo: DemoServers) -> None:
        done = run("discover", demo.mcp_url).expect(0)
        found = json.loads(run("discover", demo.mcp_url, "--json").expect(0).out)

        assert f"Authorization server: {demo.issuer}" in done.out
        assert "dynamic registration" in done.out
        assert found["server"] == demo.mcp_url
        assert found["authorization_server"]["issuer"] == demo.issuer
        assert found["protected_resource"]["resource"] == demo.mcp_url

    def test_it_registers_nothing(self, demo: DemoServers) -> None:
        before = len(demo.answers)
        run("discover", demo.mcp_url).expect(0)

        assert all("register" not in path for _, path, _ in demo.answers[before:])


class TestLogout:
    def test_it_revokes_and_forgets(self, demo: DemoServers, world: Path) -> None:
        log_in(demo.mcp_url, "--account", "work")
        held = secrets_in(world / "mcpnb")
        done = run("logout", demo.mcp_url, "--account", "work").expect(0)

        assert done.out == ""
        assert "revoked at the server" in done.err
        assert not [s for s in held if s in done.err]
        assert ("POST", "/revoke", 200) in demo.answers
        run("token", demo.mcp_url, "--account", "work").expect(3)
        again = run("logout", demo.mcp_url, "--account", "work").expect(0)
        assert "nothing to do" in again.err
