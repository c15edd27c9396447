"""Measurements: `python -m tests.bench [NAME...]`."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where `tests` can be imported from: for processes that are started elsewhere."""


def environment(home: Path) -> dict[str, str]:
    """Return an environment where no login, key or setting of this person's is used."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MCPNB_")}
    # A keyring that is always refused: the person's own one is not for measurements.
    return kept | {
        "MCPNB_HOME": str(home),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH")))),
    }
