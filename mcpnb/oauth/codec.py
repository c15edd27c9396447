"""Frozen dataclasses as JSON and back: their form at rest.

Secrets become plain text here, for a store that encrypts, and nowhere else. What is read back was
written by mcpnb, maybe by another version: members that nobody knows are ignored, and a missing or
null member has the field's default, or is `None` where the field may be.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from mcpnb.oauth.models import Secret

T = TypeVar("T")

STORED_AS = "stored as"
"""In the metadata of a field: the name of its member, where that is another one."""
_LARGEST = 1e15
"""The largest numbers stored are generations: milliseconds since the epoch."""


def to_json(value: Any) -> Any:
    """Return the JSON form of a dataclass, secrets included: only for an encrypting store."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, tuple):
        return [to_json(one) for one in value]
    if is_dataclass(value):
        return {_key(one): to_json(getattr(value, one.name)) for one in fields(value)}
    return value


def from_json(kind: type[T], data: Any) -> T:
    """Read a dataclass from its JSON form.

    Raises:
        KeyError: A member is missing.
        TypeError: It is no object, or a member has another type.
    """
    if not isinstance(data, dict):
        raise TypeError(f"no {kind.__name__}")
    found = {}
    hints = _hints(kind)  # type: ignore[arg-type]  # it is hashable
    for one in fields(kind):  # type: ignore[arg-type]  # of a dataclass
        key = _key(one)
        if data.get(key) is not None:
            found[one.name] = checked(hints[one.name], data[key], key)
        elif one.default is MISSING:
            if types.NoneType not in typing.get_args(hints[one.name]):
                raise KeyError(key)
            found[one.name] = None
    return kind(**found)


def checked(hint: Any, value: Any, name: str) -> Any:  # noqa: PLR0911  one for each kind
    """Return a value of JSON as what a type hint says.

    Raises:
        KeyError: A member of it is missing.
        TypeError: It is something else.
    """
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        [kind] = (one for one in inside if one is not types.NoneType)
        absent = value is None or (kind is Secret and value == "")
        return None if absent else checked(kind, value, name)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(checked(inside[0], one, name) for one in value)
    if origin is Literal and value in inside:
        return value
    if is_dataclass(hint):
        return from_json(hint, value)  # type: ignore[arg-type]  # it is a type
    if hint is bool:
        return value is True
    if hint in (str, Secret) and isinstance(value, str) and _can_be_sent(value):
        return hint(value)
    if hint in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if not -_LARGEST < value < _LARGEST:  # not a number that time can be computed with
            raise TypeError(f"{name} is out of range")
        return int(value) if hint is int else value
    raise TypeError(f"{name} has another type")


def _can_be_sent(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can write
        return False
    return True


def _key(one: Field[Any]) -> str:
    return str(one.metadata.get(STORED_AS, one.name))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
