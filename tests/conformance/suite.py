"""Runs one scenario of the official suite and reads what it found, strictly."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENT = HERE / "client.py"
TIMEOUT_MS = 60_000
GOOD = {"SUCCESS", "INFO"}


def node_modules() -> Path | None:
    """Find the folder with Node 22 and the suite: `tests/node`, or $MCPNB_TEST_NODE."""
    given = os.environ.get("MCPNB_TEST_NODE")
    folder = Path(given) if given else HERE.parent / "node" / "node_modules"
    wanted = (folder / ".bin" / "node", folder / ".bin" / "conformance")
    return folder if all(found.exists() for found in wanted) else None


def scored(version: str) -> set[str]:
    """Give the client scenarios that the suite itself scores for a version of the specification."""
    folder = node_modules()
    assert folder is not None, "no Node here"
    lists = folder / "@modelcontextprotocol" / "conformance" / "requirements" / f"{version}.yaml"
    # One flat list under a top-level key: no YAML parser is worth a dependency for that.
    section = re.search(r"^client:\n((?:  - .+\n)+)", lists.read_text(), re.MULTILINE)
    assert section is not None, f"{lists} has no client scenarios"
    return {line.removeprefix("  - ").strip() for line in section[1].splitlines()}


@dataclass(frozen=True)
class Outcome:
    """What one scenario showed."""

    exit_code: int
    client_exit_code: int
    """What the client under test ended with; the suite forgives it in negative scenarios."""
    said: str
    """The suite's own report."""
    last_line: str
    """The last line that the client printed."""
    crashed: bool
    checks: tuple[tuple[str, str], ...]
    """Name and status of each check."""

    def wrong(self, skipped: set[str] | None = None) -> list[str]:
        """List everything that a strict reading does not let pass.

        Args:
            skipped: Names of checks that may be, and have to be, SKIPPED.
        """
        found = [f"{name}: {status}" for name, status in self.checks if status not in GOOD]
        expected = {f"{name}: SKIPPED" for name in skipped or ()}
        found = [line for line in found if line not in expected]
        found += [f"not seen: {line}" for line in expected - set(map(": ".join, self.checks))]
        if self.exit_code:
            found.append(f"the suite ended with {self.exit_code}")
        if "timed out" in self.said.lower():
            found.append("the client timed out")
        if "SUCCESS" not in {status for _, status in self.checks}:
            found.append("no check succeeded: the scenario did not run")
        if self.crashed:
            found.append("the client crashed")
        return found


def run(scenario: str, version: str, output: Path, client: Path = CLIENT) -> Outcome:
    """Play one scenario against a client; `output` gets what the suite writes."""
    folder = node_modules()
    assert folder is not None, "no Node here"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCPNB_")}
    path = os.pathsep.join((str(folder / ".bin"), kept.get("PATH", "")))
    # The suite splits the command at spaces and hands it to a shell with the URL last.
    command = shlex.join((sys.executable, "-W", "error", str(client)))
    finished = subprocess.run(
        [
            *(str(folder / ".bin" / "conformance"), "client", "--command", command),
            *("--scenario", scenario, "--spec-version", version),
            *("--timeout", str(TIMEOUT_MS), "--output-dir", str(output)),
        ],
        env=kept | {"PATH": path, "MCPNB_HOME": str(output / "home"), "PYTHONUNBUFFERED": "1"},
        cwd=output,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_MS / 1000 + 30,
        check=False,
    )
    said = finished.stdout + finished.stderr
    ended = re.search(r"^Client exited with code (-?\d+)$", said, re.MULTILINE)
    lines = _written(output, "stdout.txt").splitlines()
    return Outcome(
        exit_code=finished.returncode,
        client_exit_code=int(ended[1]) if ended else 0,
        said=said,
        last_line=lines[-1] if lines else "",
        crashed="Traceback (most recent call last)" in _written(output, "stderr.txt"),
        checks=tuple(
            (check["name"], check["status"])
            for check in json.loads(_written(output, "checks.json") or "[]")
        ),
    )


def _written(output: Path, name: str) -> str:
    return "".join(found.read_text() for found in output.rglob(name))
