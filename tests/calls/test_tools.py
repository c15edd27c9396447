"""A server's tools as Python callables: from their schemas, also broken or malicious ones."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pydoc
import re
from typing import Any, Literal

import mcp_types as mcp
import pytest
from IPython.core.completer import provisionalcompleter

from mcpnb.calls.arguments import read_schema
from mcpnb.calls.results import ToolResult
from mcpnb.calls.tools import Tool, Tools

SEARCH = {
    "type": "object",
    "properties": {
        "limit": {"type": "integer", "default": 10, "description": "How many."},
        "query": {"type": "string", "description": "What to find."},
        "from": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "max-hits": {"type": "number"},
        "exact": {"type": "boolean"},
    },
    "required": ["query"],
}


class Server:
    """Stands for the live client: it keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        self.calls.append((name, arguments))
        return ToolResult(mcp.CallToolResult(content=[]), name=name)

    async def acall(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        return self.call(name, arguments)

    def tool(self, name: str = "search", schema: Any = None, **fields: Any) -> Tool:
        schema = SEARCH if schema is None else schema
        return Tool(mcp.Tool(name=name, input_schema=schema, **fields), self.call, self.acall)

    def tools(self, *names: str) -> Tools:
        return Tools(self.tool(name) for name in names)


@pytest.fixture
def server() -> Server:
    return Server()


class TestCalling:
    def test_arguments_go_by_position_and_by_name(self, server: Server) -> None:
        """Like a function's, in the signature's order, and only those given are sent."""
        server.tool()("x", 5, exact=True)
        server.tool().__call__("y")

        assert server.calls == [
            ("search", {"query": "x", "limit": 5, "exact": True}),
            ("search", {"query": "y"}),
        ]

    def test_defaults_are_the_servers_to_apply(self, server: Server) -> None:
        """Neither a default nor the three dots that the signature shows are sent; `None` is."""
        server.tool()("x", ..., from_=None)

        assert server.calls == [("search", {"query": "x", "from": None})]

    @pytest.mark.parametrize(
        ("args", "kwargs"),
        [
            ((), {"query": "x", "from_": "a", "max_hits": 1}),
            ((), {"query": "x", "from": "a", "max-hits": 1}),
            (({"query": "x", "from": "a", "max-hits": 1},), {}),
            (({"from": "a", "max-hits": 1},), {"query": "x"}),
        ],
    )
    def test_names_python_cannot_write_have_two_ways(
        self, server: Server, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """By a spelling that Python can write, or by their own names in a dict."""
        server.tool()(*args, **kwargs)

        assert server.calls == [("search", {"query": "x", "from": "a", "max-hits": 1})]

    @pytest.mark.parametrize("schema", [{"type": "object"}, {}, {"type": ["object", "null"]}])
    def test_a_dict_that_may_be_the_first_argument_is(self, server: Server, schema: Any) -> None:
        """Where the first parameter may be an object, a dict is its value."""
        server.tool(schema={"properties": {"body": schema}})({"body": 1})

        assert server.calls == [("search", {"body": {"body": 1}})]

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "array", "items": {"type": "object"}},
            {"allOf": [{"$ref": "#/$defs/Names"}], "description": "As pydantic 1 writes it."},
        ],
        ids=["a list of objects", "a reference to a list"],
    )
    def test_a_dict_for_what_is_no_object_is_still_the_arguments(
        self, server: Server, schema: Any
    ) -> None:
        definitions = {"Names": {"type": "array", "items": {"type": "string"}}}
        server.tool(schema={"properties": {"a": schema}, "$defs": definitions})({"a": []})

        assert server.calls == [("search", {"a": []})]

    def test_open_tools_take_any_names(self, server: Server) -> None:
        """Where the schema is open, what it does not name goes out as it is."""
        server.tool(schema={"type": "object"})(self=1, tool=2, **{"a-b": 3, "x": ...})

        assert server.calls == [("search", {"self": 1, "tool": 2, "a-b": 3})]

    @pytest.mark.parametrize(
        ("args", "kwargs", "says"),
        [
            ((), {}, "missing a required argument: 'query'"),
            ((...,), {}, "missing a required argument: 'query'"),
            ((), {"quary": "x"}, "no argument 'quary' (did you mean 'query'?)"),
            (("x", 1, 2, 3, 4, 5), {}, "too many positional arguments"),
            (("x",), {"query": "y"}, "multiple values for argument 'query'"),
            (({"query": "x"},), {"query": "y"}, "argument 'query' is given twice"),
            (({"query": "x", "from": 1},), {"from_": 2}, "argument 'from_' is given twice"),
            (({1: "x"},), {}, "no argument 1"),
        ],
    )
    def test_wrong_arguments_name_the_right_ones(
        self, server: Server, args: tuple[Any, ...], kwargs: dict[str, Any], says: str
    ) -> None:
        listed = "Its parameters: query, limit (optional), from_ (optional), max_hits (optional)"
        with pytest.raises(TypeError, match=re.escape(listed)) as caught:
            server.tool()(*args, **kwargs)

        assert str(caught.value).startswith("search(): ")
        assert says in str(caught.value)
        assert server.calls == []

    def test_a_tool_without_arguments_says_so(self, server: Server) -> None:
        with pytest.raises(TypeError, match="It takes no arguments"):
            server.tool(schema={"properties": {}})(1)

    def test_the_async_twin_takes_the_same(self, server: Server) -> None:
        tool = server.tool()

        assert inspect.iscoroutinefunction(tool.acall)
        assert inspect.signature(tool.acall) == inspect.signature(tool)
        asyncio.run(tool.acall("x", **{"max-hits": 2}))
        with pytest.raises(TypeError, match="Its parameters: query"):
            asyncio.run(tool.acall())
        assert server.calls == [("search", {"query": "x", "max-hits": 2})]


