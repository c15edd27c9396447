"""The commands, in this process: what they print where, their exit codes, what to run next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from mcpnb.stores import FileStore
from tests.fakes.mcp import answer_method
from tests.fakes.people import connect, sign_in
from tests.fakes.processes import EXPIRED, age
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply
from tests.terminal import Ended, Running, invoke

NOWHERE = "http://127.0.0.1:9/mcp"


@pytest.fixture
def team(fake: FakeServer, tmp_path: Path) -> str:
    """A configuration file with two accounts at one address."""
    file = tmp_path / "team.toml"
    file.write_text(
        "".join(
            f'[mcp_servers.{name}]\nurl = "{fake.url}"\naccount = "{name}"\n'
            for name in ("home", "work")
        )
    )
    return str(file)


def log_in(url: str, *more: str) -> Ended:
    with Running("login", url, "--no-browser", "--port", "0", *more, here=True) as login:
        approve(login.address())
        return login.end().expect(0)


def secrets_in(store: FileStore) -> list[str]:
    """Every secret that is stored there, opened with its own key."""
    record = store.read(store.keys("login")[0])
    assert record is not None
    return [record["tokens"]["access_token"], record["tokens"]["refresh_token"]]


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
            ["login", "https://mcp.example/mcp", "--json"],
            ["login", "https://mcp.example/mcp", "--begin", "--finish", "-"],
            ["login", "https://mcp.example/mcp", "--begin", "--device"],
            ["login", "https://mcp.example/mcp", "--begin", "--store", "memory"],
            ["logout"],
            ["logout", "ftp://x"],
            ["get", "not-configured"],
            ["remove", "not-configured"],
            ["list", "--config", "/nowhere.toml"],
            ["logout", "https://mcp.example/mcp", "--all"],
            ["token", "https://mcp.example/mcp", "--json"],
            ["call", "https://mcp.example/mcp", "x", "no-equals"],
            ["call", "https://mcp.example/mcp", "x", "--args", "{broken"],
            ["call", "https://mcp.example/mcp", "x", "--args", "[1]"],
            ["doctor", "not-configured"],
            ["doctor", "--call"],
            ["doctor", "--account", "work"],
            ["doctor", "--sign-in"],
            ["doctor", "https://mcp.example/mcp", "--no-browser"],
            ["doctor", "https://mcp.example/mcp", "--timeout=9"],
            ["doctor", "https://me:word@mcp.example/mcp"],
            ["doctor", "http://mcp.example/mcp", "--json"],
            ["doctor", "ftp://mcp.example/mcp"],
            ["trust", "--yes", "--withdraw"],
            ["discover", ""],
        ],
        ids=" ".join,
    )
    def test_a_wrong_one_is_2_and_says_what_is_wrong(self, arguments: list[str]) -> None:
        done = invoke(*arguments).expect(2)

        assert done.out == ""
        assert done.err.strip()
        assert ":word" not in done.err

    @pytest.mark.parametrize(
        ("typed", "meant"),
        [("127.0.0.1:8000/mcp", "http"), ("localhost/mcp", "http"), ("example.com/mcp", "https")],
    )
    def test_an_address_without_a_scheme_is_told_the_likely_one(
        self, typed: str, meant: str
    ) -> None:
        assert f"Did you mean {meant}://" in invoke("tools", typed).expect(2).err


class TestSignInRequired:
    """3, nothing on stdout, and one line alone that says what to run."""

    @pytest.mark.parametrize("command", [["token"], ["tools"], ["call", "echo", "text=x"]])
    def test_an_address_stays_one(self, fake: FakeServer, command: list[str]) -> None:
        done = invoke(command[0], f"{fake.url}#x", *command[1:]).expect(3)

        assert done.out == ""
        required, line = done.err.splitlines()
        assert required.startswith("Sign-in required: ")
        assert required.endswith(".")
        assert "session.login" not in required, "no words for Python"
        assert line == f"Run: mcpnb login {fake.url}"

    @pytest.mark.parametrize("more", [[], ["--account", "spare"]])
    @pytest.mark.parametrize("command", [["token"], ["tools"], ["call", "echo", "text=x"]])
    def test_a_configured_server_is_named_as_it_was_asked_for(
        self, team: str, command: list[str], more: list[str]
    ) -> None:
        """Of several accounts at one address the address alone is none."""
        done = invoke(command[0], "work", *command[1:], f"--config={team}", *more).expect(3)
        words = " ".join(["mcpnb login work", *more, f"--config {team}"])
        assert f"Run: {words}\n" in done.err

    def test_a_scope_that_is_missing_is_asked_for(
        self, signed_in: FakeServer, demo: DemoServers
    ) -> None:
        signed_in.tool_scopes, signed_in.lacking = {"echo": "admin"}, "403"
        done = invoke("call", signed_in.url, "echo", "text=x").expect(3)
        assert done.err.splitlines()[1] == f"Run: mcpnb login {signed_in.url} --scopes admin"

        log_in(demo.mcp_url)
        missing = invoke("call", demo.mcp_url, "publish", "title=Fog").expect(3)
        assert f"mcpnb login {demo.mcp_url} --scopes data:write" in missing.err


class TestWhy:
    """An error about a server leads to the doctor."""

    @pytest.mark.parametrize("reached", [True, False])
    @pytest.mark.parametrize("command", [["tools"], ["call", "search"]])
    def test_where_no_mcp_server_is(
        self, fake: FakeServer, command: list[str], *, reached: bool
    ) -> None:
        fake.always("/mcp", Reply(404, "nothing here"))
        fake.metadata = fake.resource_metadata = None
        server = fake.url if reached else NOWHERE
        done = invoke(command[0], server, *command[1:]).expect(1)
        assert f"\nWhy: mcpnb doctor {server}\n" in done.err

    def test_the_server_is_named_as_it_was_asked_for(self, tmp_path: Path) -> None:
        """The doctor has no option for a store."""
        file = tmp_path / "team.toml"
        file.write_text(f'[mcp_servers.team]\nurl = "{NOWHERE}"\n')
        done = invoke("login", "team", "--config", str(file), "--store", "file").expect(1)
        assert f"\nWhy: mcpnb doctor team --config {file}\n" in done.err

    def test_what_is_no_servers_fault_does_not(self) -> None:
        assert "Why:" not in invoke("token", "https://mcp.example/mcp").expect(3).err

    def test_the_doctors_commands_name_the_server_so_too(
        self, fake: FakeServer, store: FileStore, team: str
    ) -> None:
        sign_in(connect(fake.url, store=store, account="work"))
        done = invoke("doctor", "work", "--config", team).expect(0)
        assert f"to ask: mcpnb doctor work --config {team} --call\n" in done.out


class TestSignedIn:
    """Data on stdout, everything else on stderr."""

    def test_list_shows_the_login(self, signed_in: FakeServer) -> None:
        head, _, row = invoke("list").expect(0).out.splitlines()
        assert head.split()[:2] == ["Name", "Server"]
        assert signed_in.url in row
        assert "authenticated" in row

    def test_an_empty_list_is_empty_data_and_a_hint(self) -> None:
        done = invoke("list").expect(0)
        assert done.out == ""
        assert "mcpnb login URL" in done.err
        assert json.loads(invoke("list", "--json").expect(0).out) == []

    def test_token_prints_the_token_and_nothing_else(
        self, signed_in: FakeServer, store: FileStore
    ) -> None:
        """As JSON an object of headers, as Codex and Claude Code want it."""
        access = secrets_in(store)[0]
        plain = invoke("token", signed_in.url).expect(0)
        header = invoke("token", signed_in.url, "--header").expect(0)
        as_json = invoke("token", signed_in.url, "--header", "--json").expect(0)

        assert plain.out == f"{access}\n"
        assert header.out == f"Authorization: Bearer {access}\n"
        assert json.loads(as_json.out) == {"Authorization": f"Bearer {access}"}
        assert plain.err == header.err == as_json.err == ""

    def test_an_expired_token_is_refreshed_first(
        self, signed_in: FakeServer, store: FileStore
    ) -> None:
        before = invoke("token", signed_in.url).expect(0).out.strip()
        age(store, EXPIRED)

        fresh = invoke("token", signed_in.url).expect(0).out.strip()

        assert fresh != before
        assert len(signed_in.token_requests("refresh_token")) == 1

    def test_tools_and_calls_are_text_or_json(self, demo: DemoServers, store: FileStore) -> None:
        log_in(demo.mcp_url)
        table = invoke("tools", demo.mcp_url).expect(0)
        tools = json.loads(invoke("tools", demo.mcp_url, "--json").expect(0).out)
        assert {"whoami", "publish"} <= {tool["name"] for tool in tools}
        assert all(tool["inputSchema"]["type"] == "object" for tool in tools)
        assert all(tool["name"] in table.out for tool in tools)

        call = ("call", demo.mcp_url, "harbour_traffic")
        text = invoke(*call, "limit=2").expect(0)
        given = invoke(*call, "--args", "-", given='{"limit": 2}').expect(0)
        whole = invoke(*call, "limit=2", "--json").expect(0)
        assert text.out == given.out
        assert len(json.loads(text.out)["result"] if "result" in text.out else [1, 2]) == 2
        assert "content" in json.loads(whole.out)

        failed = invoke(*call, "limit=many").expect(1)
        assert failed.out == ""
        assert failed.err.startswith("Error: ")
        unknown = invoke("call", demo.mcp_url, "no_such_tool").expect(1)
        assert "no_such_tool" in unknown.err
        assert "Why:" not in unknown.err, "the server is not at fault"

        # The server would drop it, and the call would be another one than was meant.
        refused = invoke(*call, "limits=2").expect(2)
        assert refused.out == ""
        assert "there is no argument 'limits' (did you mean 'limit'?)" in refused.err
        # A schema may leave open what else there is: JSON goes as it is.
        invoke(*call, "--args", '{"limits": 2}').expect(0)

        secrets = secrets_in(store)
        for arguments in (
            ["list"],
            ["list", "--json"],
            ["discover", demo.mcp_url, "--json"],
            ["tools", demo.mcp_url, "--json"],
            ["call", demo.mcp_url, "whoami", "--json"],
        ):
            done = invoke(*arguments).expect(0)
            assert not [s for s in secrets if s in done.out + done.err], arguments

    @pytest.mark.parametrize("command", [["tools"], ["call", "echo"], ["call", "echo", "text=x"]])
    def test_a_result_of_the_wrong_shape_is_an_error_without_a_traceback(
        self, signed_in: FakeServer, command: list[str]
    ) -> None:
        for method in ("tools/list", "tools/call"):
            answer_method(signed_in, method, {"result": {"tools": 5, "content": 5}})
        done = invoke(command[0], signed_in.url, *command[1:]).expect(1)
        assert done.out == ""
        assert done.err.startswith(f"Error: The response of {signed_in.url} is not valid MCP.")


def test_discover_says_how_to_sign_in_and_registers_nothing(demo: DemoServers) -> None:
    before = len(demo.answers)
    done = invoke("discover", demo.mcp_url).expect(0)
    found = json.loads(invoke("discover", demo.mcp_url, "--json").expect(0).out)

    assert f"Authorization server: {demo.issuer}" in done.out
    assert "dynamic registration" in done.out
    assert found["server"] == demo.mcp_url
    assert found["authorization_server"]["issuer"] == demo.issuer
    assert found["protected_resource"]["resource"] == demo.mcp_url
    assert all("register" not in path for _, path, _ in demo.answers[before:])


class TestLogout:
    def test_it_revokes_and_forgets(self, demo: DemoServers, store: FileStore) -> None:
        log_in(demo.mcp_url, "--account", "work")
        secrets = secrets_in(store)
        done = invoke("logout", demo.mcp_url, "--account", "work").expect(0)

        assert done.out == ""
        assert "revoked at the server" in done.err
        assert not [s for s in secrets if s in done.err]
        assert ("POST", "/revoke", 200) in demo.answers
        invoke("token", demo.mcp_url, "--account", "work").expect(3)
        again = invoke("logout", demo.mcp_url, "--account", "work").expect(0)
        assert "nothing to do" in again.err

    @pytest.mark.parametrize("everywhere", [True, False])
    def test_a_sign_in_that_was_only_begun_is_forgotten(
        self, fake: FakeServer, *, everywhere: bool
    ) -> None:
        words = ["logout", "--all" if everywhere else fake.url]
        invoke("login", fake.url, "--begin", "--port", "0").expect(0)
        done = invoke(*words).expect(0)
        assert f"Not signed in to {fake.url}" in done.err
        assert "the sign-in that was begun is forgotten" in done.err
        assert "Signed out" not in done.err
        assert "nothing to do" in invoke(*words).expect(0).err

    @pytest.mark.parametrize("everywhere", [True, False])
    def test_without_the_servers_word_it_says_where_to_end_it(
        self, signed_in: FakeServer, *, everywhere: bool
    ) -> None:
        signed_in.routes["/revoke"] = lambda _: Reply(500, "later")
        done = invoke("logout", "--all" if everywhere else signed_in.url).expect(0)
        assert "did not confirm that it is revoked. End it on the server's own" in done.err


class TestClientMetadata:
    def test_the_document_names_its_own_address_and_a_callback_of_ones_own(self) -> None:
        url, own = "https://example.com/mcpnb.json", "https://hub.example.com/callback"
        done = invoke("client-metadata", "--url", url, "--callback-url", own).expect(0)

        document = json.loads(done.out)
        assert document["client_id"] == url
        assert document["client_name"]
        assert {"http://127.0.0.1:27182/callback", own} <= set(document["redirect_uris"])
        assert "refresh_token" in document["grant_types"]

    @pytest.mark.parametrize("wrong", ["nonsense", "http://example.com/x", "https://example.com/"])
    def test_an_address_that_cannot_be_a_client_id_is_refused(self, wrong: str) -> None:
        done = invoke("client-metadata", "--url", wrong).expect(2)
        assert "https address with a path" in done.err
