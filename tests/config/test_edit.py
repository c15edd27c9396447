"""`mcpnb add` and `remove`: what they write, what they leave alone, and what they never take."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mcpnb import errors
from mcpnb.config import add_server, edit, remove_server
from mcpnb.config.edit import changing
from mcpnb.demo.browser import approve
from mcpnb.demo.servers import DemoServers
from tests.fakes.people import posix
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply
from tests.terminal import Ended, Running, invoke, run

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
COMMENTS = ("# My settings", "# Codex's", "# b is slow:", "# projects", "# the end")


@pytest.fixture
def file(own: Path) -> Path:
    own.write_text(FILE)
    return own


def servers(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(file.read_bytes().decode()).get("mcp_servers", {})
    return found


def add(name: str, *more: str, url: str = "https://x.example/mcp", **environ: str) -> Ended:
    """Add a server, and do not sign in to it."""
    return invoke("add", name, "--url", url, "--no-login", *more, **environ)


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
        assert servers(file) == {}
        assert all(comment in file.read_text() for comment in (*COMMENTS, "# what a is for"))

    def test_what_is_replaced_keeps_its_place_and_the_comments_in_it(self, file: Path) -> None:
        """Nothing else of it: what was for the other address does not go to the new one."""
        commented = FILE.replace("    client_id", "    # ours\n    client_id")
        file.write_text(commented)
        add_server(file, "b", {"url": "https://new.example"})
        assert file.read_text() == commented.replace(
            "[mcp_servers.b]\nurl = 'https://b.example/mcp'\n\n"
            '    [mcp_servers.b.oauth]  # indented\n    # ours\n    client_id = "x"\n\n',
            '    # ours\n[mcp_servers.b]\nurl = "https://new.example"\n\n',
        )
        add_server(file, "a", {"url": "https://new.example"})
        add_server(file, "c.d", {"url": "https://new.example"})
        assert servers(file) == {name: {"url": "https://new.example"} for name in ("a", "b", "c.d")}
        assert all(comment in file.read_text() for comment in (*COMMENTS, "# what a is for"))

    def test_rounds_of_adding_and_removing_leave_it_as_it_was(self, file: Path) -> None:
        for _ in range(5):
            add_server(file, "new", {"url": "https://new.example", "oauth": {"client_id": "c"}})
            remove_server(file, "new")
            assert file.read_text() == FILE

    @pytest.mark.parametrize(
        "text",
        [
            '# top\n[mcp_servers]\na.url = "https://a"  # dotted\n',
            '[mcp_servers]\na = { url = "https://a" } # inline\n',
            'x = """\n[mcp_servers.a]\n"""\n[mcp_servers.a]\nurl = "https://a" # text\n',
            'x = [\n["b"]\n]\n[mcp_servers.a]\nurl = "https://a" # an array\n',
            '[mcp_servers.a]\r\nurl = "https://a" # windows\r\n',
            '[ mcp_servers . "a" ]\nurl = "https://a" # spaces',
            "",
        ],
    )
    def test_an_entry_is_added_to_and_removed_from_any_spelling(
        self, tmp_path: Path, text: str
    ) -> None:
        file = tmp_path / "config.toml"
        file.write_bytes(text.encode())
        before = tomllib.loads(text)
        entries = before.get("mcp_servers", {})

        add_server(file, "b", {"url": "https://b"})
        added = file.read_bytes().decode()
        wanted = {**before, "mcp_servers": {**entries, "b": {"url": "https://b"}}}
        assert tomllib.loads(added) == wanted
        assert added.startswith(text)
        assert ("\r\n" in text) is ("\n" not in added.replace("\r\n", "") and "\r" in added)
        assert remove_server(file, "b")
        assert servers(file) == entries

    @pytest.mark.parametrize(
        "text",
        [
            'mcp_servers = { a = { url = "https://a" } }  # inline\n',
            '[mcp_servers]\na.url = "https://a"  # dotted\n',
            'mcp_servers.a.url = "https://a"\nx = 1\n',
            '[mcp_servers.a]\nurl = "https://a"\nx = """\n[other]\n"""\n',
        ],
    )
    def test_an_entry_that_is_written_unusually_is_left_to_the_person(
        self, tmp_path: Path, text: str
    ) -> None:
        """The error names the file and the lines to write."""
        file = tmp_path / "config.toml"
        file.write_text(text)
        with pytest.raises(errors.ConfigError, match="not change") as caught:
            add_server(file, "a", {"url": "https://new.example"})
        assert str(file) in str(caught.value)
        assert '[mcp_servers.a]\nurl = "https://new.example"\n' in str(caught.value)
        with pytest.raises(errors.ConfigError, match=r"remove mcp_servers\.a there"):
            remove_server(file, "a")
        assert file.read_text() == text

    @posix
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
        assert list(servers(own)) == ["a", "b"]
        assert [p.name for p in own.parent.iterdir()] == ["config.toml"]


class TestAdd:
    def test_what_is_given_is_written(self, file: Path) -> None:
        done = add(
            *("new", "--account", "work", "--scopes", "a,b", "--client-id", "c"),
            *("--issuer", "https://as.example", "--client-secret-env-var", "SECRET"),
            *("--header", "X-Team=blue", "--env-header", "X-Key=KEY"),
            url="https://NEW.example/mcp/",
            SECRET="s3cret",
        ).expect(0)

        assert f"Added new to {file}" in done.err
        oauth = {"client_id": "c", "issuer": "https://as.example"}
        assert servers(file)["new"] == {
            "url": "https://new.example/mcp/",
            "account": "work",
            "scopes": ["a", "b"],
            "http_headers": {"X-Team": "blue"},
            "env_http_headers": {"X-Key": "KEY"},
            "oauth": oauth | {"client_secret_env_var": "SECRET"},
        }
        assert file.read_text().startswith(FILE)

    @pytest.mark.parametrize(
        ("words", "values"),
        [
            ("", {}),
            ("--bearer-token-env-var V", {"bearer_token_env_var": "V"}),
            ("--oauth-client-id c", {"oauth": {"client_id": "c"}}),
            ("--oauth-resource https://r.example", {"oauth_resource": "https://r.example"}),
            ("--oauth-client-registration dcr", {}),
        ],
    )
    def test_it_takes_what_codexs_takes(
        self, own: Path, words: str, values: dict[str, Any]
    ) -> None:
        """Except for `-- COMMAND` and `--env`, which are of servers that need no sign-in."""
        add("x", *words.split()).expect(0)
        assert servers(own)["x"] == {"url": "https://x.example/mcp"} | values

    def test_so_does_login(self) -> None:
        """What each option does is shown in tests of its own."""
        options = invoke("login", "--help").expect(0).out
        for option in ("--scopes", "--no-browser", "--oauth-client-registration"):
            assert option in options

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
            ["--oauth-client-secret", "s3cret"],
        ],
        ids=" ".join,
    )
    def test_no_secret_is_taken_from_a_command_line(self, own: Path, arguments: list[str]) -> None:
        """Nor repeated: whoever lists processes sees it. An environment variable does it."""
        done = add("a", *arguments).expect(2)
        assert "s3cret" not in done.out + done.err
        assert not own.exists()

    def test_a_name_that_is_taken_is_refused(self, file: Path) -> None:
        refused = add("a").expect(2)
        assert f"already configured in {file}" in refused.err
        assert "To sign in: mcpnb login a\n" in refused.err
        assert file.read_text() == FILE

    def test_an_entry_of_another_transport_keeps_its_name_unless_it_is_forced(
        self, own: Path
    ) -> None:
        own.write_text('[mcp_servers.files]\ncommand = "npx"\nargs = ["-y"]\n')
        assert "--force" in add("files").expect(2).err
        assert 'command = "npx"' in own.read_text()
        add("files", "--force").expect(0)
        assert servers(own)["files"] == {"url": "https://x.example/mcp"}

    @pytest.mark.parametrize("name", ["a b", "https://a.example", "", "a\x1b"])
    def test_a_name_has_to_be_one(self, own: Path, name: str) -> None:
        add(name).expect(2)
        assert not own.exists()

    def test_another_file_can_be_named_and_nothing_is_left_beside_it(
        self, tmp_path: Path, own: Path
    ) -> None:
        """A repository that a team's file lies in gets no file of ours."""
        folder = tmp_path / "repository"
        folder.mkdir()
        add("a", "--config", str(folder / "team.toml")).expect(0)
        assert list(servers(folder / "team.toml")) == ["a"]
        assert [path.name for path in folder.iterdir()] == ["team.toml"]
        assert not own.exists()

    def test_a_file_that_is_wrong_or_cannot_be_written_is_left_as_it_is(self, own: Path) -> None:
        own.write_text("[broken")
        assert "not valid TOML" in add("a").expect(2).err
        assert own.read_text() == "[broken"
        own.unlink()
        own.parent.rmdir()
        own.parent.write_text("a file, where a folder would have to be")
        assert "config.toml cannot be" in add("a").expect(2).err


