"""A tool's JSON Schema as a Python signature, and arguments as JSON."""

from __future__ import annotations

import difflib
import inspect
import json
import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import PurePath
from types import GenericAlias, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mcpnb.errors import CallError
from mcpnb.text import sanitize

__all__ = ["NOT_GIVEN", "Arguments", "Parameter", "as_json", "python_names", "read_schema"]

_LONGEST_NAME = 64


def python_names(
    names: Iterable[str], taken: Iterable[str] = (), *, public: bool = False
) -> dict[str, str]:
    """Give each name a spelling that Python code can use, and each spelling to one name only.

    Identifiers stay as they are; other characters, and invisible ones, become ``_``; a keyword or a
    name that is taken gets trailing underscores. With `public`, leading underscores go, so that a
    name can never pass for one of Python's or IPython's own hooks.
    """
    names = list(dict.fromkeys(names))
    used = set(taken)
    spelled = {
        name: name
        for name in names
        if _is_plain(name) and name not in used and not (public and name.startswith("_"))
    }
    used.update(spelled)
    for name in names:
        if name not in spelled:
            spelled[name] = _spelling(name, used, public=public)
            used.add(spelled[name])
    return spelled


def _spelling(name: str, used: set[str], *, public: bool) -> str:
    spelling = re.sub(r"\W", "_", sanitize(unicodedata.normalize("NFKC", name[:_LONGEST_NAME])))
    spelling = spelling.lstrip("_") if public else spelling
    if not spelling.isidentifier():
        spelling = f"_{spelling}"
    if not spelling.isidentifier():
        spelling = "_"
    # threat: tool-that-shadows-another
    while spelling in used or keyword.iskeyword(spelling):
        spelling += "_"
    return spelling


def _is_plain(name: str) -> bool:
    # Python reads source in NFKC (PEP 3131): another form of a name could never be typed.
    return (
        len(name) <= _LONGEST_NAME
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and unicodedata.is_normalized("NFKC", name)
        # threat: invisible-text
        and sanitize(name) == name  # some letters that Python takes are not to be seen
    )


