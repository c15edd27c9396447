"""What a configuration file says takes effect: seen from the server, key by key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.calls.client import own_headers
from mcpnb.session.connect import sign_out_everywhere
from mcpnb.stores import MemoryStore
from tests.fakes.helper import Helper
from tests.fakes.mcp import answer_to
from tests.fakes.people import connect, free_port, query_of, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request, redirect

Write = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path, fake: FakeServer) -> Write:
    """Write a file that configures the fake as ``team``; give its name."""

    def write(lines: str = "", top: str = "") -> str:
        file = tmp_path / "config.toml"
        file.write_text(f'{top}\n[mcp_servers.team]\nurl = "{fake.url}"\n{lines}\n')
        return str(file)

    return write


def opened(fake: FakeServer) -> FakeServer:
    """Have the fake take any token, or none."""
    fake.routes["/mcp"] = lambda request: (
        answer_to(request.json) if request.method == "POST" else Reply(405)
    )
    return fake


def only(fake: FakeServer, authorization: str) -> FakeServer:
    """Have the fake take this header, and nothing else."""

    def answer(request: Request) -> Reply:
        if request.headers.get("authorization") != authorization:
            return Reply(401, {}, {"WWW-Authenticate": "Bearer"})
        return answer_to(request.json) if request.method == "POST" else Reply(405)

    fake.routes["/mcp"] = answer
    return fake


class TestBearerToken:
    """From an environment variable, a header written down, or one that a command prints."""

    @pytest.fixture(params=["TEAM_TOKEN", "Authorization header", "http_headers_helper"])
    def source(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def helper(self, tmp_path: Path) -> Helper:
        return Helper(tmp_path)

    @pytest.fixture
    def session(
        self, config: Write, monkeypatch: pytest.MonkeyPatch, helper: Helper, source: str
    ) -> mcpnb.Session:
        """Connect with the token ``s3cret``, and with a header that is no token."""
        monkeypatch.setenv("TEAM_TOKEN", "s3cret")
        given = {"Authorization": "Bearer s3cret", "X-Team": "blue"}
        helper.says(**given)
        lines = {
            "TEAM_TOKEN": 'bearer_token_env_var = "TEAM_TOKEN"\nhttp_headers = {X-Team = "blue"}',
            "Authorization header": f"http_headers = {str(given).replace(': ', ' = ')}",
            "http_headers_helper": f"http_headers_helper = {json.dumps(helper.command)}",
        }
        return connect("team", config=config(lines[source]))

    def test_it_takes_the_place_of_a_sign_in(
        self, fake: FakeServer, session: mcpnb.Session, helper: Helper, source: str
    ) -> None:
        """Everywhere a token is used, and nobody is asked how to sign in."""
        only(fake, "Bearer s3cret")

        async def awaited() -> str:
            assert await session is session
            return (await session.acall("echo", text="hi")).text

        assert (session.status, session.signed_in) == ("bearer_token", True)
        assert source in repr(session)
        assert "s3cret" not in repr(session) + repr(session._config)  # noqa: SLF001
        assert session.call("echo", text="hi").text == asyncio.run(awaited()) == "hi"
        assert session.access_token() == "s3cret"
        assert session.headers() == {"Authorization": "Bearer s3cret"}
        with httpx2.Client(auth=session.auth, trust_env=False) as client:
            assert client.get(fake.url).status_code == 405
        with pytest.raises(errors.ConfigError, match="no sign-in to"):
            session.login()
        with pytest.raises(errors.ConfigError, match="no login"):
            session.logout()
        assert {request.path for request in fake.requests} == {"/mcp"}
        assert len(helper.runs) == (source == "http_headers_helper")

    @pytest.mark.threat("header-forwarding")
    def test_no_other_origin_gets_it_or_a_header(
        self,
        fake: FakeServer,
        fakes: Callable[[], FakeServer],
        session: mcpnb.Session,
        helper: Helper,
    ) -> None:
        """Not where a redirect leads, whoever follows it; a refusal there runs no command."""
        other = fakes()
        with httpx2.Client(auth=session.auth, trust_env=False, follow_redirects=True) as client:
            assert client.post(other.url, json={}).status_code == 401
            assert len(helper.runs) <= 1
            fake.always("/mcp", redirect(other.url, 307))
            client.post(fake.url, json={})
        with pytest.raises(errors.McpnbError):
            session.call("echo", text="hi")
        asyncio.run(_followed(session, fake.url))

        assert {r.bearer for r in fake.requests} >= {"s3cret"}
        assert {r.headers.get("x-team") for r in fake.requests} >= {"blue"}
        assert len(other.requests) > 2
        for request in other.requests:
            assert {"authorization", "x-team"} & set(request.headers) == set()

    def test_a_variable_that_is_not_set_is_named_before_anything_is_sent(
        self, fake: FakeServer, config: Write
    ) -> None:
        session = connect("team", config=config('bearer_token_env_var = "NOT_SET_HERE"'))

        assert session.status == "bearer_token"
        for use in (lambda: session.call("echo"), session.headers, session.client):
            with pytest.raises(errors.ConfigError, match="NOT_SET_HERE is not set"):
                use()
        assert fake.requests == []

    def test_a_token_that_the_server_refuses_is_no_reason_to_sign_in(
        self, fake: FakeServer, config: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is another remedy, and the error says which."""
        only(fake, "Bearer new")
        monkeypatch.setenv("TEAM_TOKEN", "old")
        session = connect("team", config=config('bearer_token_env_var = "TEAM_TOKEN"'))

        with pytest.raises(errors.CallError, match="variable TEAM_TOKEN holds: set a new one"):
            session.call("echo", text="x")
        monkeypatch.setenv("TEAM_TOKEN", "new")
        assert session.call("echo", text="x").text == "x"

    def test_an_authorization_header_counts_as_one(self, fake: FakeServer, config: Write) -> None:
        """Also of another scheme, which is sent as it stands there."""
        only(fake, "Basic dTpw")
        session = connect("team", config=config('http_headers = {authorization = "Basic dTpw"}'))

        assert session.status == "bearer_token"
        assert session.call("echo", text="hi").text == "hi"
        assert session.headers() == {"Authorization": "Basic dTpw"}
        with pytest.raises(errors.ConfigError, match="no bearer token"):
            session.access_token()
        assert "dTpw" not in repr(session) + repr(session._config)  # noqa: SLF001

    def test_a_login_from_before_can_still_be_ended(self, fake: FakeServer, config: Write) -> None:
        """`logout --all` reaches it, whatever configuration says by now."""
        store = MemoryStore()
        sign_in(connect(fake.url, store=store))
        session = connect("team", store=store, config=config('bearer_token_env_var = "T"'))
        assert session.logout() is True
        sign_in(connect(fake.url, store=store))
        assert sign_out_everywhere(store) == [(fake.url, None, "revoked")]


