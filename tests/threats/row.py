"""What a row of the threat table says."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Removed", "Threat"]


@dataclass(frozen=True)
class Removed:
    """How a rule is taken out of the code, to see its tests fail.

    Attributes:
        file: Path from the repository's root.
        rule: Text that is in the file exactly once.
        instead: What takes its place; the file still has to be importable.
    """

    file: str
    rule: str
    instead: str


@dataclass(frozen=True)
class Threat:
    """One attack.

    Attributes:
        id: Short name in lower case with hyphens, the field's own term where it has one.
        attack: What somebody tries, in one sentence.
        rule: What mcpnb does about it, in one sentence.
        source: RFC or specification and section, or the measured fact.
        removed: Where the rule is, each place tried by itself.
        browser: Its tests need Chromium, npm or a Secret Service: they are not run again without
            the rule.
    """

    id: str
    attack: str
    rule: str
    source: str
    removed: tuple[Removed, ...] = ()
    browser: bool = False
