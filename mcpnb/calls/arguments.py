"""From a tool's input schema to a Python signature, and from Python arguments to JSON."""

from __future__ import annotations

import difflib
import inspect
import json
import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import PurePath
from types import GenericAlias, MappingProxyType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mcpnb.errors import CallError
from mcpnb.text import sanitize

_LONGEST_NAME = 64


def python_names(
    names: Iterable[str], taken: Iterable[str] = (), *, public: bool = False
) -> dict[str, str]:
    """Return a spelling for each name that Python code can use, and no spelling twice.

    Identifiers stay as they are. Other characters, and invisible ones, become ``_``. A keyword or a
    name that is taken gets trailing underscores. With `public`, leading underscores go, so that a
    name can never pass for one of Python's or IPython's own hooks.
    """
    names = list(dict.fromkeys(names))
    used = set(taken)
    wished = {name: _spelling(name, public=public) for name in names}
    # A name that is its own spelling keeps it, whatever comes before it in the list.
    spelled = {name: name for name in names if wished[name] == name and name not in used}
    used.update(spelled)
    for name in names:
        if name not in spelled:
            spelling = wished[name]
            # threat: tool-that-shadows-another
            while spelling in used:
                spelling += "_"
            spelled[name] = spelling
            used.add(spelling)
    return spelled


def _spelling(name: str, *, public: bool) -> str:
    """Return the identifier that is nearest to a name."""
    # Python reads source in NFKC (PEP 3131): another form of a name could never be typed.
    # threat: invisible-text
    visible = sanitize(unicodedata.normalize("NFKC", name[:_LONGEST_NAME]))
    spelling = re.sub(r"\W", "_", visible)
    spelling = spelling.lstrip("_") if public else spelling
    for spelled in (spelling, f"_{spelling}"):
        if spelled.isidentifier():
            return f"{spelled}_" if keyword.iskeyword(spelled) else spelled
    return "_"


class Verbatim(dict[str, Any]):
    """Arguments to send as they are, whatever the tool's schema says."""


