"""`mcpnb add` and `remove`: what they write, what they leave alone, and what they never take."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from mcpnb.config import add_server, remove_server
from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply
from tests.terminal import Running, run

FILE = """\
# My settings, by hand.
model = "gpt-5"   # Codex's

[mcp_servers.a]   # the first
url = "https://a.example/mcp"
# what a is for

# b is slow:
[mcp_servers.b]
url = 'https://b.example/mcp'

    [mcp_servers.b.oauth]  # indented
    client_id = "x"

# projects, not servers
[projects."/home/me"]
trust_level = "trusted"

[mcp_servers."c.d"]
url = "https://c.example/mcp"
# the end
"""


@pytest.fixture
def own(world: Path) -> Path:
    """Where the person's own file is, or will be."""
    return world / "xdg" / "config" / "mcpnb" / "config.toml"


@pytest.fixture
def file(own: Path) -> Path:
    own.parent.mkdir()
    own.write_text(FILE)
    return own


class TestTheFile:
    def test_what_is_added_stands_at_the_end(self, file: Path) -> None:
        add_server(file, "new", {"url": "https://new.example", "oauth": {"client_id": "c"}})

        assert file.read_text() == (
            FILE + '\n[mcp_servers.new]\nurl = "https://new.example"\n\n'
            '[mcp_servers.new.oauth]\nclient_id = "c"\n'
        )

    def test_what_is_removed_takes_nobodys_comment_along(self, file: Path) -> None:
        """The comment above the next entry is the next one's."""
        assert remove_server(file, "b")
        assert file.read_text() == FILE.replace(
            "[mcp_servers.b]\nurl = 'https://b.example/mcp'\n\n"
            '    [mcp_servers.b.oauth]  # indented\n    client_id = "x"\n\n',
            "",
        )
        assert remove_server(file, "c.d")
        assert remove_server(file, "a")
        assert not remove_server(file, "a")
        left = file.read_text()
        assert "mcp_servers" not in tomllib.loads(left)
        for comment in ("# My settings", "# Codex's", "# b is slow:", "# projects", "# the end"):
            assert comment.strip() in left

    def test_added_and_removed_again_is_as_it_was(self, file: Path) -> None:
        add_server(file, "new", {"url": "https://new.example", "scopes": ["a"]})
        remove_server(file, "new")
        assert file.read_text().rstrip("\n") == FILE.rstrip("\n")

    def test_rounds_of_adding_and_removing_collect_no_blank_lines(self, file: Path) -> None:
        for _ in range(5):
            add_server(file, "new", {"url": "https://new.example", "oauth": {"client_id": "c"}})
            remove_server(file, "new")
        assert file.read_text() == FILE

    @pytest.mark.parametrize(
        "text",
        [
            'mcp_servers = { a = { url = "https://a" } }  # inline\n',
            '# top\n[mcp_servers]\na.url = "https://a"  # dotted\n',
            '[mcp_servers]\na = { url = "https://a" } # inline\n',
            'mcp_servers.a.url = "https://a" # dotted\n',
            'x = """\n[mcp_servers.a]\n"""\n[mcp_servers.a]\nurl = "https://a" # text\n',
            '[mcp_servers.a]\r\nurl = "https://a" # windows\r\n',
            '[ mcp_servers . "a" ]\nurl = "https://a" # spaces',
            "",
        ],
    )
    def test_any_spelling_is_changed_or_left_alone(self, tmp_path: Path, text: str) -> None:
        """And never into something else than what was asked for."""
        file = tmp_path / "config.toml"
        file.write_bytes(text.encode())
        before = tomllib.loads(text)

        add_server(file, "b", {"url": "https://b"})
        added = tomllib.loads(file.read_bytes().decode())
        assert added == {
            **before,
            "mcp_servers": {**before.get("mcp_servers", {}), "b": {"url": "https://b"}},
        }
        assert all(comment.strip() in file.read_text() for comment in text.split("#")[1:])
        assert remove_server(file, "b")
        assert {"mcp_servers": {}, **tomllib.loads(file.read_bytes().decode())} == {
            "mcp_servers": {},
            **before,
        }

    def test_windows_line_ends_stay(self, tmp_path: Path) -> None:
        file = tmp_path / "config.toml"
        file.write_bytes(b'[mcp_servers.a]\r\nurl = "https://a"\r\n')
        add_server(file, "b", {"url": "https://b"})
        assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")

    def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(
        self, own: Path, tmp_path: Path
    ) -> None:
        add_server(own, "a", {"url": "https://a"})
        assert stat.S_IMODE(own.stat().st_mode) == 0o600
        own.chmod(0o640)
        link = tmp_path / "link.toml"
        link.symlink_to(own)
        add_server(link, "b", {"url": "https://b"})
        assert stat.S_IMODE(own.stat().st_mode) == 0o640
        assert link.is_symlink()
        assert list(tomllib.loads(own.read_text())["mcp_servers"]) == ["a", "b"]
        assert [p.name for p in own.parent.iterdir()] == ["config.toml"]