def as_json(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Give the arguments as plain JSON values.

    Scalars and arrays of NumPy, dates, paths and sets become what they stand for.

    Args:
        tool: The tool's name, for the message.
        arguments: What the caller gave.

    Raises:
        CallError: One of them has no JSON form; nothing was sent.
    """
    try:
        plain_values: dict[str, Any] = json.loads(
            json.dumps(arguments, default=_plain, allow_nan=False)
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise CallError(
            f"The arguments of {sanitize(tool, 80)!r} cannot be sent as JSON: "
            f"{sanitize(error, 200)}. "
            "Nothing was sent."
        ) from None
    return plain_values


def _plain(value: Any) -> Any:
    # By what they can do, not by type: neither NumPy nor pandas is imported for it.
    for method in ("tolist", "isoformat"):
        if callable(convert := getattr(value, method, None)):
            return convert()
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


# Past this nobody reads a signature, and building one starts to take noticeable time.
_MOST_PARAMETERS = 100
_DEEPEST = 6
_MOST_MEMBERS = 8
_MOST_CHOICES = 20
_LONGEST_VALUE = 60
_LONGEST_POINTER = 20

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": None,
}
# Keywords beside ``properties`` that can allow arguments it does not name.
_OPENING = ("patternProperties", "allOf", "anyOf", "oneOf", "if", "$ref", "$dynamicRef")


class _NotGiven:
    """Stands for an argument that is not sent; a signature shows it as Python's stubs do."""

    def __repr__(self) -> str:
        return "..."


NOT_GIVEN = _NotGiven()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool."""

    name: str
    """As the schema has it."""
    python_name: str
    """As Python code can write it."""
    annotation: Any
    required: bool
    default: Any = NOT_GIVEN
    """The schema's default, for display only: it is the server who applies it."""
    description: str = ""

    @property
    def takes_object(self) -> bool:
        """Whether a dict may be meant as its value."""
        union = get_origin(self.annotation) in (Union, UnionType)
        members = get_args(self.annotation) if union else (self.annotation,)
        return Any in members or dict in members


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a tool takes, as far as its schema says."""

    parameters: tuple[Parameter, ...]
    signature: inspect.Signature
    rest: str | None = None
    """Name of the ``**`` parameter, where more arguments than those named are allowed."""

    def bind(self, tool: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Turn a Python call's arguments into the JSON object to send.

        What is not given is not sent: neither a default of the schema, nor ``...``.

        Raises:
            TypeError: They don't fit; the message names the tool's parameters.
        """
        try:
            args, kwargs = self._by_name(args, kwargs)
            self._refuse_unknown(kwargs)
            given = self.signature.bind(*args, **kwargs).arguments
            more = given.pop(self.rest, {}) if self.rest else {}
            sent = {
                p.name: given[p.python_name]
                for p in self.parameters
                if _is_given(given.get(p.python_name, NOT_GIVEN))
            }
        except TypeError as error:
            raise TypeError(self._complaint(tool, str(error))) from None
        for p in self.parameters:
            if p.required and p.name not in sent:
                missing = f"missing a required argument: {p.python_name!r}"
                raise TypeError(self._complaint(tool, missing))
        return sent | {name: value for name, value in more.items() if _is_given(value)}

    def named(self, tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give arguments by the names that the server has for them; whether all are there it says.

        Raises:
            TypeError: There is no such argument; the message names the tool's parameters.
        """
        try:
            _, by_python_name = self._by_name((), given)
            self._refuse_unknown(by_python_name)
        except TypeError as error:
            raise TypeError(self._complaint(tool, str(error))) from None
        names = {p.python_name: p.name for p in self.parameters}
        return {names.get(name, name): value for name, value in by_python_name.items()}

    def _refuse_unknown(self, kwargs: Mapping[str, Any]) -> None:
        # Before Signature.bind, which would complain about a missing argument first: a misspelt
        # name is usually both, and its own name says more.
        known = [p.python_name for p in self.parameters]
        for name in kwargs:
            if self.rest is None and name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise TypeError(f"there is no argument {sanitize(repr(name), 100)}{hint}")

    def _by_name(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = list(kwargs.items())
        if len(args) == 1 and isinstance(args[0], Mapping) and not self._first_takes_object():
            given = [*args[0].items(), *given]
            args = ()
        python_names = {p.python_name for p in self.parameters}
        renamed = {p.name: p.python_name for p in self.parameters}
        named: dict[str, Any] = {}
        for name, value in given:
            target = name if name in python_names else renamed.get(name, name)
            if target in named:
                raise TypeError(f"argument {target!r} is given twice")
            named[target] = value
        return args, named

    def _first_takes_object(self) -> bool:
        return bool(self.parameters) and self.parameters[0].takes_object

    def _complaint(self, tool: str, error: str) -> str:
        names = ", ".join(
            p.python_name + ("" if p.required else " (optional)") for p in self.parameters
        )
        unnamed = "It takes any named arguments" if self.rest else "It takes no arguments"
        return (
            f"{sanitize(tool, 100)}(): {error}. {f'Its parameters: {names}' if names else unnamed}."
        )


def read_schema(schema: object) -> Arguments:
    """Read a tool's input schema. Never raises, whatever it is."""
    root = schema if isinstance(schema, dict) else {}
    properties = root.get("properties")
    known = properties if isinstance(properties, dict) else {}
    listed = root.get("required")
    required = dict.fromkeys(
        name for name in (listed if isinstance(listed, list) else ()) if isinstance(name, str)
    )
    names = [name for name in dict.fromkeys([*known, *required]) if isinstance(name, str)]
    if len(names) > _MOST_PARAMETERS:
        return _open_arguments(())
    spelled = python_names(names)
    parameters = [
        _parameter(name, spelled[name], known.get(name), required=name in required, root=root)
        for name in sorted(names, key=lambda name: name not in required)
    ]
    extra = root.get("additionalProperties")
    more = (
        extra is True
        or (isinstance(extra, dict) and bool(extra))
        or (extra is not False and not isinstance(properties, dict))
        or any(key in root for key in _OPENING)
    )
    if more:
        return _open_arguments(parameters)
    return Arguments(tuple(parameters), inspect.Signature([_python(p) for p in parameters]))


def _open_arguments(parameters: Iterable[Parameter]) -> Arguments:
    parameters = tuple(parameters)
    rest = "arguments"
    while any(p.python_name == rest for p in parameters):
        rest += "_"
    last = inspect.Parameter(rest, inspect.Parameter.VAR_KEYWORD)
    signature = inspect.Signature([*(_python(p) for p in parameters), last])
    return Arguments(parameters, signature, rest)


def _parameter(
    name: str, python_name: str, schema: object, *, required: bool, root: dict[str, Any]
) -> Parameter:
    description = schema.get("description") if isinstance(schema, dict) else None
    return Parameter(
        name=name,
        python_name=python_name,
        annotation=_annotation(schema, root, _DEEPEST),
        required=required,
        default=NOT_GIVEN if required else _default(schema),
        description=description if isinstance(description, str) else "",
    )


def _python(parameter: Parameter) -> inspect.Parameter:
    return inspect.Parameter(
        parameter.python_name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=inspect.Parameter.empty if parameter.required else parameter.default,
        annotation=parameter.annotation,
    )


def _default(schema: object) -> Any:
    value = schema.get("default", NOT_GIVEN) if isinstance(schema, dict) else NOT_GIVEN
    return value if value is None or _is_short(value) or value in ([], {}) else NOT_GIVEN


def _is_given(value: object) -> bool:
    return value is not NOT_GIVEN and value is not ...


def _is_short(value: object) -> bool:
    if isinstance(value, str):
        # Of one with characters that nobody sees, a signature would show another value.
        return len(value) <= _LONGEST_VALUE and _is_seen(repr(value))
    # Python refuses to print integers of more than 4300 digits.
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18)


def _is_seen(text: str) -> bool:
    return sanitize(text, len(text)) == text


def _annotation(schema: object, root: dict[str, Any], depth: int) -> Any:
    """Give the Python type for a schema; `Any` where there is none or it goes too deep."""
    if not isinstance(schema, dict) or depth == 0:
        return Any
    if isinstance(schema.get("$ref"), str):
        return _annotation(_referred(schema["$ref"], root), root, depth - 1)
    literal = _literal([schema["const"]] if "const" in schema else schema.get("enum"))
    if literal is not None:
        return literal
    for key in ("anyOf", "oneOf", "allOf"):
        members = schema.get(key)
        # Several members of allOf narrow each other: no one Python type says what is left.
        if isinstance(members, list) and (key != "allOf" or len(members) == 1):
            return _union(members, lambda m: _annotation(m, root, depth - 1))
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return _union(kinds, lambda kind: _single(kind, schema, root, depth))


def _single(kind: object, schema: dict[str, Any], root: dict[str, Any], depth: int) -> Any:
    if not isinstance(kind, str) or kind not in _TYPES:
        return Any
    if kind == "array":
        item = _annotation(schema.get("items"), root, depth - 1)
        return list if item is Any or item is None else GenericAlias(list, (item,))
    return _TYPES[kind]


def _union(members: list[Any], read: Callable[[Any], Any]) -> Any:
    # References that fan out could make a small schema cost millions of steps: hence the limit.
    if not 0 < len(members) <= _MOST_MEMBERS:
        return Any
    kinds = list(dict.fromkeys(read(member) for member in members))
    if Any in kinds:
        return Any
    return reduce(or_, sorted(kinds, key=lambda kind: kind is None))


def _literal(choices: object) -> Any:
    if not isinstance(choices, list) or not 0 < len(choices) <= _MOST_CHOICES:
        return None
    if not all(c is None or (isinstance(c, str | int) and _is_short(c)) for c in choices):
        return None
    return Literal[tuple(choices)]


def _referred(pointer: str, root: dict[str, Any]) -> object:
    """Follow a reference within the schema (JSON Schema 2020-12 section 8.2.3.1); never fetches."""
    steps = pointer.split("/", _LONGEST_POINTER)
    if steps[0] != "#" or len(steps) > _LONGEST_POINTER:
        return None
    found: object = root
    for step in steps[1:]:
        if not isinstance(found, dict):
            return None
        found = found.get(step.replace("~1", "/").replace("~0", "~"))
    return found
