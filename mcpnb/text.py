"""Text for people: text from servers made safe, and secrets left out."""

from __future__ import annotations

__all__ = ["add_secret", "quote", "redact", "sanitize"]

# Letters and marks that nobody sees, and Python counts as printable: fillers, variation selectors
# (Unicode's Default_Ignorable_Code_Point; the latter smuggle text), and Braille's blank. Two names
# that differ in them look alike. U+FE0E and U+FE0F stay: they choose between text and emoji.
# Bidirectional controls, zero-width characters and terminal escapes fall to str.isprintable().
_HIDDEN = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))))
)


_secrets: tuple[tuple[str, str], ...] = ()


def add_secret(secret: str, instead: str) -> None:
    """Never show a secret part of an address again, in whatever message.

    Every error of ours goes through `redact`, and so does `sanitize`. An address is in too many
    messages for each of them to know that a part of it is secret.

    Args:
        secret: The text to hide.
        instead: What to show in its place.
    """
    global _secrets  # noqa: PLW0603  replaced whole: who reads it needs no lock
    known = {**dict(_secrets), secret: instead}
    # The longest first: a short one may be a part of it.
    _secrets = tuple(sorted(known.items(), key=lambda pair: -len(pair[0])))


def redact(text: str) -> str:
    """Return a text without the secrets that `add_secret` was told of."""
    for secret, instead in _secrets:
        text = text.replace(secret, instead)
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