@pytest.mark.slow
class TestSigningIn:
    def test_a_server_out_of_reach_is_added_all_the_same(self, own: Path) -> None:
        done = invoke("add", "a", "--url", "http://127.0.0.1:9/mcp").expect(0)
        assert "mcpnb login a" in done.err
        assert "Why: mcpnb doctor a\n" in done.err
        assert "\nmcpnb could not find out how to sign in: “127.0.0.1” cannot be" in done.err
        assert "Error:" not in done.err, "it is added, and the exit code says so"
        assert own.exists()

    def test_no_login_asks_the_server_nothing(self, fake: FakeServer) -> None:
        add("a", url=fake.url).expect(0)
        assert fake.requests == []

    def test_where_something_else_answers_the_address_is_to_be_corrected(
        self, fake: FakeServer, own: Path
    ) -> None:
        fake.routes["/mcp"] = lambda _: Reply(404, "nothing here")
        fake.metadata = fake.resource_metadata = None
        done = invoke("add", "a", "--url", fake.url).expect(0)
        assert "mcpnb add a --url URL --force" in done.err
        assert "Why: mcpnb doctor a\n" in done.err
        assert "mcpnb login" not in done.err
        assert own.exists()

    def test_a_server_that_wants_a_sign_in_gets_it_at_once(self, own: Path) -> None:
        """And `remove` says how to end the login that stays."""
        with DemoServers() as demo:
            words = ("add", "demo", "--url", demo.mcp_url, "--no-browser", "--port", "0")
            with Running(*words) as adding:
                approve(adding.address())
                assert "Signed in" in adding.end().expect(0).err
            (row,) = json.loads(invoke("list", "--json").expect(0).out)
            assert (row["name"], row["auth_status"]) == ("demo", "authenticated")

            removed = invoke("remove", "demo").expect(0)
            assert f"mcpnb logout {demo.mcp_url}" in removed.err
            assert servers(own) == {}
            (row,) = json.loads(invoke("list", "--json").expect(0).out)
            assert (row["name"], row["auth_status"]) == (None, "authenticated")
        assert "no entry" in invoke("remove", "demo").expect(2).err


