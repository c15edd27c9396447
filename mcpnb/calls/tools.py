"""A server's tools as Python callables, and their list as a table.

::

    tools = session.tools()          # displays as a table
    tools.search(query="report")     # by name; Tab completes, `tools.search?` explains
    tools["search-all"]("report")    # any name, also one that is no Python identifier
    await tools.search.acall("report")

Arguments go by position (required ones first, then the schema's order) or by name. A name that
Python cannot write has a spelling that it can (``from`` is ``from_``, ``max-hits`` is
``max_hits``), and goes by itself in one dict: ``tools.search({"max-hits": 3})``. A dict alone in
the first place is such a set of arguments, unless the tool's first parameter may itself be an
object; ``tools.search(**{"max-hits": 3})`` is never ambiguous.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from mcpnb.calls.arguments import Arguments, Parameter, python_names, read_schema
from mcpnb.calls.results import ToolResult
from mcpnb.text import Grid, count, excerpt, page, paragraph, quote, sanitize

if TYPE_CHECKING:
    import mcp_types


Call = Callable[[str, dict[str, Any]], ToolResult]
AsyncCall = Callable[[str, dict[str, Any]], Awaitable[ToolResult]]

_DESCRIPTION = 4_000
_DESCRIPTION_LINES = 100
_CELL = 200
_NOTEBOOK_ROWS = 300
_TERMINAL_ROWS = 100

# Looked up and *called* by IPython (`tools?`) and by dict(): a tool of that name would run unasked.
# threat: tool-that-runs-unasked
_CALLED_UNASKED = ("getdoc", "keys")


class Tool:
    """One tool of a server, to be called like a function; what is not given is not sent.

    One dict alone is taken as the arguments by their own names: ``tool({"max-hits": 3})``, unless
    the first parameter may be an object itself.

    Attributes:
        name: The tool's name at the server.
        description: The server's description of the tool, word for word.
        parameters: The arguments that the schema names, required ones first.
        acall: The async twin: ``await tool.acall(...)`` with the same arguments.
        raw: The MCP SDK's own definition, whole.
    """

    acall: Callable[..., Awaitable[ToolResult]]

    def __init__(self, raw: mcp_types.Tool, call: Call, acall: AsyncCall) -> None:
        # No docstring: `tool?` in IPython would show it next to the tool's own.
        self.raw = raw
        self.name = str(raw.name)
        self.description = raw.description if isinstance(raw.description, str) else ""
        self._arguments = read_schema(raw.input_schema)
        self.parameters = self._arguments.parameters
        self._call = call
        self.__name__ = python_names([self.name])[self.name]
        self.__qualname__ = self.__name__
        self.__signature__ = self._arguments.signature
        self.__doc__ = _doc(self)

        def run(*args: Any, **kwargs: Any) -> ToolResult:
            return self(*args, **kwargs)

        async def arun(*args: Any, **kwargs: Any) -> ToolResult:
            return await acall(self.name, self._arguments.bind(self.name, args, kwargs))

        for function in (run, arun):
            vars(function)["__signature__"] = self.__signature__
        arun.__doc__ = self.__doc__
        self.acall = arun
        # Python calls the class's __call__; IPython's `?` reads the signature of the instance's.
        vars(self)["__call__"] = run

    def __call__(self, /, *args: Any, **kwargs: Any) -> ToolResult:
        """Call the tool and wait for its result."""
        return self._call(self.name, self._arguments.bind(self.name, args, kwargs))

    def named(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return arguments by the server's names for them.

        Raises:
            TypeError: The tool has no such argument. Servers would ignore it silently.
        """
        return self._arguments.named(self.name, arguments)

    def __repr__(self) -> str:
        first = _first_line(self.description)
        shown = sanitize(f"{self.__name__}{self.__signature__}", 300)
        return f"<Tool {shown}{f': {first}' if first else ''}>"


