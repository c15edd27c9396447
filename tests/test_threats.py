"""The threat table and the tests agree, and a rule that is taken out is missed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import figures
from tests.house import ROOT
from tests.threats import PROMISES, THREATS, who_tries
from tests.threats.mutation import Rule, rules, without

RULES = list(rules())
REMOVALS = [
    pytest.param(threat, rule, id=f"{threat}-{rule.file}-{rule.line}")
    for rule in RULES
    for threat in rule.threats
    if without(rule) is not None
]
# What the tests read, beside the package: they run in a copy that has a rule less.
COPIED = ("mcpnb", "tests", "notebooks", "binder", "pyproject.toml")
FAILED = 1
_FALLEN_OVER = re.compile(r"^E +(ImportError|NameError|UnboundLocalError)\b", re.MULTILINE)


@pytest.mark.slow
def test_every_threat_has_its_test() -> None:
    assert sorted(THREATS) == sorted(who_tries())


def test_every_threat_has_an_id_of_its_own_that_reads_as_a_term() -> None:
    ids = [threat.id for rows in PROMISES.values() for threat in rows]
    assert len(set(ids)) == len(ids)
    assert [i for i in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", i)] == []


def test_every_threat_names_where_its_rule_comes_from() -> None:
    source = re.compile(
        r"RFC \d{4}|OAuth 2\.1|MCP 20\d\d|WHATWG|UTS|measured|design\.md|CWE-\d+|W3C|OpenID"
    )
    assert [t.id for t in THREATS.values() if not source.search(t.source)] == []


def test_every_rule_of_the_table_is_marked_in_the_code_and_every_mark_has_a_row() -> None:
    marked = {threat for rule in RULES for threat in rule.threats}
    assert sorted(marked) == sorted(i for i, threat in THREATS.items() if threat.marked)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("threat", "rule"), REMOVALS)
def test_a_rule_that_is_removed_is_missed(threat: str, rule: Rule, tmp_path: Path) -> None:
    copy = _copied(tmp_path)
    changed = without(rule)
    assert changed is not None
    (copy / "mcpnb" / rule.file).write_text(changed, "utf-8")

    tests = [test for test in who_tries()[threat] if not THREATS[threat].browser]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        check=False,
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == FAILED, ended.stdout[-2000:] + ended.stderr[-2000:]
    # A test failed, and nothing fell over before one could.
    assert " failed" in ended.stdout.splitlines()[-1], ended.stdout[-2000:]
    assert not _FALLEN_OVER.search(ended.stdout), ended.stdout[-2000:]
    figures.add("rules removed, and noticed")


def _copied(folder: Path) -> Path:
    copy = folder / "copy"
    copy.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("node_modules", "__pycache__", "images")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def test_the_table_has_the_promises_of_security_md_and_attacks_on_each() -> None:
    """SECURITY.md, “What is promised”: each point begins with the words that the table has."""
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    promised = text.partition("## What is promised now")[2].partition("\n## ")[0]
    points = re.findall(r"^- \*\*(.+?)\*\*", promised, re.MULTILINE | re.DOTALL)
    assert [" ".join(point.split()) for point in points] == list(PROMISES)
    assert all(PROMISES.values())
