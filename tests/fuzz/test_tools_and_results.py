"""What an MCP server says of its tools, and what they give back."""

from __future__ import annotations

import inspect
import json
from typing import Any

import mcp_types as mcp
from hypothesis import strategies as st

from mcpnb.calls.arguments import read_schema
from mcpnb.calls.results import ResourceContents, ToolResult, tool_error
from mcpnb.calls.tools import Tool, Tools
from tests.calls.test_results import assert_harmless
from tests.fuzz.running import fit_to_show, fuzzed, only_ours
from tests.fuzz.strategies import JSON, TEXT, URLS, documents, objects

_LONGEST_TEXT, _LONGEST_HTML = 60_000, 2_000_000
_TYPES = st.sampled_from(
    ["string", "integer", "number", "boolean", "array", "object", "null", "x", "string"]
)
_REFERENCES = st.sampled_from(
    ["#", "#/$defs/a", "#/properties/a", "#/" * 50, "https://x/y", "#/a~1"]
)
_SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPES | st.lists(_TYPES, max_size=10) | JSON,
            "description": TEXT | JSON,
            "default": JSON,
            "enum": st.lists(JSON, max_size=30) | JSON,
            "const": JSON,
            "$ref": _REFERENCES | TEXT | JSON,
        },
    )
    | JSON,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPES,
            "items": inner,
            "anyOf": st.lists(inner, max_size=10),
            "oneOf": st.lists(inner, max_size=3),
            "allOf": st.lists(inner, max_size=2),
            "properties": st.dictionaries(TEXT, inner, max_size=4),
        },
    ),
    max_leaves=8,
)
_WORDS = st.sampled_from(
    ["query", "class", "self", "None", "_", "__class__", "args", "kwargs", "é", "ﬁ"]
)
_INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("object") | JSON,
        "properties": st.dictionaries(_WORDS | TEXT, _SCHEMAS, max_size=6) | JSON,
        "required": st.lists(_WORDS | TEXT | JSON, max_size=6) | JSON,
        "additionalProperties": st.booleans() | _SCHEMAS,
        "$defs": st.dictionaries(st.sampled_from("ab"), _SCHEMAS) | JSON,
        "anyOf": JSON,
    },
)


def _tool(name: str, schema: Any, **more: Any) -> Tool:
    def call(_: str, arguments: dict[str, Any]) -> ToolResult:
        json.dumps(arguments)
        return ToolResult(mcp.CallToolResult(content=[]), name=name)

    async def acall(called: str, arguments: dict[str, Any]) -> ToolResult:
        return call(called, arguments)

    raw = mcp.Tool.model_construct(name=name, input_schema=schema, **more)
    return Tool(raw, call, acall)


@fuzzed(examples=150, schema=_INPUTS | JSON)
def test_a_schema_of_any_shape_makes_a_signature(schema: Any) -> None:
    """A tool whose schema nobody understands can be called all the same."""
    found = read_schema(schema)
    for parameter in found.signature.parameters.values():
        assert parameter.name.isidentifier()
    str(found.signature)
    with only_ours(TypeError):
        found.bind("tool", (), {p.python_name: 1 for p in found.parameters})


@fuzzed(
    examples=100,
    name=TEXT | _WORDS,
    schema=_INPUTS,
    described=TEXT | st.none(),
    title=TEXT | st.none(),
)
def test_a_tool_of_any_kind_has_a_help_a_table_and_a_name_that_can_be_shown(
    name: str, schema: Any, described: str | None, title: str | None
) -> None:
    tool = _tool(name, schema, description=described, title=title, annotations=None)
    tools = Tools([tool, _tool("search", {}, description="", title=None, annotations=None)])
    fit_to_show(repr(tool))
    fit_to_show(str(tool.__doc__), most=_LONGEST_TEXT)
    fit_to_show(repr(tools), most=_LONGEST_TEXT)
    fit_to_show(tools._repr_html_(), most=_LONGEST_HTML)
    inspect.signature(tool)
    assert tools[name] is tool or name == "search"
    assert "search" in dir(tools)
    assert all(spelled.isidentifier() for spelled in vars(tools)["_by_attribute"])
    with only_ours(TypeError):
        tool(1)


