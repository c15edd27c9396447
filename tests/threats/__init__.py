"""The threat table: every attack has a name, a rule with its source, and tests that try it.

`table.toml` is the table. Tests say which attack they try with `@pytest.mark.threat("mix-up")`;
`tests/test_threats.py` checks that table, tests and SECURITY.md agree. A comment
``# threat: mix-up`` in the code marks the rule: `tests/run long` takes the marked line out and sees
the row's tests fail.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Threat:
    """One attack; the head of `table.toml` says what the fields mean."""

    id: str
    attack: str
    rule: str
    source: str
    marked: bool = True
    browser: bool = False


PROMISES: dict[str, tuple[Threat, ...]] = {}
"""The attacks on each promise, by the words that it begins with in SECURITY.md."""

for _rows in tomllib.loads(Path(__file__).with_name("table.toml").read_text("utf-8"))["promise"]:
    _words = _rows.pop("words")
    PROMISES[_words] = tuple(Threat(name, **row) for name, row in _rows.items())

THREATS = {threat.id: threat for rows in PROMISES.values() for threat in rows}
"""All rows by their id."""