class TestHelp:
    def test_the_docstring_says_what_the_schema_says(self, server: Server) -> None:
        hints = mcp.ToolAnnotations(read_only_hint=True)
        tool = server.tool(description="Find things.\n\n    Fast:\n\tyes.", annotations=hints)

        assert tool.__doc__ == (
            "Find things.\n\nFast:\nyes.\n\n"
            "Parameters:\n"
            "    query: str - What to find.\n"
            "    limit: int, optional - How many.\n"
            "    from_: str | None, optional (sent as “from”)\n"
            "    max_hits: float, optional (sent as “max-hits”)\n"
            "    exact: bool, optional\n\n"
            "These are the server's own words; nothing here checks them. "
            "It claims that the tool only reads."
        )

    @pytest.mark.parametrize(
        ("hints", "claim"),
        [
            ({"read_only_hint": True, "destructive_hint": True}, "only reads"),
            ({"destructive_hint": True}, "may change or delete things"),
            ({"destructive_hint": False}, "only adds"),
        ],
    )
    def test_hints_are_shown_as_claims(
        self, server: Server, hints: dict[str, bool], claim: str
    ) -> None:
        """A server may say anything of its tools: help and table call it a claim."""
        tool = server.tool(annotations=mcp.ToolAnnotations(**hints))  # type: ignore[arg-type]

        assert f"It claims that the tool {claim}." in str(tool.__doc__)
        assert "the server's claims" in repr(Tools([tool]))
        assert claim in repr(Tools([tool]))

    def test_silence_is_no_claim(self, server: Server) -> None:
        tool = server.tool(annotations=mcp.ToolAnnotations(title="Search"))

        assert str(tool.__doc__).endswith("nothing here checks them.")
        assert "claims" not in repr(Tools([tool]))

    def test_ipython_shows_signature_and_docstring(self, server: Server, shell: Any) -> None:
        """``tools.search?`` explains the tool, and does not call it."""
        shell.user_ns["tools"] = Tools([server.tool(description="Find things.")])
        for name in ("tools.search", "tools.search.acall"):
            said = re.sub(r"\x1b\[[\d;]*m", "", shell.object_inspect_text(name))
            assert f"{name}(\n    query: str,\n    limit: int = 10," in said
            assert "Find things." in said
            assert "*args" not in said
        assert server.calls == []

    def test_pythons_help_works(self, server: Server) -> None:
        assert "Find things." in pydoc.render_doc(server.tool(description="Find things."))

    def test_long_descriptions_are_cut(self, server: Server) -> None:
        """A description of a megabyte does not fill the page."""
        tool = server.tool(description="word " * 10**6)

        assert "more characters not shown" in str(tool.__doc__)
        assert len(str(tool.__doc__)) < 6_000
        assert len(repr(tool)) < 1_000
        assert max(map(len, repr(Tools([tool])).splitlines())) <= 100


