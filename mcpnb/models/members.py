"""Members of stored JSON, of the type that was written there.

Another version may have written it, or a hand: what is of another type is found as it is read, and
not as an unforeseen error wherever it is used first.
"""

from __future__ import annotations

from typing import Any

__all__ = ["number", "number_or_none", "text", "text_or_none", "texts"]

_LARGEST = 1e15
"""Of all numbers that are stored, generations are the largest: milliseconds since the epoch."""


def text(data: Any, name: str) -> str:
    """Give a text.

    Raises:
        KeyError: There is no such member.
        TypeError: It is something else.
    """
    return str(_checked(data[name], name, str))


def text_or_none(data: Any, name: str) -> str | None:
    """Give a text, or `None` where there is none. Raises as `text`, but for no such member."""
    return None if data.get(name) is None else text(data, name)


def texts(data: Any, name: str) -> tuple[str, ...]:
    """Give a list of texts. Raises as `text`."""
    return tuple(_checked(one, name, str) for one in _checked(data[name], name, list, tuple))


def number(data: Any, name: str) -> Any:
    """Give a number, whole or not, that time can be reckoned with. Raises as `text`."""
    value = data[name]
    if isinstance(value, bool) or not -_LARGEST < _checked(value, name, int, float) < _LARGEST:
        raise TypeError(f"{name} is no usable number")
    return value


def number_or_none(data: Any, name: str) -> Any:
    """Give a number, or `None` where there is none. Raises as `text`, but for no such member."""
    return None if data.get(name) is None else number(data, name)


def _checked(value: Any, name: str, *kinds: type) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, str) and not _is_sendable(value)):
        raise TypeError(f"{name} is of another type")
    return value


def _is_sendable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can write
        return False
    return True
