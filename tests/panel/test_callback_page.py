"""The callback page as a file: it may run its own script and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

import mcpnb

PAGE = (Path(mcpnb.__file__).parent / "panel" / "callback.html").read_text("utf-8")


def _policy() -> dict[str, str]:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', PAGE)
    assert found is not None
    return dict(part.strip().split(" ", 1) for part in found[1].split(";"))


@pytest.mark.threat("callback-page-policy")
@pytest.mark.parametrize("tag", ["script", "style"])
def test_the_policy_names_the_one_block_that_is_there(tag: str) -> None:
    """Whoever changes the block finds here what the policy has to say then."""
    (content,) = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", PAGE, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    assert _policy()[f"{tag}-src"] == f"'sha256-{digest}'"


@pytest.mark.threat("callback-page-policy")
def test_everything_else_is_forbidden() -> None:
    policy = _policy()

    assert {name: policy[name] for name in ("default-src", "base-uri", "form-action")} == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert set(policy) == {"default-src", "base-uri", "form-action", "script-src", "style-src"}


@pytest.mark.threat("callback-page-referrer")
def test_it_is_recognised_and_leaks_no_address() -> None:
    """The panel looks for the marker; the page's own address holds a code."""
    assert "mcpnb-callback-page" in PAGE
    assert '<meta name="referrer" content="no-referrer">' in PAGE
    assert re.findall(r"(?:src|href|action)=|https?://|\bon[a-z]+=|style=|innerHTML", PAGE) == []
