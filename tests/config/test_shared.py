"""One configuration file, and several programs that change it at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest

from mcpnb import errors
from mcpnb.config import add_server, files, remove_server
from mcpnb.config.files import changing
from tests.terminal import run

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")

# The command line, ready before it is told to go: what is left are milliseconds of reading and
# writing, in all of them at the same time.
READY = """
import sys
import tomlkit
import mcpnb.cli.adding, mcpnb.oauth.urls, mcpnb.oauth.scopes
from mcpnb.cli.running import run
print("ready", flush=True)
sys.stdin.readline()
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def own(world: Path) -> Path:
    return world / "xdg" / "config" / "mcpnb" / "config.toml"


def names(file: Path) -> set[str]:
    return set(tomllib.loads(file.read_text()).get("mcp_servers", {}))


def at_once(*commands: list[str]) -> list[tuple[int, str]]:
    """Run commands at the same time; give the exit code and the words of each."""
    with ExitStack() as held:
        running = [
            held.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", READY, *command],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
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


def adding(name: str, *more: str) -> list[str]:
    return ["add", name, "--url", f"https://{name}.example/mcp", "--no-login", *more]


@pytest.mark.slow
@pytest.mark.parametrize("link", [False, True], ids=["one name", "and a link"])
def test_eight_programs_that_add_at_once_lose_nothing(
    own: Path, tmp_path: Path, *, link: bool
) -> None:
    """Whatever way they name the file by."""
    own.parent.mkdir()
    own.write_text('# by hand\n[mcp_servers.first]\nurl = "https://first.example"\n')
    (tmp_path / "link.toml").symlink_to(own)
    by_link = ["--config", str(tmp_path / "link.toml")] if link else []

    done = at_once(*(adding(f"s{n}", *(by_link if n % 2 else [])) for n in range(8)))

    assert [code for code, _ in done] == [0] * 8, done
    assert names(own) == {"first", *(f"s{n}" for n in range(8))}
    assert own.read_text().startswith("# by hand\n")


@pytest.mark.slow
def test_additions_and_removals_at_once_all_happen(own: Path) -> None:
    for n in range(4):
        add_server(own, f"old{n}", {"url": "https://old.example"})

    done = at_once(
        *(adding(f"new{n}") for n in range(4)), *(["remove", f"old{n}"] for n in range(4))
    )

    assert [code for code, _ in done] == [0] * 8, done
    assert names(own) == {f"new{n}" for n in range(4)}


@pytest.mark.slow
def test_of_two_that_want_one_name_the_second_is_told(own: Path) -> None:
    """It read the file before the first one wrote it, and looks again."""
    done = at_once(*(adding("same") for _ in range(6)))

    assert sorted(code for code, _ in done) == [0, 2, 2, 2, 2, 2], done
    assert all("--force takes its place" in said for code, said in done if code)
    assert names(own) == {"same"}


def test_one_that_holds_on_is_told_about(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.05)
    with changing(own):
        with pytest.raises(errors.ConfigError, match="changed by another mcpnb"):
            add_server(own, "a", {"url": "https://a.example"})
        with pytest.raises(errors.ConfigError, match="changed by another mcpnb"):
            remove_server(own, "a")
    assert not own.exists()
    add_server(own, "a", {"url": "https://a.example"})
    assert names(own) == {"a"}


@pytest.mark.slow
def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    """A repository that a team's file lies in gets no file of ours."""
    file = tmp_path / "team.toml"
    run(*adding("a", "--config", str(file))).expect(0)
    assert [path.name for path in tmp_path.iterdir()] == ["team.toml"]


@pytest.mark.slow
@posix
def test_a_home_that_cannot_be_written_is_no_reason_not_to_change_a_file_elsewhere(
    tmp_path: Path,
) -> None:
    """Then the lock lies beside the file. Not even root can make a folder in /proc."""
    file = tmp_path / "team.toml"
    nowhere = {name: "/proc/nowhere" for name in os.environ if name.startswith("XDG_")}
    run(*adding("a", "--config", str(file)), HOME="/proc/nowhere", **nowhere).expect(0)
    assert names(file) == {"a"}