class TestTheList:
    def test_it_is_a_sequence(self, server: Server) -> None:
        tools = server.tools("a", "b", "c")

        assert [tool.name for tool in tools] == ["a", "b", "c"]
        assert (len(tools), tools[0].name, tools[-1].name) == (3, "a", "c")
        assert isinstance(tools[1:], Tools)
        assert [tool.name for tool in tools[1:]] == ["b", "c"]
        assert "b" in tools  # type: ignore[comparison-overlap]
        assert tools[1] in tools
        assert "d" not in tools  # type: ignore[comparison-overlap]
        assert copy.copy(tools).a is tools.a

    def test_each_tool_is_an_attribute_and_an_item(self, server: Server) -> None:
        tools = server.tools("search")

        assert tools.search is tools["search"] is tools[0]
        assert tools.search.__name__ == "search"

    @pytest.mark.parametrize(
        ("name", "attribute"),
        [
            ("get-all", "get_all"),
            ("a.b/c", "a_b_c"),
            ("2fa", "_2fa"),
            ("class", "class_"),
            ("count", "count_"),
            ("index", "index_"),
            ("_tools", "tools"),
            ("ﬁnd", "find"),
            ("", "_"),
            ("____", "_"),
            ("日本", "日本"),
            ("౸", "_"),
        ],
    )
    def test_any_name_has_an_attribute(self, server: Server, name: str, attribute: str) -> None:
        tools = server.tools(name)

        assert getattr(tools, attribute).name == tools[name].name == name
        assert attribute in dir(tools)
        assert tools.count(tools[0]) == 1

    @pytest.mark.threat("tool-that-shadows-another")
    def test_no_two_tools_share_an_attribute(self, server: Server) -> None:
        """The plain name wins; the others get more underscores; every name is an item."""
        tools = server.tools("a-b", "a.b", "a_b", "a_b_")
        spelled = {name: getattr(tools, name).name for name in dir(tools) if name.startswith("a_b")}

        assert spelled == {"a_b": "a_b", "a_b_": "a_b_", "a_b__": "a-b", "a_b___": "a.b"}

    @pytest.mark.threat("tool-that-runs-unasked")
    @pytest.mark.parametrize(
        "name",
        [
            "_ipython_display_",
            "_repr_html_",
            "_repr_mimebundle_",
            "_ipython_canary_method_should_not_exist_",
            "__len__",
            "__class__",
            "__array__",
            "getdoc",
            "keys",
        ],
    )
    def test_no_tool_runs_because_it_is_looked_at(
        self, server: Server, shell: Any, name: str
    ) -> None:
        """A tool named like a hook of IPython's or Python's is not called by a display or help."""
        tools = Tools([server.tool(name, {"type": "object"}), server.tool("other")])
        shell.user_ns["tools"] = tools
        formats, _ = shell.display_formatter.format(tools)
        shell.object_inspect_text("tools")
        shell.object_inspect_text("tools.other")
        with pytest.raises((TypeError, ValueError)):
            dict(tools)  # type: ignore[arg-type]

        assert "text/html" in formats
        assert server.calls == []
        assert tools[name].name == name

    @pytest.mark.slow
    def test_tab_completes_names_and_arguments(self, server: Server, shell: Any) -> None:
        """Attributes and items always; a tool's arguments with Jedi, which IPython uses."""
        shell.user_ns["tools"] = server.tools("search", "get-all")

        def completed(typed: str) -> list[str]:
            with provisionalcompleter():
                return [c.text for c in shell.Completer.completions(typed, len(typed))]

        for use_jedi in (True, False):
            shell.Completer.use_jedi = use_jedi
            assert [text.lstrip(".") for text in completed("tools.se")] == ["search"]
            assert [text.lstrip(".") for text in completed("tools.get")] == ["get_all"]
            assert completed("tools['get") == ["get-all"]
        shell.Completer.use_jedi = True
        assert "limit=" in completed("tools.search(lim")
        assert server.calls == []

    def test_a_wrong_name_suggests_the_right_one(self, server: Server) -> None:
        tools = server.tools("search", "whoami")

        with pytest.raises(AttributeError, match=r"no tool “serch”\. Did you mean: search"):
            _ = tools.serch
        with pytest.raises(KeyError, match="There are: search, whoami"):
            _ = tools["xyz"]
        with pytest.raises(KeyError, match="The server has none"):
            _ = server.tools()["xyz"]

    def test_the_first_of_two_with_one_name_is_the_tool(self, server: Server) -> None:
        """A server that lists a name twice makes nothing fail; both are in the list."""
        tools = server.tools("search", "search")

        assert len(tools) == 2
        assert tools.search is tools[0]

    def test_it_displays_as_a_table(self, server: Server, shell: Any) -> None:
        tools = Tools([server.tool("get-all", description="\nFind <b>things</b>.\nMore.")])
        formats, _ = shell.display_formatter.format(tools)

        assert "<td" in formats["text/html"]
        assert "Find &lt;b&gt;things&lt;/b&gt;." in formats["text/html"]
        assert re.split(r"\s{2,}|\n", formats["text/plain"])[:4] == [
            "<Tools: 1 tool>",
            "tool",
            "description",
            "parameters",
        ]
        assert formats["text/plain"].splitlines()[-1] == (
            "get-all (.get_all)  Find <b>things</b>.  "
            "query, limit=10, from_=None, max_hits=..., exact=..."
        )
        assert repr(server.tools()) == "<Tools: 0 tools>"

    @pytest.mark.slow
    def test_a_long_list_is_cut_and_counted(self, server: Server) -> None:
        tools = server.tools(*(f"tool{i}" for i in range(1_000)))

        assert "… 900 more rows not shown" in repr(tools)
        assert "… 700 more rows not shown" in tools._repr_html_()