class TestHeaders:
    @pytest.mark.parametrize("host", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
    def test_a_host_in_any_spelling_gets_them(self, tmp_path: Path, host: str) -> None:
        """HTTP libraries write it as it stands in DNS."""
        file = tmp_path / "config.toml"
        file.write_text(
            f'[mcp_servers.team]\nurl = "https://{host}/mcp"\nhttp_headers = {{X-Team = "blue"}}'
        )
        (put_on,) = own_headers(connect("team", config=file)._config)  # noqa: SLF001

        for asked, sent in (
            ("bücher.example", "blue"),
            ("xn--bcher-kva.example", "blue"),
            ("buecher.example", None),
            ("bucher.example", None),
        ):
            request = httpx2.Request("POST", f"https://{asked}/mcp")
            asyncio.run(_put(put_on, request))
            assert request.headers.get("x-team") == sent, asked

    def test_a_variable_that_is_not_set_leaves_its_header_out_and_is_told(
        self, fake: FakeServer, config: Write
    ) -> None:
        """As Codex does, which says nothing."""
        opened(fake)
        session = connect("team", config=config('env_http_headers = {X-Key = "NOT_SET_HERE"}'))
        with pytest.warns(UserWarning, match="X-Key is not sent .*NOT_SET_HERE is not set"):
            assert own_headers(session._config) == []  # noqa: SLF001


async def _put(put_on: Callable[[Any], Any], request: httpx2.Request) -> None:
    await put_on(request)


async def _followed(session: mcpnb.Session, url: str) -> None:
    hooks: dict[str, list[Any]] = {"request": [*own_headers(session._config)]}  # noqa: SLF001
    async with httpx2.AsyncClient(
        event_hooks=hooks, follow_redirects=True, trust_env=False
    ) as client:
        await client.get(url)


async def _listed(session: mcpnb.Session) -> list[str]:
    async with session.client() as client:
        return [tool.name for tool in (await client.list_tools()).tools]


async def _called(session: mcpnb.Session, tool: str) -> None:
    """Call a denied tool through the SDK: by its client, and by the session below it."""
    async with session.client() as client:
        raw: Any = client.session
        assert tool not in {listed.name for listed in (await raw.list_tools()).tools}
        for caller in (client, raw):
            with pytest.raises(errors.CallError, match="may not be used"):
                await caller.call_tool(tool, {"text": "x"})


class TestTools:
    @pytest.mark.threat("denied-tool-called")
    @pytest.mark.parametrize(
        ("lines", "names"),
        [
            ('enabled_tools = ["echo"]', ["echo"]),
            ('disabled_tools = ["echo"]', ["publish"]),
            ('enabled_tools = ["echo", "publish"]\ndisabled_tools = ["publish"]', ["echo"]),
            ("enabled_tools = []", []),
        ],
    )
    def test_what_is_denied_is_neither_listed_nor_callable(
        self, fake: FakeServer, config: Write, lines: str, names: list[str]
    ) -> None:
        """By no way of calling; and nothing is sent."""
        session = connect("team", config=config(lines))
        opened(fake)

        assert [tool.name for tool in session.tools()] == names
        assert asyncio.run(_listed(session)) == names
        for tool in ("echo", "publish"):
            fake.requests.clear()
            if tool in names:
                assert session.call(tool, text="x").text == "x"
                continue
            with pytest.raises(errors.CallError, match=f"“{tool}”.*may not be used.*_tools"):
                session.call(tool, text="x")
            with pytest.raises(errors.CallError, match="may not be used"):
                asyncio.run(session.acall(tool, text="x"))
            assert fake.requests == []
            asyncio.run(_called(session, tool))
            assert "tools/call" not in {r.json["method"] for r in fake.requests if r.json}


class TestTimeouts:
    @pytest.mark.slow
    def test_a_server_that_is_not_ready_in_time_is_given_up(
        self, fake: FakeServer, config: Write
    ) -> None:
        """`startup_timeout_sec` is for making the connection."""
        fake.always("/mcp", fake.never())
        session = connect("team", config=config("startup_timeout_sec = 0.2"))

        with pytest.raises(
            errors.ServerUnreachable, match=r"within 0\.2 seconds \(startup_timeout"
        ):
            session.call("echo", text="x")
        with pytest.raises(errors.ServerUnreachable, match="startup_timeout_sec"):
            asyncio.run(_listed(session))

    @pytest.mark.slow
    def test_a_tool_that_takes_too_long_is_given_up(self, fake: FakeServer, config: Write) -> None:
        session = connect("team", config=config("tool_timeout_sec = 0.5"))
        opened(fake)
        session.tools()
        fake.always("/mcp", fake.never())
        with pytest.raises(errors.CallTimeout, match=r"0\.5 seconds"):
            session.call("echo", text="x")


class TestSwitches:
    def test_a_server_that_fails_always_raises(self, fake: FakeServer, config: Write) -> None:
        """`required = true` changes nothing here: no session goes on without its server."""
        session = connect("team", config=config("required = true"))
        uses: list[Callable[[], object]] = [
            session.tools,
            lambda: session.call("echo", text="x"),
            lambda: asyncio.run(_listed(session)),
        ]
        for use in uses:
            with pytest.raises(errors.LoginRequired):
                use()
        fake.always("/mcp", Reply(drop=True))
        for use in uses:
            with pytest.raises(errors.ServerUnreachable):
                use()

    def test_a_disabled_server_is_there_to_look_at_only(
        self, fake: FakeServer, config: Write
    ) -> None:
        session = connect("team", config=config("enabled = false"))

        assert "disabled" in repr(session)
        assert session.status == "none"
        uses: list[Callable[[], object]] = [
            lambda: session.call("echo"),
            session.tools,
            session.resources,
            session.client,
            session.login,
            session.headers,
            lambda: session.auth,
        ]
        for use in uses:
            with pytest.raises(errors.ConfigError, match=r"“team” is disabled: .*enabled = false"):
                use()
        assert fake.requests == []

    def test_the_login_of_a_disabled_server_can_be_signed_out_of(
        self, fake: FakeServer, config: Write
    ) -> None:
        store = MemoryStore()
        sign_in(mcpnb.connect("team", config=config(), store=store))
        session = mcpnb.connect("team", config=config("enabled = false"), store=store)

        assert (session.status, session.scopes) == ("authenticated", ())
        with pytest.raises(errors.ConfigError, match="You are signed in"):
            session.keep_in("memory")
        assert session.logout()
        assert session.status == "none"
        assert len(fake.asked("/revoke")) == 2

    def test_where_logins_rest_can_be_configured(self, config: Write, world: Path) -> None:
        """An argument still comes first."""
        file = config(top='mcp_oauth_credentials_store = "keyring"')
        assert "keyring" in str(mcpnb.connect("team", config=file).info().problem)
        assert "keyring" not in mcpnb.connect("team", config=file, store="memory").info().location
        file = config(top='mcp_oauth_credentials_store = "file"')
        assert str(world) in mcpnb.connect("team", config=file).info().location

    def test_scopes_are_asked_for_unless_others_are_given(self, config: Write) -> None:
        file = config('scopes = ["configured"]')
        assert query_of(sign_in(connect("team", config=file)))["scope"] == ["configured"]
        given = connect("team", config=file, scopes="given")
        assert query_of(sign_in(given))["scope"] == ["given"]

    def test_the_callback_port_is_used(self, config: Write) -> None:
        port = free_port()
        session = connect(
            "team", callback_port=None, config=config(top=f"mcp_oauth_callback_port = {port}")
        )
        (redirect_uri,) = query_of(sign_in(session))["redirect_uri"]
        assert redirect_uri == f"http://127.0.0.1:{port}/callback"


class TestNames:
    def test_several_accounts_of_one_server_have_names(
        self, fake: FakeServer, config: Write
    ) -> None:
        """Each name is a login of its own; the address itself is none of them."""
        home = f'[mcp_servers.home]\nurl = "{fake.url}"\naccount = "home"\n'
        given: Any = {"store": MemoryStore(), "config": config('account = "work"', top=home)}
        work = connect("team", **given)
        sign_in(work)

        assert (work.account, work.signed_in) == ("work", True)
        assert not connect("home", **given).signed_in
        plain = connect(fake.url, **given)
        assert (plain.account, plain.signed_in) == (None, False)

    def test_where_an_address_has_one_entry_that_is_meant(
        self, fake: FakeServer, config: Write
    ) -> None:
        """So that what a message says, `mcpnb login URL`, is the login that was missing."""
        file = config('account = "work"')
        assert connect(fake.url, config=file).account == "work"
        assert connect(fake.url, account="home", config=file).account == "home"
