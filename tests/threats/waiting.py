"""The rows of a sign-in that waits: who sees its address, and what comes to its port."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


_FEW = "if why in self._ignored or len(self._ignored) >= _MOST_IGNORED:"

ROWS = (
    Threat(
        "command-in-a-scope",
        "A server names a scope that a shell takes for a command, in a line that people copy.",
        "Only scope tokens are kept, and a suggested command quotes them for the shell.",
        "RFC 6749 section 3.3; CWE-78",
    ),
    Threat(
        "answer-that-a-page-loads",
        "A picture, frame or script of a page delivers an answer of its own, with the right state.",
        "Where a browser says that nobody goes there, it is refused before anything counts.",
        "W3C Fetch Metadata; RFC 9700 section 4.7",
    ),
    Threat(
        "authorization-url-in-a-process-list",
        "Another user of the machine reads the address off a browser's command line.",
        "It holds a one-time address of the listener; whoever comes second is told.",
        "CWE-214; RFC 9700 section 4.7",
    ),
    Threat(
        "pending-sign-in-prolonged",
        "Each page that shows a panel keeps an address good that somebody has seen.",
        "Its end stays.",
        "RFC 9700 section 4.2.4; measured: 20 seconds became 300",
    ),
    Threat(
        "address-in-a-saved-notebook",
        "A reader of the notebook's file takes the pending address out of a cell's output.",
        "The output is replaced when the wait ends.",
        "CWE-532; measured in a saved notebook",
    ),
    Threat(
        "flood-of-answers",
        "A page sends thousands of forged answers, to fill panel, terminal and memory.",
        "A reason is noted once, and few are.",
        "CWE-770; measured: 2,000 requests were 2,000 lines",
    ),
    Threat(
        "listener-flooded",
        "Half-open connections take every descriptor of the kernel, and keep it busy.",
        "32 connections, 15 seconds for a request, a pause after a failed accept.",
        "CWE-400; CWE-770; measured: 253 connections, and no file could be opened",
    ),
    Threat(
        "callback-by-name",
        "For `localhost` browsers try [::1] first, where another user of the machine listens.",
        "Both are bound, or it is an error.",
        "RFC 8252 section 8.3",
    ),
)
