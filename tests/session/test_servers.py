"""`mcpnb list`, `get` and `mcpnb.servers()`: everything in one table, asked for in good time."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mcpnb
from mcpnb.stores import FileStore
from tests.fakes.mcp import answer_to
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Wire
from tests.terminal import Ended, OnTerminal, invoke, run

CODEX_KEYS = [
    "name",
    "enabled",
    "disabled_reason",
    "transport",
    "startup_timeout_sec",
    "tool_timeout_sec",
    "auth_status",
]
TRANSPORT_KEYS = [
    "type",
    "url",
    "bearer_token_env_var",
    "http_headers",
    "env_http_headers",
    "http_headers_helper",
]


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def open_server() -> Wire:
    """Make a server that wants no sign-in, at any path."""
    wire = Wire()
    for number in range(60):
        wire.routes[f"/open/{number}"] = lambda request: (
            answer_to(request.json) if request.method == "POST" else Reply(405)
        )
    return wire


def entry(name: str, url: str, lines: str = "") -> str:
    return f'[mcp_servers.{name}]\nurl = "{url}"\n{lines}\n'


def listed(*arguments: str, by: Callable[..., Ended] = invoke) -> list[dict[str, Any]]:
    rows = json.loads(by("list", "--json", *arguments).expect(0).out)
    assert isinstance(rows, list)
    return rows


def signed_in(fake: FakeServer, world: Path, **given: Any) -> str:
    """Sign in for the commands to find; give the token."""
    session = connect(fake.url, store=FileStore(world / "mcpnb"), **given)
    sign_in(session)
    return session.access_token()


def test_a_row_has_codexs_shape_and_more(own: Path) -> None:
    """Its keys in its order, ours after them; values of headers are masked."""
    own.write_text(
        entry(
            "a",
            "https://a.example/mcp",
            'bearer_token_env_var = "A_TOKEN"\nhttp_headers = {X-Key = "s3cret"}\n'
            'env_http_headers = {X-Other = "VAR"}\nstartup_timeout_sec = 3\ntool_timeout_sec = 4',
        )
    )
    (row,) = listed()

    assert list(row)[:7] == CODEX_KEYS
    assert set(row) >= {"url", "scopes", "account", "expires_at", "store", "source"}
    assert list(row["transport"]) == TRANSPORT_KEYS
    assert row["transport"] == {
        "type": "streamable_http",
        "url": "https://a.example/mcp",
        "bearer_token_env_var": "A_TOKEN",
        "http_headers": {"X-Key": "*****"},
        "env_http_headers": {"X-Other": "VAR"},
        "http_headers_helper": None,
    }
    assert (row["startup_timeout_sec"], row["tool_timeout_sec"]) == (3, 4)
    assert (row["auth_status"], row["enabled"], row["source"]) == ("bearer_token", True, str(own))


@pytest.mark.slow
def test_each_status_is_told(
    own: Path, world: Path, fake: FakeServer, fakes: Callable[[], FakeServer], black_hole: str
) -> None:
    """Who is signed in is not asked again; who is disabled or untrusted is not asked at all."""
    wanting, disabled = fakes(), fakes()
    token = signed_in(fake, world)
    for account in ("work", "home"):
        signed_in(fake, world, account=account)
    fake.requests.clear()
    with open_server() as free:
        own.write_text(
            entry("in", fake.url)
            + entry("other", fake.url, 'account = "home"')
            + entry("wanting", wanting.url)
            + entry("open", f"{free.base}/open/1")
            + entry("gone", black_hole)
            + entry("off", disabled.url, "enabled = false")
            + entry("static", "https://static.example/mcp", 'bearer_token_env_var = "T"')
        )
        (world / "work" / "mcpnb.toml").write_text(entry("team", disabled.url))
        done = invoke("list", "--json")
        table = invoke("list", "--no-probe").expect(0)

    rows = [(r["name"], r["account"], r["auth_status"]) for r in json.loads(done.out)]
    assert sorted(rows, key=str) == [
        ("gone", None, "unreachable"),
        ("in", "work", "authenticated"),
        ("in", None, "authenticated"),
        ("off", None, "none"),
        ("open", None, "none"),
        ("other", "home", "authenticated"),
        ("static", None, "bearer_token"),
        ("team", None, "untrusted"),
        ("wanting", None, "oauth_available"),
    ]
    assert fake.requests == disabled.requests == []
    assert wanting.asked("/register") == []
    assert "gone: " in done.err
    assert "within 5 seconds" in done.err
    assert "disabled (none)" in table.out
    assert token not in done.out + done.err + table.out


@pytest.mark.slow
def test_many_servers_take_no_longer_than_the_slowest_may(own: Path, black_hole: str) -> None:
    """Fifty, five of which take the connection and never answer: five seconds, and not of each.

    `run` gives up after thirty; five one after the other would take longer.
    """
    with open_server() as free:
        own.write_text(
            "".join(entry(f"s{n}", f"{free.base}/open/{n}") for n in range(45))
            + "".join(entry(f"gone{n}", f"{black_hole}/{n}") for n in range(5))
        )
        rows = listed(by=run)

    statuses = [row["auth_status"] for row in rows]
    assert (statuses.count("none"), statuses.count("unreachable")) == (45, 5)
    assert len(free.asked("/open/7")) == 1


@pytest.mark.slow
def test_a_hundred_that_never_answer_take_no_longer(own: Path, black_hole: str) -> None:
    """Whatever their number, and the process ends with its answer.

    64 are asked at a time: of the others it is not said that they did not answer.
    """
    own.write_text("".join(entry(f"gone{n}", f"{black_hole}/{n}") for n in range(100)))
    rows = listed(by=run)
    assert {row["auth_status"] for row in rows} == {"unreachable"}
    said = Counter(row["error"].removeprefix(f"{row['url']} ") for row in rows)
    assert said == {
        "did not answer within 5 seconds.": 64,
        "was not asked: too many others did not answer in time.": 36,
    }


def test_nobody_is_asked_where_that_is_said(own: Path, fake: FakeServer) -> None:
    own.write_text(entry("a", fake.url))
    assert [row["auth_status"] for row in listed("--no-probe")] == ["none"]
    invoke("get", "a", "--no-probe").expect(0)
    assert fake.requests == []


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal_only(own: Path, fake: FakeServer) -> None:
    own.write_text(entry("a", fake.url))
    assert invoke("list").expect(0).err == ""
    with OnTerminal("list") as terminal:
        terminal.shows("Asking the servers: 0 of 1")
        terminal.shows("oauth_available")
        assert terminal.end() == 0


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [("required = true", 3, "a is required: oauth_available"), ("", 0, "")],
)
def test_what_is_required_has_to_work(
    own: Path, fake: FakeServer, lines: str, code: int, said: str
) -> None:
    """For a check in CI: 3 where a sign-in is missing, 1 where a server is."""
    own.write_text(entry("a", fake.url, lines))
    assert said in invoke("list").expect(code).err
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    own.write_text(entry("a", f"http://127.0.0.1:{port}/mcp", lines))
    assert invoke("list").code == min(code, 1)


@pytest.mark.parametrize("command", [["list"], ["get", "a"]])
def test_get_judges_one_server_as_list_judges_all(
    own: Path, fake: FakeServer, command: list[str]
) -> None:
    own.write_text(entry("a", fake.url, "required = true") + entry("b", "http://127.0.0.1:9/mcp"))
    for form in ([], ["--json"]):
        assert "a is required: oauth_available" in invoke(*command, *form).expect(3).err


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("required = true", 1),
        ("", 0),
        ("required = true\nenabled = false", 0),
        ('required = "yes"', 0),
    ],
)
def test_a_required_server_whose_entry_is_wrong_cannot_be_used_either(
    own: Path, lines: str, code: int
) -> None:
    """It is left out of what is configured, which must not make it optional."""
    own.write_text(f'[mcp_servers.a]\nurl = "https://a.example/mcp"\nscopes = 5\n{lines}\n')
    done = invoke("list", "--json")
    assert done.code == code, done.err
    assert ("a is required: unreachable" in done.err) == bool(code)
    (row,) = json.loads(done.out)
    assert (row["auth_status"], row["enabled"]) == ("unreachable", False)


def test_get_shows_one_server_with_its_tools(own: Path, fake: FakeServer) -> None:
    own.write_text(entry("a", fake.url, 'enabled_tools = ["x"]\nhttp_headers = {X-Key = "s3cret"}'))
    got = json.loads(invoke("get", "a", "--json").expect(0).out)
    said = invoke("get", "a").expect(0).out

    assert (got["name"], got["auth_status"]) == ("a", "oauth_available")
    assert (got["enabled_tools"], got["disabled_tools"]) == (["x"], None)
    assert got["transport"]["http_headers"] == {"X-Key": "*****"}
    assert "auth_status:          oauth_available\n" in said
    assert "X-Key: *****" in said
    assert "s3cret" not in said + json.dumps(got)
    assert "mcpnb add" in invoke("get", "unknown").expect(2).err


def test_in_a_notebook_it_is_a_table(own: Path, world: Path, fake: FakeServer) -> None:
    """And a list of dicts in code; what a file says is escaped."""
    token = signed_in(fake, world)
    own.write_text(
        entry("in", fake.url) + entry('"<b>x"', "https://x.example/<i>", "enabled = false")
    )
    servers = mcpnb.servers()

    assert [row["name"] for row in servers] == ["in", "<b>x"]
    page = servers._repr_html_()
    assert "&lt;b&gt;x" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "authenticated" in page
    assert "2 servers" in repr(servers)
    assert "disabled" in repr(servers)
    assert token not in page + repr(servers)


def test_an_empty_table_says_so() -> None:
    assert mcpnb.servers() == []
    assert repr(mcpnb.servers()) == "<Servers: 0 servers>"
    assert "0 servers" in mcpnb.servers()._repr_html_()