# The command line, ready before it is told to go: what is left are milliseconds of reading and
# writing, in all of them at the same time.
READY = """
import sys
import tomlkit
import mcpnb.cli.servers, mcpnb.oauth.urls, mcpnb.oauth.scopes
from mcpnb.cli.app import run
print("ready", flush=True)
sys.stdin.readline()
sys.exit(run(sys.argv[1:]))
"""


class TestTogether:
    """Several programs change one file at the same time."""

    @staticmethod
    def at_once(*commands: list[str]) -> list[tuple[int, str]]:
        """Run commands at the same time; give the exit code and the words of each."""
        pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with ExitStack() as held:
            running = [
                held.enter_context(
                    subprocess.Popen([sys.executable, "-c", READY, *command], text=True, **pipes)
                )
                for command in commands
            ]
            for process in running:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in running:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            said = [process.communicate(timeout=30)[1] for process in running]
        return [(process.returncode, err) for process, err in zip(running, said, strict=True)]

    @staticmethod
    def adding(name: str, *more: str) -> list[str]:
        return ["add", name, "--url", f"https://{name}.example/mcp", "--no-login", *more]

    @pytest.mark.slow
    def test_eight_that_add_or_remove_lose_nothing(self, own: Path, tmp_path: Path) -> None:
        """Whatever name they use for the file."""
        for n in range(3):
            add_server(own, f"old{n}", {"url": "https://old.example"})
        own.write_text(f"# by hand\n{own.read_text()}")
        (tmp_path / "link.toml").symlink_to(own)
        link = ["--config", str(tmp_path / "link.toml")]

        done = self.at_once(
            *(self.adding(f"new{n}", *(link if n % 2 else [])) for n in range(5)),
            *(["remove", f"old{n}"] for n in range(3)),
        )

        assert [code for code, _ in done] == [0] * 8, done
        assert set(servers(own)) == {f"new{n}" for n in range(5)}
        assert own.read_text().startswith("# by hand\n")

    @pytest.mark.slow
    def test_of_those_that_want_one_name_all_but_one_are_told(self, own: Path) -> None:
        """They read the file before the first one wrote it, and look again."""
        done = self.at_once(*(self.adding("same") for _ in range(6)))
        assert sorted(code for code, _ in done) == [0, 2, 2, 2, 2, 2], done
        assert all("--force " in said for code, said in done if code)
        assert set(servers(own)) == {"same"}

    def test_one_that_holds_on_is_told_about(
        self, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(edit, "_PATIENCE", 0.05)
        with changing(own):
            with pytest.raises(errors.ConfigError, match="changed by another mcpnb"):
                add_server(own, "a", {"url": "https://a.example"})
            with pytest.raises(errors.ConfigError, match="changed by another mcpnb"):
                remove_server(own, "a")
        assert not own.exists()
        add_server(own, "a", {"url": "https://a.example"})
        assert set(servers(own)) == {"a"}

    @pytest.mark.slow
    @posix
    def test_where_no_home_can_be_written_the_lock_lies_beside_the_file(
        self, tmp_path: Path
    ) -> None:
        """Not even root can make a folder in /proc."""
        file = tmp_path / "team.toml"
        nowhere = {name: "/proc/nowhere" for name in os.environ if name.startswith("XDG_")}
        words = ("add", "a", "--url", "https://x.example", "--no-login", "--config", str(file))
        run(*words, HOME="/proc/nowhere", **nowhere).expect(0)
        assert set(servers(file)) == {"a"}
