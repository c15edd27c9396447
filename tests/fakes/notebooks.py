"""A notebook around this process: its kernel, its page, and the person there."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ipykernel
import IPython
import pytest

from mcpnb.panel import Panel
from tests.fakes.front_end import LAB, FrontEnd


class Notebook:
    """What `mcpnb.environment` looks at, and what stands in for the page and the person."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        *,
        allows_input: bool = True,
        hears: bool = True,
        version: tuple[int, ...] = (7, 4, 0),
    ) -> None:
        """Have this process be a kernel.

        Args:
            patch: Undoes it.
            allows_input: Whether there is somebody to be asked for a line of text.
            hears: Whether messages of the page arrive while a cell is running.
            version: Of ipykernel.
        """
        kernel = SimpleNamespace(_allow_stdin=allows_input)
        events = SimpleNamespace(trigger=lambda *_: None)  # told around each message
        shell = SimpleNamespace(kernel=kernel, events=events)
        patch.setattr(IPython, "get_ipython", lambda: shell)
        patch.setattr(ipykernel, "version_info", version)
        patch.setattr("mcpnb.panel.widget.show", self._show)
        patch.setattr(getpass, "getpass", self._ask)

        def display(panel: Panel) -> None:
            self._displayed(panel)

        patch.setattr(Panel, "_ipython_display_", display)
        patch.setattr("mcpnb.session.wait._PATIENCE", 0.3)  # of a page that never says a word
        self.hears = hears
        self.panels: list[FrontEnd] = []
        self.outputs: list[Any] = []
        self.kept: dict[str, Any] = {}
        """What the notebook's file has of outputs that have an id: the last of each."""
        self.prompts: list[str] = []
        self.typed: list[Callable[[], str]] = []
        """What the person types at each prompt, one after the other."""

    def _displayed(self, panel: Panel) -> None:
        front = FrontEnd(panel, LAB, hears=self.hears)
        self.panels.append(front)
        if self.hears:
            front.say("hello", page=front.page)

    def _show(self, data: Any, *, display_id: str = "", update: bool = False) -> None:
        assert update == (display_id in self.kept), "only what is there can be changed"
        if display_id:
            self.kept[display_id] = data
        self.outputs.append(data)

    def address(self, base: str) -> str:
        """Read the address to open from what the cell shows."""
        texts = "\n".join(data["text/plain"] for data in self.kept.values())
        [url] = re.findall(rf"{re.escape(base)}/authorize\?\S+", texts)[-1:]
        return str(url)

    def _ask(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.typed.pop(0)()

    @property
    def panel(self) -> FrontEnd:
        """The one panel that was shown."""
        [panel] = self.panels
        return panel
