"""From a tool's schema to a Python signature: also from a broken, endless or malicious one."""

from __future__ import annotations

import inspect
from typing import Any, Literal, NoReturn

import mcp_types as mcp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpnb.calls.schema import read_schema
from mcpnb.calls.tools import Tool, Tools

# How long an example takes says something about the machine, and nothing about these rules.
any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

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


KEYWORDS = ["type", "properties", "required", "enum", "anyOf", "$ref", "items", "const", "default"]
KEYWORDS += ["description", "string", "object", "#/properties", "class"]


def nobody(name: str, arguments: dict[str, Any]) -> NoReturn:
    raise AssertionError(f"{name} was called with {arguments}")


def tool(schema: Any) -> Tool:
    # Unvalidated: what the SDK lets through today need not be all that it lets through tomorrow.
    return Tool(mcp.Tool.model_construct(name="search", input_schema=schema), nobody, nobody)


def annotation(schema: Any, **root: Any) -> Any:
    arguments = read_schema({"type": "object", "properties": {"x": schema}, **root})
    return arguments.signature.parameters["x"].annotation


class TestSignatures:
    def test_required_ones_come_first_with_their_types(self) -> None:
        """The signature is the schema's, in Python's words."""
        assert str(inspect.signature(tool(SEARCH))) == (
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
            ({"allOf": [{"$ref": "#/$defs/Color"}]}, Any),
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
        """Each JSON type has a Python one; what is unclear is `Any`."""
        definitions = {
            "Color": {"enum": ["red"], "type": "string"},
            "Loop": {"$ref": "#/$defs/Loop"},
        }

        assert annotation(schema, **{"$defs": definitions}) == python

    @pytest.mark.parametrize("default", ["x", 3, 1.5, True, None, [], {}])
    def test_short_defaults_are_shown(self, default: Any) -> None:
        """A default that fits is in the signature."""
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

    @pytest.mark.slow
    @any_speed
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(KEYWORDS) | st.text(max_size=5),
                    inner | st.sampled_from(["string", "array", "object", "#/properties/class"]),
                )
            ),
            max_leaves=30,
        )
    )
    def test_no_schema_is_too_strange(self, schema: Any) -> None:
        """Whatever a server sends as a schema, there is a tool with help and a table."""
        strange = tool(schema)
        tools = Tools([strange])

        assert isinstance(inspect.signature(strange), inspect.Signature)
        assert all(str(part) for part in (strange.__doc__, repr(strange), repr(tools)))
        assert tools._repr_html_()