def annotation(schema: Any, **root: Any) -> Any:
    arguments = read_schema({"type": "object", "properties": {"x": schema}, **root})
    return arguments.signature.parameters["x"].annotation


class TestSignatures:
    def test_required_ones_come_first_with_their_types(self) -> None:
        assert str(read_schema(SEARCH).signature) == (
            "(query: str, limit: int = 10, from_: str | None = None, max_hits: float = ..., "
            "exact: bool = ...)"
        )

    @pytest.mark.parametrize(
        ("schema", "python"),
        [
            ({"type": "string"}, str),
            ({"type": "integer"}, int),
            ({"type": "number"}, float),
            ({"type": "boolean"}, bool),
            ({"type": "array"}, list),
            ({"type": "array", "items": {"type": "string"}}, list[str]),
            ({"type": "object", "properties": {"a": {}}}, dict),
            ({"type": "null"}, None),
            ({"enum": ["a", "b"]}, Literal["a", "b"]),
            ({"const": 3}, Literal[3]),
            ({"anyOf": [{"type": "string"}, {"type": "null"}]}, str | None),
            ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, int | None),
            ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, str | int),
            ({"type": ["string", "null"]}, str | None),
            ({"$ref": "#/$defs/Color"}, Literal["red"]),
            ({"allOf": [{"$ref": "#/$defs/Color"}], "default": "red"}, Literal["red"]),
            ({}, Any),
            (True, Any),
            ({"type": "strang"}, Any),
            ({"type": ["string", {}]}, Any),
            ({"$ref": "https://example.com/x"}, Any),
            ({"$ref": "#/$defs/None"}, Any),
            ({"$ref": "#/$defs/Color/enum/0"}, Any),
            ({"$ref": "#" + "/$defs" * 10_000}, Any),
            ({"$ref": "#"}, Any),
            ({"$ref": "#/$defs/Loop"}, Any),
            ({"enum": []}, Any),
            ({"enum": [[1]], "type": "array"}, list),
            ({"enum": list(range(1_000)), "type": "integer"}, int),
            ({"anyOf": []}, Any),
            ({"anyOf": [{"type": "string"}] * 1_000}, Any),
        ],
    )
    def test_types_are_pythons(self, schema: Any, python: Any) -> None:
        definitions = {
            "Color": {"enum": ["red"], "type": "string"},
            "Loop": {"$ref": "#/$defs/Loop"},
        }

        assert annotation(schema, **{"$defs": definitions}) == python

    @pytest.mark.parametrize("default", ["x", 3, 1.5, True, None, [], {}])
    def test_short_defaults_are_shown(self, default: Any) -> None:
        schema = {"properties": {"x": {"default": default}}}

        assert read_schema(schema).signature.parameters["x"].default == default

    @pytest.mark.parametrize("default", ["x" * 1_000, [1], pytest.param(10**5_000, id="number")])
    def test_long_defaults_are_only_known_to_exist(self, default: Any) -> None:
        """A default that would fill the page is shown as three dots."""
        schema = {"properties": {"x": {"default": default}}}

        assert str(read_schema(schema).signature.parameters["x"]).endswith("= ...")

    @pytest.mark.parametrize(
        ("schema", "signature"),
        [
            ({"type": "object", "properties": {}}, "()"),
            ({"type": "object"}, "(**arguments)"),
            ({"type": "object", "additionalProperties": False}, "()"),
            ({"properties": {}, "additionalProperties": True}, "(**arguments)"),
            ({"properties": {"a": {}}, "anyOf": []}, "(a: Any = ..., **arguments)"),
            ({"properties": {"arguments": {}}, "$ref": ""}, "(arguments: Any = ..., **arguments_)"),
            ({"properties": {}, "required": ["a", 3, "a"]}, "(a: Any)"),
            ({"properties": {"self": {}, "args": {}}}, "(self: Any = ..., args: Any = ...)"),
            ({"properties": {f"p{i}": {} for i in range(10_000)}}, "(**arguments)"),
            ({"properties": [], "required": {}}, "(**arguments)"),
            ([], "(**arguments)"),
            (None, "(**arguments)"),
        ],
    )
    def test_what_the_schema_leaves_open_stays_open(self, schema: Any, signature: str) -> None:
        """Only a closed list of arguments is enforced here; the server judges the rest."""
        assert str(read_schema(schema).signature) == signature

    def test_references_that_fan_out_cost_little(self) -> None:
        """A schema of a few lines cannot make the signature take a year."""
        fan = {"anyOf": [{"$ref": "#/$defs/a"}] * 8}

        assert annotation({"$ref": "#/$defs/a"}, **{"$defs": {"a": fan}}) is Any
