"""What the command line says of itself, and how fast."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import mcpnb
from mcpnb.cli.app import with_commands
from tests.terminal import MCPNB, invoke, run

COMMANDS = with_commands().commands


@pytest.mark.parametrize("command", COMMANDS)
class TestEachCommand:
    def test_explains_itself_and_its_options(self, command: str) -> None:
        """Every option in words, no line wider than a terminal, nothing left of click's marks."""
        done = invoke(command, "--help").expect(0)

        assert done.out.startswith(f"Usage: mcpnb {command} ")
        assert max(map(len, done.out.splitlines())) <= 80
        assert "\b" not in done.out
        options = done.out.partition("Options:\n")[2]
        for line in options.splitlines():
            if line.startswith("  -"):
                name, _, words = line.strip().partition("  ")
                following = options.partition(line + "\n")[2].partition("\n")[0]
                assert words or following.startswith("     "), f"{name} says nothing"

    def test_has_an_example_and_only_words_that_it_knows(self, command: str) -> None:
        """Its own options, and those of other commands that it names."""
        done = invoke(command, "--help").expect(0)

        before = done.out.partition("\nOptions:\n")[0].partition("\n")[2]
        examples = re.findall(r"mcpnb ([a-z-]+)([^\n\"')]*)", before)
        assert command in [name for name, _ in examples], "no example"
        for name, rest in examples:
            known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, rest

    def test_is_one_whole_sentence_in_the_list(self, command: str) -> None:
        """Nothing is cut off in a terminal of eighty columns."""
        listed = invoke("--help").expect(0).out
        (line,) = [line for line in listed.splitlines() if line.startswith(f"  {command} ")]

        assert line.endswith(".")
        assert not line.endswith("...")
        assert len(line) <= 80


class TestTheList:
    def test_begins_with_what_one_needs_first(self) -> None:
        """By section, each command once, and none forgotten."""
        done = invoke("--help").expect(0)
        listed = done.out.partition("--help  Show this message and exit.")[2]
        found = re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE)

        shown = sorted(name for name in found if name in COMMANDS)
        assert shown == sorted(COMMANDS), "a new command wants a section"
        assert found[:3] == ["login", "logout", "list"]
        assert done.err == ""

    def test_comes_with_nothing_heavy_loaded(self) -> None:
        """It has to come at once: nothing of what a sign-in or a call needs."""
        code = (
            "import sys\nfrom mcpnb.cli.app import run\nrun(['--help'])\n"
            "heavy = {'httpx', 'httpx2', 'mcp', 'authlib', 'cryptography', 'keyring', 'tomlkit', "
            "'rich', 'pydantic', 'ipywidgets'}\n"
            "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stderr == "[]\n"


def test_the_version_is_told() -> None:
    assert mcpnb.__version__ in invoke("--version").expect(0).out


def test_the_help_of_token_has_the_line_for_each_client() -> None:
    said = invoke("token", "--help").expect(0).out

    assert 'http_headers_helper = "mcpnb token SERVER --header --json"' in said
    assert '"headersHelper": "mcpnb token SERVER --header --json"' in said


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_line_in_the_help_gives_the_shell_what_it_takes(self, shell: str) -> None:
        assert f"_MCPNB_COMPLETE={shell}_source mcpnb" in invoke("--help").expect(0).out
        done = run(_MCPNB_COMPLETE=f"{shell}_source")
        if "completion is not supported" in done.err:
            pytest.skip("no bash of version 4.4")
        assert "_MCPNB_COMPLETE" in done.expect(0).out

    @pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")
    def test_a_shell_completes_commands(self) -> None:
        asked = {"_MCPNB_COMPLETE": "bash_complete", "COMP_WORDS": "mcpnb lo", "COMP_CWORD": "1"}
        done = subprocess.run(
            MCPNB, env=os.environ | asked, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.stdout.split() == ["plain,login", "plain,logout"]
