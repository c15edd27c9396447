"""Agreeing to a project's files, and taking it back: by place and content, whatever leads there."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from mcpnb import errors
from mcpnb.config import read_configuration, review
from tests.terminal import run

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and scripts of POSIX")

TEAM = '[mcp_servers.team]\nurl = "https://team.example/mcp"\n'
HELPED = f'{TEAM}http_headers_helper = "./give"\n'


def project(folder: Path, *files: str, content: str = TEAM) -> Path:
    """Make a repository with these files."""
    (folder / ".git").mkdir(parents=True)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


def agree(folder: Path) -> None:
    for each in review(folder):
        each.agree()


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
        link, target = (name, mine / name)
        if "/" in name:
            link, target = ".codex", mine / ".codex"
        (theirs / link).symlink_to(target)

        monkeypatch.chdir(theirs)
        assert read_configuration().servers == {}
        with pytest.raises(errors.ConfigError, match="not trusted"):
            read_configuration().server("team")
        monkeypatch.chdir(mine)
        assert list(read_configuration().servers) == ["team"]

    def test_a_link_is_shown_as_one_and_counts_once_it_is_agreed_to(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until what it leads to changes."""
        shared = tmp_path / "shared.toml"
        shared.write_text(TEAM)
        mine = project(tmp_path / "mine")
        (mine / "mcpnb.toml").symlink_to(shared)
        monkeypatch.chdir(mine)

        (found,) = review()
        assert found.lines[0] == f"is a link to {shared}"
        found.agree()
        assert list(read_configuration().servers) == ["team"]
        shared.write_text(TEAM.replace("team.example", "evil.example"))
        assert read_configuration().servers == {}

    def test_the_same_folder_by_another_way_is_trusted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There every path of it leads to the same things."""
        mine = project(tmp_path / "mine", "mcpnb.toml")
        agree(mine)
        (tmp_path / "elsewhere").symlink_to(mine)

        monkeypatch.chdir(tmp_path / "elsewhere")
        assert list(read_configuration().servers) == ["team"]


class TestWithdrawing:
    @pytest.mark.slow
    def test_what_was_agreed_to_is_taken_back(self, world: Path) -> None:
        work = project(world / "work" / "inner", "mcpnb.toml", ".mcp.json", content=TEAM)
        (work / ".mcp.json").write_text('{"mcpServers": {}}')
        other = project(world / "other", "mcpnb.toml")
        for folder in (work, other):
            run("trust", str(folder), "--yes").expect(0)

        done = run("trust", "--withdraw", str(work)).expect(0)

        assert done.out == ""
        assert sorted(done.err.splitlines()) == [
            f"Not used any more: {work / '.mcp.json'}",
            f"Not used any more: {work / 'mcpnb.toml'}",
        ]
        assert len(review(work)) == 2
        assert review(other) == []
        again = run("trust", "--withdraw", str(work)).expect(0)
        assert "nothing to do" in again.err

    @pytest.mark.slow
    def test_also_for_files_and_folders_that_are_no_more(self, tmp_path: Path) -> None:
        """Or it would hold again for whoever puts the same content there."""
        work = project(tmp_path / "gone", "mcpnb.toml")
        run("trust", str(work), "--yes").expect(0)
        shutil.rmtree(work)

        done = run("trust", "--withdraw", str(work)).expect(0)

        assert f"Not used any more: {work / 'mcpnb.toml'}" in done.err
        project(tmp_path / "gone", "mcpnb.toml")
        assert len(review(work)) == 1

    def test_a_folder_below_reaches_what_counts_there(
        self, world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        work = project(world / "work" / "repository", "mcpnb.toml")
        agree(work)
        (work / "deep").mkdir()
        monkeypatch.chdir(work / "deep")

        run("trust", "--withdraw").expect(0)

        assert len(review(work)) == 1

    def test_a_note_that_nobody_can_read_is_in_nobodys_way(self, world: Path) -> None:
        notes = world / "xdg" / "config" / "mcpnb" / "trusted"
        notes.mkdir(parents=True)
        for number, text in enumerate(("", "[]", "{}", '{"path": 5}', "\0")):
            (notes / f"{number}.json").write_text(text)

        assert "nothing to do" in run("trust", "--withdraw").expect(0).err

    @pytest.mark.slow
    def test_usage_is_checked(self, tmp_path: Path) -> None:
        assert "not with --yes" in run("trust", "--withdraw", "--yes").expect(2).err
        assert "no folder" in run("trust", str(tmp_path / "nowhere")).expect(2).err


class TestWhatIsShown:
    """A value that is too long to show is said to be, and its end is shown."""

    @pytest.mark.threat("review-hides-text")
    @pytest.mark.parametrize("key", ["http_headers_helper", "url", "oauth_resource"])
    def test_nothing_hides_behind_a_long_beginning(self, world: Path, key: str) -> None:
        value = "https://good.example/" + " " * 3_000 + "; rm -rf EVIL"
        lines = {"url": "https://team.example/mcp"} | {key: value}
        toml = "".join(f"{name} = {json.dumps(text)}\n" for name, text in lines.items())
        (world / "work" / "mcpnb.toml").write_text(f"[mcp_servers.team]\n{toml}")

        said = run("trust").expect(2).out

        assert "EVIL" in said
        assert f"of {len(value)} characters are not shown here: look into the file" in said

    @pytest.mark.threat("review-hides-text")
    def test_nor_behind_a_long_list(self, world: Path) -> None:
        many = [f"tool{number}" for number in range(60)]
        (world / "work" / "mcpnb.toml").write_text(f"{TEAM}enabled_tools = {json.dumps(many)}\n")

        said = run("trust").expect(2).out

        assert "tool49" in said
        assert "and 10 more" in said

    def test_nor_a_variable_behind_its_header(self, world: Path) -> None:
        name = "X-" + "a" * 400
        (world / "work" / "mcpnb.toml").write_text(f'{TEAM}env_http_headers = {{{name} = "V"}}\n')

        assert f"variable V (sent as {name})" in run("trust").expect(2).out