def as_json(
    tool: str, arguments: dict[str, Any], more: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return what the caller gave, also by name, as plain JSON values; `Verbatim` stays so.

    Scalars and arrays of NumPy, dates, paths and sets become the values that they stand for.

    Raises:
        CallError: One of them has no JSON form; nothing was sent.
    """
    try:
        plain = json.loads(json.dumps({**arguments, **more}, default=_plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise CallError(
            f"The arguments of {sanitize(tool, 80)!r} cannot be sent as JSON: "
            f"{sanitize(error, 200)}. Nothing was sent."
        ) from None
    return Verbatim(plain) if isinstance(arguments, Verbatim) else plain


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


class _NotGiven:
    """Stands for an argument that is not sent; a signature shows it as Python's stubs do."""

    def __repr__(self) -> str:
        return "..."


_NOT_GIVEN = _NotGiven()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool."""

    name: str
    """As the schema has it."""
    python_name: str
    """As Python code can write it."""
    annotation: Any
    required: bool
    default: Any = _NOT_GIVEN
    """The schema's default, for display only: the server applies it."""
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
        """Return the JSON object to send for the arguments of a Python call.

        What is not given is not sent: neither a default of the schema, nor ``...``.

        Raises:
            TypeError: They don't fit; the message names the tool's parameters.
        """
        given = list(kwargs.items())
        takes_object = bool(self.parameters) and self.parameters[0].takes_object
        if len(args) == 1 and isinstance(args[0], Mapping) and not takes_object:
            given = [*args[0].items(), *given]
            args = ()
        named = self._by_python_name(tool, given)
        try:
            bound = self.signature.bind(*args, **named).arguments
        except TypeError as error:
            raise self._refusal(tool, error) from None
        more = bound.pop(self.rest, {}) if self.rest else {}
        sent = {p.name: bound[p.python_name] for p in self.parameters if p.python_name in bound}
        sent = {k: v for k, v in (sent | more).items() if v is not _NOT_GIVEN and v is not ...}
        for p in self.parameters:
            if p.required and p.name not in sent:
                raise self._refusal(tool, f"missing a required argument: {p.python_name!r}")
        return sent

    def named(self, tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by the server's names for them. Required ones may be missing.

        Raises:
            TypeError: There is no such argument; the message names the tool's parameters.
        """
        names = {p.python_name: p.name for p in self.parameters}
        named = self._by_python_name(tool, given.items())
        return {names.get(name, name): value for name, value in named.items()}

    def _by_python_name(self, tool: str, given: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        known = [p.python_name for p in self.parameters]
        spelled = {p.name: p.python_name for p in self.parameters}
        named: dict[str, Any] = {}
        for name, value in given:
            target = name if name in known else spelled.get(name, name)
            if target in named:
                raise self._refusal(tool, f"argument {target!r} is given twice")
            named[target] = value
        # Before Signature.bind, which would complain about a missing argument first: a misspelt
        # name is usually both, and its own name says more.
        for name in named:
            if self.rest is None and name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                what = f"there is no argument {sanitize(repr(name), 100)}{hint}"
                raise self._refusal(tool, what)
        return named

    def _refusal(self, tool: str, problem: object) -> TypeError:
        names = ", ".join(
            p.python_name + ("" if p.required else " (optional)") for p in self.parameters
        )
        unnamed = "It takes any named arguments" if self.rest else "It takes no arguments"
        takes = f"Its parameters: {names}" if names else unnamed
        return TypeError(f"{sanitize(tool, 100)}(): {problem}. {takes}.")


# Reading a schema

# Past this nobody reads a signature, and building one starts to take noticeable time.
_MOST_PARAMETERS = 100
_DEEPEST = 6
_MOST_MEMBERS = 8
_MOST_CHOICES = 20
_LONGEST_VALUE = 60

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": None,
}
# Keywords next to ``properties`` that can allow arguments which it does not name.
_OPENING = ("patternProperties", "allOf", "anyOf", "oneOf", "if", "$ref", "$dynamicRef")


def read_schema(schema: object) -> Arguments:
    """Return what a tool takes by its input schema. Never raises, whatever the schema is."""
    root = schema if isinstance(schema, dict) else {}
    properties, listed = root.get("properties"), root.get("required")
    known = properties if isinstance(properties, dict) else {}
    required = {n for n in (listed if isinstance(listed, list) else ()) if isinstance(n, str)}
    names = [n for n in dict.fromkeys([*known, *sorted(required)]) if isinstance(n, str)]
    extra = root.get("additionalProperties")
    more = (
        extra is True
        or (isinstance(extra, dict) and bool(extra))
        or (extra is not False and not isinstance(properties, dict))
        or any(key in root for key in _OPENING)
    )
    if len(names) > _MOST_PARAMETERS:
        names, more = [], True
    spelled = python_names(names)
    parameters = tuple(
        _parameter(name, spelled[name], known.get(name), required=name in required, root=root)
        for name in sorted(names, key=lambda name: name not in required)
    )
    signature = [
        inspect.Parameter(
            p.python_name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if p.required else p.default,
            annotation=p.annotation,
        )
        for p in parameters
    ]
    rest = None
    if more:
        rest = python_names(["arguments"], spelled.values())["arguments"]
        signature.append(inspect.Parameter(rest, inspect.Parameter.VAR_KEYWORD))
    return Arguments(parameters, inspect.Signature(signature), rest)


def _parameter(
    name: str, python_name: str, schema: object, *, required: bool, root: dict[str, Any]
) -> Parameter:
    own = schema if isinstance(schema, dict) else {}
    default, description = own.get("default", _NOT_GIVEN), own.get("description")
    shown = default is None or _is_short(default) or default in ([], {})
    return Parameter(
        name=name,
        python_name=python_name,
        annotation=_annotation(schema, root, _DEEPEST),
        required=required,
        default=default if shown and not required else _NOT_GIVEN,
        description=description if isinstance(description, str) else "",
    )


def _is_short(value: object) -> bool:
    if isinstance(value, str):
        # Of one with characters that nobody sees, a signature would show another value.
        shown = repr(value)
        return len(value) <= _LONGEST_VALUE and sanitize(shown, len(shown)) == shown
    # Python refuses to print integers of more than 4300 digits.
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18)


def _annotation(schema: object, root: dict[str, Any], depth: int) -> Any:
    """Return the Python type for a schema; `Any` where there is none or it goes too deep."""
    if not isinstance(schema, dict) or depth == 0:
        return Any
    if isinstance(reference := schema.get("$ref"), str):
        return _annotation(_definition(reference, root), root, depth - 1)
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(choices, list) and _are_literal(choices):
        return Literal[tuple(choices)]
    members = schema.get("allOf")
    if not isinstance(members, list) or len(members) != 1:  # pydantic 1 writes one: a reference
        members = schema.get("anyOf", schema.get("oneOf"))
    if isinstance(members, list):
        few = members if len(members) <= _MOST_MEMBERS else []
        return _union(_annotation(member, root, depth - 1) for member in few)
    kinds = schema.get("type")
    if kinds == "array":
        item = _annotation(schema.get("items"), root, depth - 1)
        return list if item is Any or item is None else GenericAlias(list, (item,))
    few = kinds[:_MOST_MEMBERS] if isinstance(kinds, list) else [kinds]
    return _union(_TYPES.get(kind, Any) if isinstance(kind, str) else Any for kind in few)


def _are_literal(choices: list[Any]) -> bool:
    few = 0 < len(choices) <= _MOST_CHOICES
    return few and all(c is None or (isinstance(c, str | int) and _is_short(c)) for c in choices)


def _union(members: Iterable[Any]) -> Any:
    kinds = list(dict.fromkeys(members))
    if not kinds or Any in kinds:
        return Any
    return reduce(or_, sorted(kinds, key=lambda kind: kind is None))


def _definition(reference: str, root: dict[str, Any]) -> object:
    """Return one of the schema's own definitions; nothing is ever fetched."""
    _, _, name = reference.rpartition("/")
    for place in ("$defs", "definitions"):
        definitions = root.get(place)
        if reference == f"#/{place}/{name}" and isinstance(definitions, dict):
            return definitions.get(name)
    return None