class TestAdd:
    @pytest.mark.slow
    def test_what_is_given_is_written(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "s3cret")
        done = run(
            *("add", "new", "--url", "https://NEW.example/mcp/", "--no-login", "--account", "work"),
            *("--scopes", "a,b", "--client-id", "c", "--issuer", "https://as.example"),
            *("--client-secret-env-var", "SECRET", "--header", "X-Team=blue"),
            *("--env-header", "X-Key=KEY"),
        ).expect(0)

        assert f"Added new to {file}" in done.err
        assert tomllib.loads(file.read_text())["mcp_servers"]["new"] == {
            "url": "https://new.example/mcp/",
            "account": "work",
            "scopes": ["a", "b"],
            "http_headers": {"X-Team": "blue"},
            "env_http_headers": {"X-Key": "KEY"},
            "oauth": {
                "client_id": "c",
                "issuer": "https://as.example",
                "client_secret_env_var": "SECRET",
            },
        }
        assert file.read_text().startswith(FILE)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--header", "Authorization=Bearer s3cret"],
            ["--header", "X-Api-Key=s3cret"],
            ["--header", "Cookie=s3cret"],
            ["--header", "X-Anything=Bearer s3cret"],
            ["--header", "s3cret"],
            ["--bearer-token-env-var", "s3cret-token"],
            ["--client-secret-env-var", "s3cret.value"],
            ["--env-header", "X-Key=s3cret/value"],
        ],
        ids=" ".join,
    )
    def test_no_secret_is_taken_from_a_command_line(self, own: Path, arguments: list[str]) -> None:
        """Nor said again; the remedy is an environment variable."""
        done = run("add", "a", "--url", "https://a.example", "--no-login", *arguments).expect(2)
        assert "s3cret" not in done.out + done.err
        assert not own.exists()

    def test_a_name_that_is_taken_is_refused(self, file: Path) -> None:
        refused = run("add", "a", "--url", "https://other.example", "--no-login").expect(2)
        assert f"configured in {file} already" in refused.err
        assert "To sign in: mcpnb login a\n" in refused.err
        assert file.read_text() == FILE

    @pytest.mark.slow
    def test_with_force_nothing_of_the_old_entry_goes_to_the_new_address(self, file: Path) -> None:
        run("add", "b", "--url", "https://other.example", "--no-login", "--force").expect(0)
        changed = tomllib.loads(file.read_text())
        assert changed["mcp_servers"]["b"] == {"url": "https://other.example"}
        for comment in ("# My settings", "# b is slow:", "# projects", "# the end"):
            assert comment in file.read_text()
        run("add", "a", "--url", "https://other.example", "--no-login", "--force").expect(0)
        assert "# what a is for" in file.read_text()
        assert list(tomllib.loads(file.read_text())["mcp_servers"]) == ["a", "b", "c.d"]

    @pytest.mark.parametrize("name", ["a b", "https://a.example", "", "a\x1b"])
    def test_a_name_has_to_be_one(self, own: Path, name: str) -> None:
        run("add", name, "--url", "https://a.example", "--no-login").expect(2)
        assert not own.exists()

    def test_another_file_can_be_named(self, tmp_path: Path, own: Path) -> None:
        named = tmp_path / "team.toml"
        run(
            *("add", "a", "--url", "https://a.example", "--no-login", "--config", str(named))
        ).expect(0)
        assert tomllib.loads(named.read_text())["mcp_servers"]["a"]["url"] == "https://a.example"
        assert not own.exists()

    def test_a_file_that_is_wrong_is_left_as_it_is(self, own: Path) -> None:
        own.parent.mkdir()
        own.write_text("[broken")
        assert "not valid TOML" in run("add", "a", "--url", "https://a.example").expect(2).err
        assert own.read_text() == "[broken"

    def test_a_place_that_cannot_be_written_is_an_error(self, own: Path) -> None:
        own.parent.write_text("a file, where a folder would have to be")
        done = run("add", "a", "--url", "https://a.example", "--no-login").expect(2)
        assert "config.toml cannot be" in done.err

    @pytest.mark.slow
    def test_removed_again_nothing_is_said_of_a_login_that_is_not_there(self, file: Path) -> None:
        del file
        assert "logout" not in run("remove", "a").expect(0).err

    @pytest.mark.slow
    def test_no_login_asks_the_server_nothing(self, fake: FakeServer) -> None:
        run("add", "a", "--url", fake.url, "--no-login").expect(0)
        assert fake.requests == []

    @pytest.mark.slow
    def test_a_server_out_of_reach_is_added_all_the_same(self, own: Path) -> None:
        done = run("add", "a", "--url", "http://127.0.0.1:9/mcp").expect(0)
        assert "mcpnb login a" in done.err
        assert "Why: mcpnb doctor a\n" in done.err
        assert own.exists()

    @pytest.mark.slow
    def test_where_something_else_answers_the_address_is_to_be_corrected(
        self, fake: FakeServer, own: Path
    ) -> None:
        fake.routes["/mcp"] = lambda _: Reply(404, "nothing here")
        fake.metadata = fake.resource_metadata = None
        done = run("add", "a", "--url", fake.url).expect(0)
        assert "mcpnb add a --url URL --force" in done.err
        assert "Why: mcpnb doctor a\n" in done.err
        assert "mcpnb login" not in done.err
        assert own.exists()


@pytest.mark.slow
def test_a_server_that_wants_a_sign_in_gets_it_at_once(own: Path) -> None:
    """And `remove` says how to end the login that stays."""
    with DemoServers() as demo:
        with Running(
            *("add", "demo", "--url", demo.mcp_url, "--no-browser", "--port", "0")
        ) as adding:
            approve(adding.address())
            assert "Signed in" in adding.end().expect(0).err
        (row,) = json.loads(run("list", "--json").expect(0).out)
        assert (row["name"], row["auth_status"]) == ("demo", "authenticated")

        removed = run("remove", "demo").expect(0)
        assert f"mcpnb logout {demo.mcp_url}" in removed.err
        assert "mcp_servers" not in tomllib.loads(own.read_text())
        (row,) = json.loads(run("list", "--json").expect(0).out)
        assert (row["name"], row["auth_status"]) == (None, "authenticated")
    assert "no entry" in run("remove", "demo").expect(2).err
