"""Fresh processes with a world of logins of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench import ROOT

PATIENCE = 60

SIGN_IN = """
import sys, mcpnb
from tests.fakes.people import sign_in
sign_in(mcpnb.connect(sys.argv[1], store="file", callback_port=0))
"""
CALL = """
import sys, mcpnb
print(mcpnb.connect(sys.argv[1], store="file").call("echo", text="hello").text)
"""


def environment(home: Path) -> dict[str, str]:
    """Give an environment where no login, key or setting of this person's is used."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCPNB_")}
    # A keyring that is always refused: the person's own one is not for measurements.
    return kept | {
        "MCPNB_HOME": str(home),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH")))),
    }


def finish(command: list[str], home: Path) -> str:
    """Run a command to its successful end and give what it printed."""
    finished = subprocess.run(
        command,
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"{command} ended with {finished.returncode}:\n{finished.stderr}")
    return finished.stdout


def sign_in(url: str, home: Path) -> None:
    """Sign in to `url` in a fresh process, kept in files under `home`."""
    finish([sys.executable, "-c", SIGN_IN, url], home)


def call(url: str, home: Path) -> None:
    """Call a tool in a fresh process."""
    said = finish([sys.executable, "-c", CALL, url], home).strip()
    if said != "hello":
        raise RuntimeError(f"the call gave {said!r}")
