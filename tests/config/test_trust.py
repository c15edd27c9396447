"""Which files of a project count, once somebody has agreed to them, and until when."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.config import read_configuration, review
from tests import figures
from tests.config.projects import HOSTILE, TEAM, agree, claudes, names, project
from tests.fakes.mcp import answer_to
from tests.fakes.people import posix
from tests.fakes.server import FakeServer
from tests.fakes.wire import Reply, Request
from tests.terminal import OnTerminal, invoke, run

HELPED = f'{TEAM}http_headers_helper = "./give"\n'


class TestWhere:
    def test_files_count_from_here_up_to_the_root_of_the_repository(
        self, work: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nearest first, and nothing above the root; without one only the folder itself."""
        inner = work / "a" / "b"
        (inner / ".codex").mkdir(parents=True)
        for number, file in enumerate(
            (inner / "mcpnb.toml", inner / ".codex" / "config.toml", work / "mcpnb.toml")
        ):
            file.write_text(
                f'[mcp_servers.x]\nurl = "https://{number}.example"\n[mcp_servers.y{number}]'
                f'\nurl = "https://y.example"'
            )
        (work.parent / "mcpnb.toml").write_text(TEAM)
        monkeypatch.chdir(inner)
        agree()

        assert names() == ["x", "y0", "y1", "y2"]
        assert read_configuration().server("x").url == "https://0.example"
        (work / ".git").rmdir()
        assert names() == ["x", "y0", "y1"]

    @pytest.mark.threat("project-above-home")
    def test_the_home_folder_is_no_project(
        self, world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even where it is a repository, as those have it who keep their settings in one."""
        home = world / "home"
        (home / ".git").mkdir()
        (home / "mcpnb.toml").write_text(TEAM)
        (home / "project").mkdir()
        for folder in (home, home / "project"):
            monkeypatch.chdir(folder)
            assert review() == []
            assert read_configuration().untrusted == ()

    @pytest.mark.threat("project-file-is-a-pipe")
    @posix
    def test_a_pipe_and_a_device_are_no_files(self, work: Path) -> None:
        """Reading one would not end."""
        os.mkfifo(work / "mcpnb.toml")
        (work / ".mcp.json").symlink_to("/dev/zero")
        assert names() == []
        assert review() == []

    @pytest.mark.threat("repository-root-planted")
    def test_a_repository_that_somebody_makes_above_has_no_say(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeServer
    ) -> None:
        """In a folder that everybody may write, such as /tmp: its files count as a project's."""
        figures.add("attacks tried")
        shared = project(
            tmp_path / "shared",
            "mcpnb.toml",
            content=f'mcp_oauth_callback_url = "{fake.base}/cb"\n{TEAM}',
        )
        (shared / "mine").mkdir()
        monkeypatch.chdir(shared / "mine")

        configuration = read_configuration()
        assert (configuration.servers, configuration.settings) == ({}, {})
        assert [entry.name for entry in configuration.untrusted] == ["team"]
        assert fake.requests == []


class TestTrusted:
    @pytest.mark.threat("project-changed-after-trust")
    def test_it_counts_until_it_changes(self, work: Path) -> None:
        """Trust is in this content at this place."""
        file = work / "mcpnb.toml"
        file.write_text(TEAM)
        agree()
        assert mcpnb.connect("team").server == "https://team.example/mcp"

        file.write_text(TEAM + "# changed\n")
        with pytest.raises(errors.ConfigError, match="has changed since"):
            mcpnb.connect("team")
        file.write_text(TEAM)
        claudes(work, b={"url": "https://b"})
        assert names() == ["team"]

    @pytest.mark.threat("project-trusted-elsewhere")
    def test_the_same_content_elsewhere_is_not_trusted(
        self, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (work / "mcpnb.toml").write_text(TEAM)
        agree()
        (tmp_path / "mcpnb.toml").write_text(TEAM)
        monkeypatch.chdir(tmp_path)
        assert names() == []

    @pytest.mark.threat("project-swapped-during-review")
    def test_what_was_shown_is_what_is_trusted(self, work: Path) -> None:
        """A file exchanged while the person thinks is another file."""
        file = work / "mcpnb.toml"
        file.write_text(TEAM)
        (seen,) = review()
        file.write_text(HOSTILE)
        seen.agree()
        assert names() == []
        file.write_text(TEAM)
        assert names() == ["team"]

    @pytest.mark.threat("project-sends-the-answer-elsewhere")
    def test_even_then_it_opens_no_port_to_the_network(self, work: Path) -> None:
        """A callback address with a public host is the person's own to give."""
        (work / "mcpnb.toml").write_text(
            'mcp_oauth_callback_url = "https://hub.example/cb"\n[mcp_servers.a]\nurl = "https://a"\n'
            '[mcp_servers.a.oauth]\ncallback_url = "http://127.0.0.1:8080/cb"\n'
            '[mcp_servers.b]\nurl = "https://b"\noauth.callback_url = "https://hub.example/cb"'
        )
        agree()
        with pytest.warns(UserWarning, match="another machine") as caught:
            configuration = read_configuration()
        assert {str(w.message).split(": ")[1].split()[0] for w in caught} == {
            "mcp_oauth_callback_url",
            "mcp_servers.b.oauth.callback_url",
        }
        assert configuration.server("a").callback_url == "http://127.0.0.1:8080/cb"
        assert configuration.server("b").callback_url is None

    @pytest.mark.threat("callback-read-otherwise")
    @pytest.mark.parametrize(
        "url",
        [
            "http://evil.com\\@localhost/cb",
            "http://user@localhost/cb",
            "http://[bad",
            "http://localhost:99999/cb",
            "https://hub.example.com/cb#part",
            "javascript:alert(1)",
        ],
    )
    def test_a_callback_address_that_browsers_read_otherwise_is_refused(
        self, own: Path, url: str
    ) -> None:
        with pytest.raises(errors.ConfigError, match="callback_url"):
            mcpnb.connect("https://mcp.example.com/mcp", callback_url=url)
        own.write_text(f"mcp_oauth_callback_url = '{url}'\n{TEAM}")
        assert "callback_url" in invoke("login", "team", "--begin").expect(2).err

    def test_a_teams_files_work_as_they_are(self, work: Path, fake: FakeServer) -> None:
        """Codex's and Claude Code's, from a terminal, with secrets from the environment only."""
        seen: list[tuple[str | None, str | None]] = []

        def answer(request: Request) -> Reply:
            seen.append((request.headers.get("authorization"), request.headers.get("x-team")))
            return answer_to(request.json) if request.method == "POST" else Reply(405)

        fake.routes["/mcp"] = answer
        (work / ".codex").mkdir()
        (work / ".codex" / "config.toml").write_text(
            'model = "gpt-5"\n[mcp_servers.codex]\n'
            f'url = "{fake.url}"\nbearer_token_env_var = "TEAM_TOKEN"\n'
            'http_headers = { X-Team = "blue" }\nstartup_timeout_sec = 20\n'
            '[mcp_servers.local]\ncommand = "npx"\nargs = ["x"]\n'
        )
        headers = {"Authorization": "Bearer ${TEAM_TOKEN}", "X-Team": "${TEAM:-blue}"}
        claudes(work, claude={"url": "${TEAM_URL}", "headers": headers})
        given = {"TEAM_TOKEN": "s3cret", "TEAM_URL": fake.url}

        for name in ("codex", "claude"):
            refused = invoke("call", name, "echo", "text=hi", **given).expect(2)
            assert "mcpnb trust" in refused.err
        assert seen == []
        invoke("trust", "--yes").expect(0)
        for name in ("codex", "claude"):
            assert invoke("call", name, "echo", "text=hi", **given).expect(0).out == "hi\n"
            assert set(seen) == {("Bearer s3cret", "blue")}
            got = invoke("get", name, "--json", **given).expect(0)
            assert "s3cret" not in got.out + got.err


@posix
class TestLinks:
    @pytest.mark.threat("trust-by-symlink")
    @pytest.mark.parametrize("name", ["mcpnb.toml", ".codex/config.toml"])
    def test_a_link_to_a_trusted_file_is_not_trusted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Its helper's relative path would be a program of the folder that points there."""
        mine = project(tmp_path / "mine", name, content=HELPED)
        agree(mine)
        theirs = project(tmp_path / "theirs")
        link = ".codex" if "/" in name else name
        (theirs / link).symlink_to(mine / link)

        monkeypatch.chdir(theirs)
        assert names() == []
        with pytest.raises(errors.ConfigError, match="not trusted"):
            read_configuration().server("team")
        monkeypatch.chdir(mine)
        assert names() == ["team"]

    def test_a_link_is_shown_as_one_and_counts_once_it_is_agreed_to(
        self, tmp_path: Path, work: Path
    ) -> None:
        """Until what it leads to changes."""
        shared = tmp_path / "shared.toml"
        shared.write_text(TEAM)
        (work / "mcpnb.toml").symlink_to(shared)

        (found,) = review()
        assert found.lines[0] == f"is a link to {shared}"
        found.agree()
        assert names() == ["team"]
        shared.write_text(TEAM.replace("team.example", "evil.example"))
        assert names() == []

    def test_a_link_to_a_file_without_servers_is_shown_as_both(
        self, tmp_path: Path, work: Path
    ) -> None:
        empty = tmp_path / "empty.toml"
        empty.write_text("")
        (work / "mcpnb.toml").symlink_to(empty)
        (found,) = review()
        assert found.lines == (f"is a link to {empty}", "names no server")

    def test_the_same_folder_by_another_way_is_trusted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There every path of it leads to the same things."""
        mine = project(tmp_path / "mine", "mcpnb.toml")
        agree(mine)
        (tmp_path / "elsewhere").symlink_to(mine)
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert names() == ["team"]


class TestWithdrawing:
    def test_what_was_agreed_to_is_taken_back(
        self, world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From a folder below, too."""
        work = project(world / "work" / "inner", "mcpnb.toml", ".mcp.json", content=TEAM)
        (work / ".mcp.json").write_text('{"mcpServers": {}}')
        other = project(world / "other", "mcpnb.toml")
        for folder in (work, other):
            invoke("trust", str(folder), "--yes").expect(0)
        (work / "deep").mkdir()
        monkeypatch.chdir(work / "deep")

        done = invoke("trust", "--withdraw").expect(0)

        assert done.out == ""
        assert sorted(done.err.splitlines()) == [
            f"Not used any more: {work / '.mcp.json'}",
            f"Not used any more: {work / 'mcpnb.toml'}",
        ]
        assert len(review(work)) == 2
        assert review(other) == []
        again = invoke("trust", "--withdraw", str(work)).expect(0)
        assert "nothing to do" in again.err

    def test_also_for_files_and_folders_that_are_no_more(self, tmp_path: Path) -> None:
        """Or it would hold again for whoever puts the same content there."""
        work = project(tmp_path / "gone", "mcpnb.toml")
        agree(work)
        shutil.rmtree(work)
        done = invoke("trust", "--withdraw", str(work)).expect(0)
        assert f"Not used any more: {work / 'mcpnb.toml'}" in done.err
        project(tmp_path / "gone", "mcpnb.toml")
        assert len(review(work)) == 1

    def test_a_note_that_nobody_can_read_is_in_nobodys_way(self, own: Path) -> None:
        notes = own.parent / "trusted"
        notes.mkdir(parents=True)
        for number, text in enumerate(("", "[]", "{}", '{"path": 5}', "\0")):
            (notes / f"{number}.json").write_text(text)
        assert "nothing to do" in invoke("trust", "--withdraw").expect(0).err

    def test_usage_is_checked(self, tmp_path: Path) -> None:
        assert (
            "Do not combine it with --yes" in invoke("trust", "--withdraw", "--yes").expect(2).err
        )
        assert "no folder" in invoke("trust", str(tmp_path / "nowhere")).expect(2).err


class TestTheCommand:
    def test_it_shows_what_would_change_and_wants_a_yes(self, work: Path, mine: Path) -> None:
        """Without a terminal and without --yes nothing is trusted."""
        (work / "mcpnb.toml").write_text(HOSTILE)
        refused = invoke("trust").expect(2)
        for text in (
            f"{work / 'mcpnb.toml'}\n",
            "mcp_oauth_callback_url = https://evil.example/callback",
            "linear: https://evil.example/mcp",
            f"takes the place of linear in {mine}",
            "    uses the environment variable MY_SECRET\n",
            "    uses the environment variable MY_SECRET (sent as X-Key)\n",
            f"takes the place of linear in {mine}, where the address itself is given",
            "oauth_resource = https://mine.example/mcp",
            "oauth.callback_url = https://evil.example/callback",
        ):
            assert text in refused.out
        assert "--yes" in refused.err
        assert names() == ["linear"]

    def test_yes_is_for_scripts(self, work: Path, tmp_path: Path) -> None:
        (work / "mcpnb.toml").write_text(TEAM)
        assert "Trusted" in invoke("trust", "--yes").expect(0).err
        assert names() == ["team"]
        assert "already trusted" in invoke("trust").expect(0).err
        assert "no configuration" in invoke("trust", str(tmp_path)).expect(0).err

    @pytest.mark.slow
    def test_on_a_terminal_it_asks(self, work: Path) -> None:
        (work / "mcpnb.toml").write_text(TEAM)
        for answer, code, known in (("n", 1, []), ("y", 0, ["team"])):
            with OnTerminal("trust") as terminal:
                terminal.shows("[y/N]")
                terminal.type(f"{answer}\n")
                assert terminal.end() == code
            assert names() == known

    def test_a_file_that_cannot_be_understood_is_not_trusted(self, work: Path) -> None:
        (work / "mcpnb.toml").write_text("[broken")
        assert "not valid TOML" in invoke("trust", "--yes").expect(1).out

    @pytest.mark.threat("project-paints-the-terminal")
    def test_no_escape_sequence_of_a_file_reaches_the_terminal(self, work: Path, own: Path) -> None:
        (work / "mcpnb.toml").write_text(
            '[mcp_servers."a\\u001b[2J"]\nurl = "https://a\\u001b]0;x\\u0007"\nscopes = ["\\u202e"]'
        )
        own.write_text(
            '[mcp_servers.x]\nurl = "https://mcp.example.com/mcp"\n'
            'bearer_token_env_var = "A\\u001b[2J"\n'
        )
        tools = invoke("tools", "x")
        assert tools.code != 0
        for text in (
            *(invoke("trust").expect(2).out, tools.err + tools.out),
            *(repr(mcpnb.servers(probe=False)), invoke("list").expect(0).out),
        ):
            assert all(c.isprintable() or c == "\n" for c in text)

    @pytest.mark.threat("project-paints-the-terminal")
    @pytest.mark.parametrize(
        "content", ["[broken", "mcp_servers = 1", '[mcp_servers.x]\ncommand = "c"']
    )
    def test_no_escape_sequence_of_a_folders_name_is_in_a_message(
        self, tmp_path: Path, content: str
    ) -> None:
        file = tmp_path / "a\x1b[2J" / "mcpnb.toml"
        file.parent.mkdir()
        file.write_text(content)
        with pytest.raises(errors.ConfigError) as caught:
            read_configuration(file).server("x")
        assert str(caught.value).isprintable()

    @pytest.mark.slow
    def test_a_name_that_the_terminal_cannot_show_is_escaped(self, own: Path) -> None:
        own.write_text('[mcp_servers."名"]\nurl = "https://mcp.example.com/mcp"\n')
        done = run("list", "--no-probe", PYTHONIOENCODING="cp1252").expect(0)
        assert "\\u540d" in done.out
