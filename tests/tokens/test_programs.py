"""Where a configured command's program is looked for, by the rules of POSIX and of Windows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mcpnb.tokens.static import first_word, program_path

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with two programs."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("give", "give.EXE", "other.CMD"):
        (folder / name).write_text("")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("give --all", "give"),
        ('"C:\\Program Files\\give.exe" --all', "C:\\Program Files\\give.exe"),
        ("  C:\\tools\\give.exe", "C:\\tools\\give.exe"),
        ('"give', "give"),
        ('x" y', 'x"'),
        ("", ""),
        ("   ", ""),
    ],
)
def test_windows_command_lines_begin_with_their_program(line: str, word: str) -> None:
    assert first_word(line) == word


class TestOnWindows:
    def test_a_name_is_found_with_each_ending_in_turn(self, tools: Path) -> None:
        environ = {"PATH": f"/nowhere;{tools}", "PATHEXT": ".COM;.EXE;.CMD"}
        for word, found in (("give", "give.EXE"), ("give.EXE", "give.EXE"), ("other", "other.CMD")):
            assert program_path(word, tools, environ, windows=True) == tools / found
        # Without an ending that says so, it is no program there.
        assert program_path("give", tools, environ | {"PATHEXT": ".COM"}, windows=True) is None

    @pytest.mark.threat("helper-of-the-working-folder")
    def test_the_working_folder_is_not_looked_into(
        self, tools: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As Windows itself would do, first of all, and `shutil.which` with it."""
        monkeypatch.chdir(tools)
        for path in ("", ".", ".;;", "..\\tools", "tools;.\\"):
            assert program_path("give", tools.parent, {"PATH": path}, windows=True) is None

    @pytest.mark.parametrize("word", ["bin/give", ".\\give", "bin\\give", "C:give"])
    def test_a_path_is_one_beneath_the_files_folder(self, tmp_path: Path, word: str) -> None:
        assert program_path(word, tmp_path, {"PATH": ""}, windows=True) == tmp_path / word


@posix
class TestOnPosix:
    def test_only_what_may_be_run_is_a_program(self, tools: Path) -> None:
        (tools / "give").chmod(0o644)
        environ = {"PATH": os.pathsep.join(["relative", str(tools)])}
        assert program_path("give", tools, environ) is None
        (tools / "give").chmod(0o755)
        assert program_path("give", tools, environ) == tools / "give"
