"""What a row of the threat table says."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Threat"]


@dataclass(frozen=True)
class Threat:
    """One attack.

    Attributes:
        id: Short name in lower case with hyphens, the field's own term where it has one.
        attack: What somebody tries, in one sentence.
        rule: What mcpnb does about it, in one sentence.
        source: RFC or specification and section, or the measured fact.
        marked: A comment ``# threat: id`` stands at the rule in the code.
        browser: Its tests need Chromium, npm or a Secret Service: they are not run again without
            the rule.
    """

    id: str
    attack: str
    rule: str
    source: str
    marked: bool = True
    browser: bool = False
