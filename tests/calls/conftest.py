"""A real IPython, for what it makes of tools and results."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@pytest.fixture(scope="session")
def shell() -> Any:
    """Give an IPython that keeps nothing on disk."""
    config = Config({"HistoryManager": {"enabled": False}})
    return InteractiveShell(config=config)  # type: ignore[no-untyped-call]
