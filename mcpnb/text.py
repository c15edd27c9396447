"""Text for people: text from servers made safe, and secrets left out."""

from __future__ import annotations

import re
import threading

__all__ = ["add_secret", "quote", "redact", "sanitize"]

# Letters and marks that nobody sees, and Python counts as printable: fillers, variation selectors
# (Unicode's Default_Ignorable_Code_Point; the latter smuggle text), and Braille's blank. Two names
# that differ in them look alike. U+FE0E and U+FE0F stay: they choose between text and emoji.
# Bidirectional controls, zero-width characters and terminal escapes fall to str.isprintable().
_HIDDEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))))
)


_secrets: tuple[tuple[str, re.Pattern[str], str, tuple[str, ...] | None], ...] = ()
"""Each: the text, what finds it, what is shown in its place, and hosts; longest text first."""
_adding = threading.Lock()


def add_secret(secret: str, instead: str, *, hosts: tuple[str, ...] | None = None) -> None:
    """Hide a text in every error, log record and text for people from now on.

    Every error of ours goes through `redact`, and so does `sanitize`: an address is in too many
    messages for each of them to know which part of it is secret.

    Args:
        secret: The text to hide.
        instead: What to show in its place.
        hosts: For a text that may be an ordinary word as well, such as ``production``: it is hidden
            only as a whole word, and only in texts that have one of these. Left out: everywhere.
    """
    global _secrets  # noqa: PLW0603  replaced whole: readers need no lock
    text = re.escape(secret)
    if hosts is not None:
        # Of a percent-encoded separator ("%2F") the last character looks like a part of the word.
        begin = r"(?:(?<![\w.-])|(?<=%[0-9A-Fa-f]{2}))" if secret[0].isalnum() else ""
        text = begin + text + (r"(?![\w-]|\.\w)" if secret[-1].isalnum() else "")
    found = (secret, re.compile(text), instead.replace("\\", r"\\"), hosts)
    with _adding:
        known = {(entry[0], entry[3]): entry for entry in _secrets} | {(secret, hosts): found}
        # The longest first: a short one may be a part of it.
        _secrets = tuple(sorted(known.values(), key=lambda entry: -len(entry[0])))


def redact(text: str) -> str:
    """Return the text without the secrets that `add_secret` was given."""
    for _, pattern, instead, hosts in _secrets:
        if hosts is None or any(host in text.lower() for host in hosts):
            text = pattern.sub(instead, text)
    return text


def sanitize(text: object, limit: int = 300) -> str:
    """Make text from a server safe for one line of a terminal: no control characters, capped."""
    # threat: megabytes-shown
    raw = redact(str(text))[: limit + 1]
    # threat: terminal-escapes, bidirectional-text, invisible-text, line-breaks, panel-texts
    kept = "".join(c if c.isprintable() and c not in _HIDDEN else " " for c in raw)
    return kept[:limit] + "…" if len(raw) > limit else kept


def quote(text: object, limit: int = 300) -> str:
    """Quote text that came from a server: capped, escaped, marked as somebody else's words."""
    return f"“{sanitize(text, limit)}”"
