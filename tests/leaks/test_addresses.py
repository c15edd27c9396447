"""A secret that an environment variable put into a server's address: used, and never shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.config import review, variables
from mcpnb.oauth.models import ServerConfig
from mcpnb.oauth.urls import host_span
from mcpnb.session.connect import resolve, sign_out_everywhere
from mcpnb.stores import FileStore, MemoryStore
from mcpnb.text import redact, sanitize
from tests.fakes.notebooks import Notebook
from tests.fakes.people import connect, sign_in
from tests.fakes.secrets import Secrets
from tests.fakes.server import PRM, FakeServer
from tests.fakes.wire import Reply
from tests.leaks.planted import command, into_the_environment, into_the_project
from tests.leaks.tracebacks import Overheard

SECRET = "pLanted-k3y-0f-the-address"
Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def variable(monkeypatch: pytest.MonkeyPatch) -> None:
    into_the_environment(monkeypatch, {"TEAM_KEY": SECRET})


@pytest.fixture
def write(world: Path) -> Write:
    """Configure a server as ``team`` in a file that is trusted; give the file."""
    return partial(into_the_project, world, "team")


@pytest.fixture
def keyed(fake: FakeServer, write: Write) -> FakeServer:
    """A fake whose MCP endpoint has the secret in its path and in its query, as ``team``."""
    fake.url = f"{fake.base}/{SECRET}/mcp?key={SECRET}"
    fake.routes[f"/{SECRET}/mcp"] = fake.routes["/mcp"]
    fake.describe(resource=fake.url)
    fake.challenge = {"resource_metadata": fake.base + PRM}
    write(template(fake))
    return fake


def template(fake: FakeServer) -> str:
    return f"{fake.base}/${{TEAM_KEY}}/mcp?key=${{TEAM_KEY}}"


class TestShown:
    def test_it_is_used_and_the_variable_is_shown(self, keyed: FakeServer) -> None:
        session = connect("team")
        sign_in(session)

        assert session.call("echo", text="hi").text == "hi"
        assert session.tools()
        assert keyed.asked(f"/{SECRET}/mcp")[-1].query == {"key": [SECRET]}
        for text in (repr(session), repr(session.auth), repr(session.login), repr(session._config)):  # noqa: SLF001
            assert SECRET not in text
        assert template(keyed).partition("://")[2] in repr(session)
        assert repr(session.auth) == f"<BearerAuth for {template(keyed)}>"

    @pytest.mark.usefixtures("keyed")
    def test_so_it_is_in_a_sign_in_that_is_under_way(self) -> None:
        """But for the address to open, which has to say for which server it is."""
        login = connect("team").login()
        login.wait_for("waiting", 10)
        try:
            assert SECRET not in repr(login).partition("open: ")[0]
            assert SECRET in str(login.url)
        finally:
            login.cancel()

    @pytest.mark.slow
    def test_no_error_has_it_and_no_log(self, keyed: FakeServer) -> None:
        """Libraries write every request's address, at INFO already, and tracebacks with it."""
        session = connect("team")
        faults: list[tuple[Reply | None, type[Exception]]] = [
            (None, errors.LoginRequired),
            (Reply(drop=True), errors.ServerUnreachable),
            (Reply(500, f"no such key: {SECRET}"), errors.McpnbError),
            (Reply(404, {"error": SECRET}), errors.McpnbError),
        ]
        uses: list[Callable[[], object]] = [session.tools, lambda: asyncio.run(_listed(session))]
        with Overheard() as overheard:
            for reply, kind in faults:
                if reply is not None:
                    keyed.always(f"/{SECRET}/mcp", reply)
                for use in uses:
                    with pytest.raises(kind) as caught:
                        use()
                    assert SECRET not in f"{caught.value} {caught.value!r}"
            with pytest.raises(errors.McpnbError) as caught:
                mcpnb.discover("team")
        assert SECRET not in str(caught.value)
        assert "${TEAM_KEY}" in overheard.places()["the logs"]
        Secrets(key=SECRET).absent_from(overheard.places())

    @pytest.mark.usefixtures("keyed")
    @pytest.mark.parametrize("watched", [True, False], ids=["notebook", "headless"])
    def test_what_a_notebook_is_told_to_do_names_the_variable(
        self, monkeypatch: pytest.MonkeyPatch, *, watched: bool
    ) -> None:
        Notebook(monkeypatch, allows_input=watched)
        session = mcpnb.connect("team", store="memory")
        for call in (session.tools, lambda: asyncio.run(session.acall("echo", text="x"))):
            with pytest.raises(errors.LoginRequired, match=r"\$\{TEAM_KEY\}") as caught:
                call()
            assert SECRET not in f"{caught.value} {caught.value!r}"

    @pytest.mark.slow
    def test_list_and_get_show_the_variable(self, keyed: FakeServer) -> None:
        (row,) = mcpnb.servers()

        assert row["url"] == row["transport"]["url"] == template(keyed)
        assert row["auth_status"] == "oauth_available"
        assert SECRET not in json.dumps(row) + repr(mcpnb.servers())
        for words in (["list"], ["get", "team"], ["discover", "team"], ["doctor", "team"]):
            for form in ([], ["--json"]):
                done = command(*words, *form)
                assert SECRET not in done.out + done.err, words
                assert "TEAM_KEY" in done.out, words

    def test_the_host_is_shown(self, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
        """A person has to see who is talked to; DNS and TLS tell it everybody anyway."""
        monkeypatch.setenv("BASE", f"https://mcp.example.com/{SECRET}")
        write("${BASE}/mcp")
        config = resolve("team")

        assert config.url == f"https://mcp.example.com/{SECRET}/mcp"
        assert config.shown == "https://mcp.example.com/${BASE}/mcp"
        monkeypatch.setenv("BASE", "https://mcp.example.com")
        assert resolve("team").shown == "https://mcp.example.com/mcp"

    def test_a_default_is_no_secret(self, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
        """It stands in the file."""
        monkeypatch.delenv("TEAM_KEY")
        write("https://mcp.example.com/${TEAM_KEY:-public}/mcp")
        assert resolve("team").shown == "https://mcp.example.com/public/mcp"

    @pytest.mark.parametrize("value", ["a", "mcp", "ab.c"])
    def test_a_short_one_is_left_in_other_texts(
        self, monkeypatch: pytest.MonkeyPatch, write: Write, value: str
    ) -> None:
        """Every message would lose letters."""
        monkeypatch.setenv("TEAM_KEY", value)
        write("https://mcp.example.com/x/${TEAM_KEY}")
        config = resolve("team")

        assert config.shown == "https://mcp.example.com/x/${TEAM_KEY}"
        assert redact(f"{value}: see {config.url}") == f"{value}: see {config.shown}"

    @pytest.mark.slow
    def test_user_and_password_are_hidden_where_they_are_refused(
        self, monkeypatch: pytest.MonkeyPatch, write: Write
    ) -> None:
        monkeypatch.setenv("USER_PART", f"me:{SECRET}")
        write("https://${USER_PART}@mcp.example.com/mcp")
        done = command("list", "--json")

        assert SECRET not in done.out + done.err
        assert json.loads(done.out)[0]["url"] == "https://${USER_PART}@mcp.example.com/mcp"
        with pytest.raises(errors.ConfigError, match="user name or password"):
            resolve("team")

    def test_it_is_hidden_before_a_text_is_cut(self, write: Write) -> None:
        write("https://mcp.example.com/${TEAM_KEY}")
        resolve("team")
        assert SECRET[:5] not in sanitize("x" * 10 + SECRET, 15)

    @pytest.mark.threat("project-named-by-a-variable")
    def test_a_file_that_nobody_trusts_puts_nothing_in(self, world: Path) -> None:
        file = world / "work" / ".mcp.json"
        url = "https://evil.example/${TEAM_KEY}"
        file.write_text(json.dumps({"mcpServers": {"team": {"type": "http", "url": url}}}))
        assert mcpnb.servers(probe=False)[0]["url"] == url


class TestAnOrdinaryWord:
    """``STAGE=production`` is no secret: other texts keep the word."""

    @pytest.fixture(autouse=True)
    def stage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STAGE", "production")

    @pytest.mark.parametrize(
        "message",
        [
            "The production system is down.",
            "https://other.example/production/mcp does not answer.",
            "https://not-mcp.example.com.evil.example/: a pre-production copy",
            "mcp.example.com: no reproduction of production-eu, productions or production.example",
        ],
    )
    def test_stays_in_messages_about_anything_else(self, write: Write, message: str) -> None:
        write("https://mcp.example.com/${STAGE}/mcp")
        resolve("team")
        assert str(errors.ConfigError(message)) == redact(message) == sanitize(message) == message

    @pytest.mark.parametrize(
        "place",
        [
            "{url}",
            "GET {url}?page=2",
            "https://MCP.example.com/.well-known/oauth-protected-resource/production/mcp",
            "https://as.example/authorize?resource=https%3A%2F%2Fmcp.example.com%2Fproduction%2Fmcp",
            "mcp.example.com: “the key production is not known”",
        ],
    )
    def test_is_hidden_in_messages_about_its_server(self, write: Write, place: str) -> None:
        write("https://mcp.example.com/${STAGE}/mcp")
        config = resolve("team")
        assert config.shown == "https://mcp.example.com/${STAGE}/mcp"
        shown = str(errors.ConfigError(place.format(url=config.url)))
        assert "production" not in shown
        assert "${STAGE}" in shown

    @pytest.mark.parametrize(
        ("host", "same", "other"),
        [
            ("127.0.0.1:8001", "127.0.0.1%3A8001", "127.0.0.1:8002"),
            ("[::1]:8001", "http://[::1]:8001/x", "http://[::1]:8002/x"),
            ("MCP.example.com:80", "mcp.example.com", "example.com"),
            ("bücher.example", "xn--bcher-kva.example", "bucher.example"),
        ],
    )
    def test_knows_its_server_by_host_and_port_however_they_are_spelled(
        self, write: Write, host: str, same: str, other: str
    ) -> None:
        write(f"http://{host}/${{STAGE}}/mcp")
        mcpnb.servers(probe=False)
        assert redact(f"{same}: no production") == f"{same}: no ${{STAGE}}"
        assert redact(f"{other}: no production") == f"{other}: no production"

    def test_does_not_hide_the_host(self, write: Write) -> None:
        write("https://${STAGE}.example.com/${STAGE}/mcp")
        assert redact(resolve("team").url) == "https://production.example.com/${STAGE}/mcp"

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("TEAM_KEY", "correcthorse"),
            ("DbPassword", "production"),
            ("TENANT", "a9f3c1d27b"),
            ("TENANT", "my-secret-tenant"),
            ("TENANT", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
            ("TENANT", "correct-horse-battery-staple-five"),
            ("TENANT", "aBcDeFgHiJ"),
        ],
    )
    def test_is_none_where_its_variable_or_its_look_says_so(
        self, write: Write, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
    ) -> None:
        """It is hidden everywhere then: no message can tell which server it belongs to."""
        monkeypatch.setenv(variable, value)
        write(f"https://mcp.example.com/${{{variable}}}/mcp")
        resolve("team")
        assert redact(f"no such key: x{value}") == f"no such key: x${{{variable}}}"

    def test_is_none_as_a_password(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WHO", "me:production")
        write("https://${WHO}@mcp.example.com/mcp")
        mcpnb.servers(probe=False)
        assert redact("not allowed: me:production") == "not allowed: ${WHO}"


def test_a_secret_of_a_header_is_hidden_too(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may repeat it in its error; what is no secret stays."""
    monkeypatch.setenv("WHO", "correcthorse")
    monkeypatch.setenv("STAGE", "production")
    headers = {"Authorization": "Bearer ${WHO}", "X-Key": "${TEAM_KEY}", "X-Stage": "${STAGE}"}
    entry = {"type": "http", "url": "https://mcp.example.com/mcp", "headers": headers}
    (world / "work" / ".mcp.json").write_text(json.dumps({"mcpServers": {"team": entry}}))
    for each in review():
        each.agree()
    resolve("team")
    said = f"“correcthorse and {SECRET} are not known in production”"
    assert str(errors.CallError(said)) == "“${WHO} and ${TEAM_KEY} are not known in production”"


async def _listed(session: mcpnb.Session) -> object:
    async with session.client() as client:
        return await client.list_tools()


class TestStored:
    """Names of records stand in clear in their files: none holds a secret."""

    @pytest.mark.slow
    def test_no_file_has_it(self, keyed: FakeServer, world: Path) -> None:
        store = FileStore(world / "mcpnb")
        session = connect("team", store=store)
        begun = session.login()
        begun.wait_for("waiting", 10)
        files = [path.read_bytes() for path in (world / "mcpnb").iterdir()]
        begun.cancel()
        sign_in(session)
        files += [path.read_bytes() for path in (world / "mcpnb").iterdir()]

        assert not any(SECRET.encode() in content for content in files)
        (key,) = store.keys("login")
        assert key.name.startswith(f"{template(keyed)}#")
        (row,) = json.loads(command("list", "--json").expect(0).out)
        assert (row["name"], row["auth_status"]) == ("team", "authenticated")

    def test_another_value_is_another_login(
        self, keyed: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is another server: a tenant's, say."""
        store = MemoryStore()
        sign_in(connect("team", store=store))

        monkeypatch.setenv("TEAM_KEY", "another-tenant")
        assert not connect("team", store=store).signed_in
        monkeypatch.setenv("TEAM_KEY", SECRET)
        assert connect("team", store=store).signed_in
        assert connect(keyed.url, store=store).signed_in, "by its address, too"

    @pytest.mark.parametrize("known", [True, False], ids=["configured", "not any more"])
    def test_it_can_be_ended_with_all_others(
        self, keyed: FakeServer, monkeypatch: pytest.MonkeyPatch, *, known: bool
    ) -> None:
        store = MemoryStore()
        sign_in(connect("team", store=store))
        if not known:
            monkeypatch.setenv("TEAM_KEY", "rotated-since-then")

        ((server, account, outcome),) = sign_out_everywhere(store)

        assert (account, outcome) == (None, "revoked")
        assert server.startswith(template(keyed))
        assert store.keys("login") == []
        assert keyed.asked("/revoke")

    @pytest.mark.slow
    def test_one_that_is_not_configured_any_more_is_listed(
        self, keyed: FakeServer, world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sign_in(connect("team", store=FileStore(world / "mcpnb")))
        (world / "work" / ".mcp.json").unlink()
        monkeypatch.delenv("TEAM_KEY")
        (row,) = json.loads(command("list", "--json").expect(0).out)

        assert row["auth_status"] == "authenticated"
        assert row["url"].startswith(f"{template(keyed)}#")


class TestTheHost:
    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("https://h.example/mcp", "h.example"),
            ("https://h.example:8443?x", "h.example:8443"),
            ("https://me:word@h.example#x", "h.example"),
            ("https://[::1]:80/", "[::1]:80"),
            ("https://h.example/@x", "h.example"),
            ("h.example/mcp", "h.example"),
            ("", ""),
        ],
    )
    def test_is_found(self, url: str, host: str) -> None:
        begin, end = host_span(url)
        assert url[begin:end] == host

    def test_an_address_with_nothing_hidden_is_shown_as_it_is(self) -> None:
        config = ServerConfig(url="https://h.example/mcp")
        assert config.shown == config.name_in_store == config.url
        assert variables.names_in(config.url) == []