class Tools(Sequence[Tool]):
    """A server's tools: a list, a table, and an attribute for each tool.

    ``tools.search`` and ``tools["search"]`` are the same tool; ``tools[0]`` is the first one. A
    name that Python cannot write, or that a list already has (``count``), gets a spelling with
    ``_``.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = tuple(tools)
        self._by_name: dict[str, Tool] = {}
        for tool in self._tools:
            self._by_name.setdefault(tool.name, tool)
        taken = {*dir(type(self)), *vars(self), "_by_attribute", *_CALLED_UNASKED}
        self._spelled = python_names(self._by_name, taken, public=True)
        self._by_attribute = {self._spelled[name]: tool for name, tool in self._by_name.items()}

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools)

    def __contains__(self, item: object) -> bool:
        return item in self._by_name if isinstance(item, str) else item in self._tools

    @overload
    def __getitem__(self, key: int | str) -> Tool: ...
    @overload
    def __getitem__(self, key: slice) -> Tools: ...
    def __getitem__(self, key: int | str | slice) -> Tool | Tools:
        if isinstance(key, str):
            if key not in self._by_name:
                raise KeyError(_no_such_tool(key, self._by_name))
            return self._by_name[key]
        return Tools(self._tools[key]) if isinstance(key, slice) else self._tools[key]

    def __getattr__(self, name: str) -> Tool:
        # vars(): while a copy is being made there are no tools yet.
        known: dict[str, Tool] = vars(self).get("_by_attribute", {})
        if name in known:
            return known[name]
        if name.startswith("_"):  # a hook that somebody probes for: no time for suggestions
            raise AttributeError(name)
        raise AttributeError(_no_such_tool(name, known))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._by_attribute]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._by_name)

    def _grid(self, most: int) -> Grid:
        shown = self._tools[:most]
        columns = ["tool", "description", "parameters"]
        rows = [[self._shown_name(t), _first_line(t.description), _parameters(t)] for t in shown]
        claims = [_claims(tool) for tool in shown]
        if any(claims):
            columns.append("the server's claims")
            rows = [[*row, claim] for row, claim in zip(rows, claims, strict=True)]
        return Grid(columns, rows, total=(len(self), 0), cell=_CELL)

    def _shown_name(self, tool: Tool) -> str:
        spelled = self._spelled[tool.name]
        return tool.name if spelled == tool.name else f"{sanitize(tool.name, 64)} (.{spelled})"

    def __repr__(self) -> str:
        head = f"<Tools: {count(len(self), 'tool')}>"
        return f"{head}\n{self._grid(_TERMINAL_ROWS).text()}" if self._tools else head

    def _repr_html_(self) -> str:
        return page([paragraph(count(len(self), "tool")), self._grid(_NOTEBOOK_ROWS).html()])


class Listing:
    """The tools that a server lists, by name, for checking calls: nothing is read unless needed."""

    def __init__(self, tools: Iterable[mcp_types.Tool], *, complete: bool) -> None:
        """Hold the SDK's tools of one page, or of all pages: then it is `complete`."""
        self.complete = complete
        self._schemas: dict[str, object] = {}
        for tool in tools:
            self._schemas.setdefault(str(tool.name), tool.input_schema)
        self._arguments: dict[str, Arguments] = {}

    def __contains__(self, tool: str) -> bool:
        return tool in self._schemas

    def named(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return arguments by the server's names; those of an unknown tool as they are.

        Raises:
            TypeError: The tool has no such argument.
        """
        if tool not in self._schemas:
            return arguments
        if tool not in self._arguments:
            self._arguments[tool] = read_schema(self._schemas[tool])
        return self._arguments[tool].named(tool, arguments)

    def advice(self, tool: str) -> str:
        """Return which tools there are, for an error of a tool that is not one of them."""
        return "" if tool in self or not self.complete else _no_such_tool(tool, self._schemas)


def _no_such_tool(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names[:1_000], n=3)
    some = ", ".join(sanitize(n, 100) for n in near or names[:10])
    hint = "Did you mean" if near else "There are" if names else "The server has none"
    return f"There is no tool {quote(name, 100)}. {hint}{f': {some}' if some else ''}"


def _doc(tool: Tool) -> str:
    text, cut = excerpt(tool.description, _DESCRIPTION, _DESCRIPTION_LINES)
    title = sanitize(tool.raw.title, _CELL) if isinstance(tool.raw.title, str) else ""
    parts = [inspect.cleandoc(text).strip() or title, cut]
    if lines := [_parameter_line(p) for p in tool.parameters]:
        parts.append("\n".join(["Parameters:", *lines]))
    claims = _claims(tool)
    claimed = f" It claims that the tool {claims}." if claims else ""
    parts.append(f"These are the server's own words; nothing here checks them.{claimed}")
    return "\n\n".join(part for part in parts if part)


def _parameter_line(parameter: Parameter) -> str:
    kind = sanitize(inspect.formatannotation(parameter.annotation), _CELL)
    spelled, name = parameter.python_name, parameter.name
    own = f" (sent as {quote(name, 64)})" if name != spelled else ""
    text = sanitize(parameter.description)
    optional = "" if parameter.required else ", optional"
    return f"    {spelled}: {kind}{optional}{own}{f' - {text}' if text else ''}"


def _parameters(tool: Tool) -> str:
    names = [
        p.python_name if p.required else f"{p.python_name}={p.default!r}" for p in tool.parameters
    ]
    rest = [str(p) for p in tool.__signature__.parameters.values() if p.kind == p.VAR_KEYWORD]
    return ", ".join(names + rest)


def _claims(tool: Tool) -> str:
    """Return the annotations' hints in words: they are the server's, and prove nothing."""
    hints = tool.raw.annotations
    if hints is None:
        return ""
    if hints.read_only_hint:
        return "only reads"
    if hints.destructive_hint is None:
        return ""
    return "may change or delete things" if hints.destructive_hint else "only adds"


def _first_line(text: str) -> str:
    lines = text[:_DESCRIPTION].strip().splitlines()
    return sanitize(lines[0], _CELL) if lines else ""
