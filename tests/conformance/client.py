"""The client under test: `python tests/conformance/client.py SERVER_URL`.

It drives mcpnb's public names only. The suite says in the environment which scenario it plays.
Exit code 0 is success. A refusal, mcpnb's own error, is printed as the last line and exits with 1;
anything else is a crash with its traceback.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2
import mcp_types as types
from mcp import Client

import mcpnb

Done = TypeVar("Done")

CLIENT_METADATA = "https://conformance-test.local/client-metadata.json"
PATIENCE = 30
MOST_ROUNDS = 6
"""More sign-ins than mcpnb may ask for in any scenario: its own limits have to come first."""


def main() -> int:
    """Play the scenario."""
    url = sys.argv[-1]
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    version = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    try:
        if scenario.startswith("auth/"):
            protected(url, context)
        else:
            asyncio.run(open_server(url, scenario, version, context))
    except mcpnb.errors.McpnbError as error:
        print(f"refused: {type(error).__name__}: {error}")
        return 1
    print("done")
    return 0


def protected(url: str, context: dict[str, Any]) -> None:
    """Sign in, list the tools, call the first one; sign in again when more is asked for."""
    session = mcpnb.connect(
        url,
        store="memory",
        callback_port=0,
        client_id=context.get("client_id"),
        client_secret=context.get("client_secret"),
        issuer=context.get("issuer"),
        client_metadata_url=CLIENT_METADATA,
    )
    sign_in(session)
    first = signing_in(session, session.tools)[0]
    signing_in(session, lambda: session.call(first.name, arguments(first.raw.input_schema)))


def signing_in(session: mcpnb.Session, what: Callable[[], Done]) -> Done:
    """Do `what`, signing in as often as mcpnb says that it is needed."""
    for _ in range(MOST_ROUNDS):
        try:
            return what()
        except mcpnb.errors.LoginRequired as error:
            sign_in(session, error.scopes or None)
    raise AssertionError(f"mcpnb asked for more than {MOST_ROUNDS} sign-ins")


def sign_in(session: mcpnb.Session, scopes: tuple[str, ...] | None = None) -> None:
    """Be the browser: open the authorization URL and hand the redirect back."""
    login = session.login(scopes=scopes)
    try:
        login.wait_for("waiting", timeout=PATIENCE)
        assert login.url is not None
        answer = httpx2.get(login.url, follow_redirects=False, trust_env=False)
        login.submit(answer.headers["location"])
        login.wait(timeout=PATIENCE)
    finally:
        login.cancel()


async def open_server(url: str, scenario: str, version: str, context: dict[str, Any]) -> None:
    """Do what the scenario of a server without authorization wants to see."""
    session = mcpnb.connect(url, store="memory")
    async with session.client(
        # The dated versions before 2026 have the handshake, which `legacy` asks for (SEP-2575).
        mode="auto" if version >= "2026" else "legacy",
        elicitation_callback=accept_defaults,
        sampling_callback=say_something,
        list_roots_callback=no_roots,
    ) as client:
        tools = (await client.list_tools()).tools
        if scenario == "http-custom-headers":
            for call in context["toolCalls"]:
                await client.call_tool(call["name"], call["arguments"])
            return
        if scenario == "json-schema-ref-no-deref":
            return
        for tool in tools:
            await client.call_tool(tool.name, arguments(tool.input_schema))
        if scenario == "http-standard-headers":
            await read_everything(client)


async def read_everything(client: Client) -> None:
    """Send each kind of request that names a thing."""
    for resource in (await client.list_resources()).resources:
        await client.read_resource(resource.uri)
    for prompt in (await client.list_prompts()).prompts:
        await client.get_prompt(prompt.name)


def arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """Make the fewest arguments that a tool's schema allows."""
    properties = schema.get("properties", {})
    return {name: sample(properties.get(name, {})) for name in schema.get("required", ())}


def sample(schema: dict[str, Any]) -> Any:
    """Make a value for a schema: its default, its first choice, else something of its type."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    plain = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}, "null": None}
    return plain.get(schema.get("type", "string"), "sample")


async def accept_defaults(
    _context: object, question: types.ElicitRequestParams
) -> types.ElicitResult:
    """Accept a form as it comes: each field's default (SEP-1034)."""
    asked: dict[str, Any] = getattr(question, "requested_schema", {})
    content = {name: sample(field) for name, field in asked.get("properties", {}).items()}
    return types.ElicitResult(action="accept", content=content)


async def say_something(
    _context: object, _question: types.CreateMessageRequestParams
) -> types.CreateMessageResult:
    """Answer a sampling request."""
    said = types.TextContent(type="text", text="something")
    return types.CreateMessageResult(role="assistant", content=said, model="none")


async def no_roots(_context: object) -> types.ListRootsResult:
    """Own no folders."""
    return types.ListRootsResult(roots=[])


if __name__ == "__main__":
    sys.exit(main())