_TEXT_OF_JSON = (
    JSON.map(json.dumps) | objects().map(json.dumps) | st.lists(objects()).map(json.dumps)
)
_BASE64 = st.sampled_from(["", "iVBORw0KGgo=", "AAAA", "====", "R0lGODlh"]) | TEXT
_KINDS = st.sampled_from(["image/png", "image/svg+xml", "text/csv", "text/html", ""]) | TEXT
_CONTENT = st.one_of(
    st.builds(mcp.TextContent, text=TEXT | _TEXT_OF_JSON),
    st.builds(mcp.ImageContent, data=_BASE64, mime_type=_KINDS),
    st.builds(mcp.AudioContent, data=_BASE64, mime_type=_KINDS),
    st.builds(mcp.ResourceLink, name=TEXT, uri=URLS, title=TEXT | st.none()),
    st.builds(
        mcp.EmbeddedResource,
        resource=st.builds(
            mcp.TextResourceContents, uri=URLS, text=TEXT | _TEXT_OF_JSON, mime_type=_KINDS
        )
        | st.builds(mcp.BlobResourceContents, uri=URLS, blob=_BASE64, mime_type=_KINDS),
    ),
)
_ROWS = st.lists(objects(), max_size=5) | st.lists(
    st.lists(JSON, min_size=2, max_size=2), max_size=4
)
_STRUCTURED = (
    st.none()
    | objects()
    | st.builds(lambda name, rows: {name: rows}, st.sampled_from(["result", "rows", "x"]), _ROWS)
    | st.builds(
        lambda columns, rows: {"columns": columns, "data": rows}, st.lists(JSON, max_size=2), _ROWS
    )
    | st.builds(
        lambda a, b: {"a": a, "b": b}, st.lists(JSON, max_size=3), st.lists(JSON, max_size=3)
    )
    | documents({"rows": [{"a": 1}], "total": 1})
)


@fuzzed(
    examples=120,
    content=st.lists(_CONTENT, max_size=4),
    structured=_STRUCTURED,
    is_error=st.booleans(),
    name=TEXT,
)
def test_a_result_of_any_content_can_be_shown_and_taken_apart(
    content: list[Any],
    structured: Any,
    is_error: bool,  # noqa: FBT001  hypothesis gives names
    name: str,
) -> None:
    raw = mcp.CallToolResult.model_construct(
        content=content, structured_content=structured, is_error=is_error
    )
    result = ToolResult(raw, name=name)
    fit_to_show(repr(result), most=_LONGEST_TEXT)
    for text in result._repr_mimebundle_().values():
        assert len(text) < 20_000_000
    if "text/html" in result._repr_mimebundle_():
        fit_to_show(result._repr_mimebundle_()["text/html"], most=_LONGEST_HTML)
    assert_harmless(result)
    _ = (result.data, result.text)
    with only_ours():
        result.df()
    for image in result.images:
        fit_to_show(repr(image))
        with only_ours():
            _ = image.data
    fit_to_show(str(tool_error(name, result)))


@fuzzed(
    examples=100,
    contents=st.lists(
        st.builds(mcp.TextResourceContents, uri=URLS, text=TEXT | _TEXT_OF_JSON, mime_type=_KINDS)
        | st.builds(mcp.BlobResourceContents, uri=URLS, blob=_BASE64, mime_type=_KINDS),
        max_size=3,
    ),
    uri=URLS | TEXT,
)
def test_a_resource_of_any_content_can_be_shown_and_taken_apart(
    contents: list[Any], uri: str
) -> None:
    read = ResourceContents(mcp.ReadResourceResult.model_construct(contents=contents), uri)
    fit_to_show(repr(read), most=_LONGEST_TEXT)
    with only_ours():
        _ = read.data
    with only_ours():
        read.df()
    fit_to_show(read._repr_mimebundle_().get("text/html", ""), most=_LONGEST_HTML)
