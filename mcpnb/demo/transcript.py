"""How the demo's story looks: numbered steps, what was typed, checked and sent."""

from __future__ import annotations

import time
from collections import Counter
from typing import TextIO

from rich.console import Console
from rich.text import Text

__all__ = ["StoryError", "Transcript"]

WIDTH = 100


class StoryError(Exception):
    """A step did not happen as told; the message says which fact is missing."""


class Transcript:
    """Writes a story, in colours on a terminal and plainly elsewhere.

    Every fact is checked before it is written: `fact` does both.
    """

    def __init__(self, out: TextIO) -> None:
        plain = not out.isatty()
        self._console = Console(
            file=out, highlight=False, soft_wrap=True, width=WIDTH if plain else None
        )
        self._encoding = getattr(out, "encoding", None) or "utf-8"
        unicode = self._encoding.lower().replace("-", "").startswith("utf")
        self._done, self._failed, self._sent = ("✓", "✗", "→") if unicode else ("+", "!", ">")
        self._start = time.monotonic()
        self.steps = 0

    def line(self, text: str = "", style: str = "", indent: int = 0) -> None:
        """Write one line of text, whatever characters a server put into it."""
        safe = text.encode(self._encoding, "replace").decode(self._encoding)
        self._console.print(Text(" " * indent + safe, style=style))

    def title(self, text: str) -> None:
        """Write the first line."""
        self.line(text, "bold")

    def step(self, text: str) -> None:
        """Begin a step."""
        self.steps += 1
        self.line()
        self.line(f"{self.steps}. {text}", "bold cyan")

    def typed(self, code: str) -> None:
        """Show what a person types for this."""
        self.line(f">>> {code}", "dim", 3)

    def shown(self, text: str) -> None:
        """Show what a person sees."""
        for line in text.splitlines():
            self.line(line, indent=3)

    def fact(self, holds: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Tell something that was checked.

        Raises:
            StoryError: It is not so.
        """
        if not holds:
            raise StoryError(f"this is not so: {text}")
        self._marked(self._done, text, "green")

    def sent(self, where: str, answers: list[tuple[str, str, int]]) -> None:
        """Show requests and their status, equal ones counted."""
        if not answers:
            return
        counted = Counter(answers)
        parts = [
            f"{method} {path} {status}" + (f" (x{number})" if number > 1 else "")
            for (method, path, status), number in counted.items()
        ]
        for index in range(0, len(parts), 3):
            # The server is named once.
            name = where if index == 0 else " " * len(where)
            self.line(f"{self._sent} {name}  {', '.join(parts[index : index + 3])}", "dim", 3)

    def failed(self, text: str) -> None:
        """Tell why the story ends here."""
        self._marked(self._failed, text, "bold red")

    def _marked(self, mark: str, text: str, style: str) -> None:
        line = Text("   ").append(mark, style).append(" ")
        line.append(text.encode(self._encoding, "replace").decode(self._encoding))
        self._console.print(line)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._start
