"""What the command line says of itself."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest

import mcpnb.cli.running  # noqa: F401  registers all commands
from mcpnb.cli.group import cli
from tests.terminal import run

COMMANDS = sorted(cli.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_an_example_and_only_words_that_it_knows(command: str) -> None:
    """Its own options, and those of the commands that it names beside itself."""
    done = run(command, "--help").expect(0)

    before = done.out.partition("\nOptions:\n")[0].partition("\n")[2]
    examples = re.findall(r"mcpnb ([a-z-]+)([^\n\"')]*)", before)
    assert command in [name for name, _ in examples], "no example"
    for name, rest in examples:
        known = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, rest


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one_whole_sentence_in_the_list(command: str) -> None:
    """Nothing is cut off in a terminal of eighty columns."""
    listed = run("--help").expect(0).out
    (line,) = [line for line in listed.splitlines() if line.startswith(f"  {command} ")]

    assert line.endswith(".")
    assert not line.endswith("...")
    assert len(line) <= 80


def test_the_list_begins_with_what_one_needs_first() -> None:
    """By section, each command once, and none forgotten."""
    listed = run("--help").expect(0).out.partition("--help  Show this message and exit.")[2]
    found = re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE)

    assert sorted(name for name in found if name in COMMANDS) == COMMANDS
    assert found[:3] == ["login", "logout", "list"]
    assert "Others:" not in listed, "a new command wants a section"


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_help_has_the_line_for_each_shell(self, shell: str) -> None:
        assert f"_MCPNB_COMPLETE={shell}_source mcpnb" in run("--help").expect(0).out

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_that_line_gives_the_shell_what_it_takes(self, shell: str) -> None:
        if shell == "bash" and not _has_bash():
            pytest.skip("no bash of version 4.4")
        done = run(_MCPNB_COMPLETE=f"{shell}_source").expect(0)
        assert "_MCPNB_COMPLETE" in done.out


def _has_bash() -> bool:
    if sys.platform == "win32":
        return False
    try:
        said = subprocess.run(["bash", "--version"], capture_output=True, text=True, check=False)  # noqa: S607  the one of this machine
    except OSError:
        return False
    found = re.search(r"version (\d+)\.(\d+)", said.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= (4, 4)


def test_nothing_heavy_is_loaded_to_help() -> None:
    """It has to come at once: of what a sign-in or a call needs, nothing."""
    code = (
        "import sys\nfrom mcpnb.cli.running import run\nrun(['--help'])\n"
        "heavy = {'httpx', 'httpx2', 'mcp', 'authlib', 'cryptography', 'keyring', 'tomlkit', "
        "'rich', 'pydantic', 'ipywidgets'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == "[]\n"


def test_a_command_that_has_no_section_yet_is_listed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(cli.commands, "brand-new", click.Command("brand-new", help="It is new."))
    said = cli.get_help(click.Context(cli, info_name="mcpnb"))

    assert re.search(r"Others:\n  brand-new +It is new\.", said)
