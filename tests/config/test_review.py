"""What a project's file costs before anybody has agreed to it."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest

import mcpnb
from mcpnb.config import read_configuration, review
from mcpnb.config.files import File
from mcpnb.config.parse import document_of, parse
from mcpnb.errors import ConfigError
from tests.terminal import run

ENTRY = '[mcp_servers.team]\nurl = "https://mcp.example.com/mcp"\n'
KIB = 1024


@pytest.fixture
def project(world: Path) -> Path:
    """The folder that tests run in, below a repository's root."""
    return world / "work"


def filled(size: int) -> str:
    return ENTRY + "#" * (size - len(ENTRY))


class TestItsSize:
    @pytest.mark.threat("project-bomb")
    def test_a_larger_one_is_left_out_and_said_to_be_too_large(self, project: Path) -> None:
        (project / "mcpnb.toml").write_text(filled(64 * KIB + 1))

        with pytest.warns(UserWarning, match=r"mcpnb\.toml cannot be read: it has more than 64 K"):
            found = read_configuration()

        assert found.untrusted == ()
        with pytest.warns(UserWarning, match="64 KiB"):
            [seen] = review()
        assert "more than 64 KiB" in seen.problem
        with pytest.raises(ConfigError, match="64 KiB"):
            seen.agree()

    @pytest.mark.slow
    @pytest.mark.threat("project-bomb")
    def test_so_the_terminal_says(self, project: Path) -> None:
        (project / ".mcp.json").write_text(" " * (64 * KIB + 1))
        listed, trusted = run("list", "--no-probe"), run("trust", "--yes")
        assert (listed.code, trusted.code) == (0, 1)
        assert ".mcp.json cannot be read: it has more than 64 KiB" in listed.err
        assert ".mcp.json cannot be read: it has more than 64 KiB" in trusted.out

    def test_one_of_just_that_size_counts(self, project: Path) -> None:
        (project / "mcpnb.toml").write_text(filled(64 * KIB))
        assert [entry.name for entry in read_configuration().untrusted] == ["team"]
        [seen] = review()
        seen.agree()
        assert list(read_configuration().servers) == ["team"]

    def test_the_persons_own_may_be_larger(self, world: Path) -> None:
        folder = world / "xdg" / "config" / "mcpnb"
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(filled(200 * KIB))
        assert mcpnb.connect("team", store="memory").server == "https://mcp.example.com/mcp"


class TestItsContent:
    @pytest.mark.threat("project-bomb")
    def test_no_names_like_its_unknown_keys_are_looked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing of it is told, and 64 KiB of them take seconds."""
        looked: list[str] = []

        def look(word: str, *_: object, **__: object) -> list[str]:
            looked.append(word)
            return []

        monkeypatch.setattr(difflib, "get_close_matches", look)
        file = File(Path("/x/mcpnb.toml"), "project")
        content = f'mcp_server = 1\n{ENTRY}urk = 1\noauth.client = "x"\n'.encode()

        parse(file, content, trusted=False)
        assert looked == []
        with pytest.warns(UserWarning, match="unknown key"):
            parse(file, content, trusted=True)
        assert looked

    @pytest.mark.threat("project-bomb")
    @pytest.mark.parametrize("part", ["a", '"a b"', "'a!'", "a" + " " * 9, "a" + "\t" * 30])
    def test_a_key_of_many_parts_is_refused_however_they_are_written(self, part: str) -> None:
        """The parser's time grows with the square of them."""
        for text in (f"{'.'.join([part] * 100)} = 1\n", f"[x]\n[ {'.'.join([part] * 100)} ]\n"):
            with pytest.raises(ConfigError, match="more than 64 parts"):
                document_of(File(Path("/x/mcpnb.toml"), "project"), text.encode())

    def test_a_key_of_a_few_parts_and_a_text_of_many_are_not(self) -> None:
        text = f'[a . "b.c" . d]\n# {"..." * 100}\ne = "{"Look here. And there. " * 100}"\n'
        document, _ = document_of(File(Path("/x/mcpnb.toml"), "project"), text.encode())
        assert list(document["a"]["b.c"]["d"]) == ["e"]

    @pytest.mark.threat("project-bomb")
    @pytest.mark.timeout(15)
    @pytest.mark.parametrize("word", ["a", "a'", '\\"', "a" * 199 + " ", "a." * 62 + "! "])
    def test_looking_for_such_a_key_takes_no_longer_for_any_text(self, word: str) -> None:
        """Half a minute, once, for the first of them."""
        text = "# " + word * (5_000_000 // len(word))
        document, _ = document_of(File(Path("/x/config.toml"), "own"), text.encode())
        assert document == {}

    @pytest.mark.threat("project-bomb")
    @pytest.mark.timeout(15)
    def test_variables_that_never_end_take_no_longer_than_other_text(self, project: Path) -> None:
        """Six seconds for each reading of the address once, before anybody agreed to the file."""
        url = "${a:-" * (60 * KIB // 5)
        servers = {"team": {"type": "http", "url": url}}
        (project / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
        for _ in range(10):
            [seen] = review()
            assert seen.lines[0].startswith("team: ${a:-")
