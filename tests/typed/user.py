"""What a person may write, as a type checker sees it: checked against the wheel, never run.

Each section is a part of the public surface. `assert_type` stands where another type would take
something from the person who writes such code: completion, or an error found before it happens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, assert_type

import httpx
import httpx2
import ipywidgets  # type: ignore[import-untyped]
from mcp import Client

import mcpnb
from mcpnb import errors, stores

Told = tuple[float, float | None, str | None]


# Connecting


def connects(store: stores.TokenStore, config: Path) -> mcpnb.Session:
    assert_type(mcpnb.__version__, str)
    assert_type(mcpnb.connect("linear"), mcpnb.Session)
    session = mcpnb.connect(
        "https://mcp.example.com/mcp",
        account="work",
        scopes=["read", "write"],
        client_id="id",
        client_secret="secret",
        issuer="https://auth.example.com",
        registration="preregistered",
        client_metadata_url="https://me.example.com/client.json",
        resource="https://mcp.example.com",
        callback_port=27182,
        callback_url="https://hub.example.com/callback",
        store=store,
        config=config,
        via="loopback",
    )
    mcpnb.connect("linear", scopes="read write", store="memory", config="mcpnb.toml")
    mcpnb.connect("linear", scopes=("read",), registration="cimd", via="page")
    mcpnb.allow_nested_asyncio()
    return session


async def runs_all(session: mcpnb.Session) -> None:
    assert_type(await mcpnb.connect("linear"), mcpnb.Session)
    assert_type(await session, mcpnb.Session)
    assert_type(await session.ready(timeout=60), mcpnb.Session)
    assert_type(session.wait(timeout=60), mcpnb.Session)


# Signing in and out


def says(login: mcpnb.Login[mcpnb.Session]) -> None:
    assert_type(
        login.state,
        Literal[
            "discovering",
            "registering",
            "waiting",
            "exchanging",
            "signed_in",
            "failed",
            "cancelled",
        ],
    )


def signs_in(session: mcpnb.Session) -> None:
    login = session.login(scopes="read", device=False, open_browser=True, timeout=60, via="paste")
    assert_type(login, mcpnb.Login[mcpnb.Session])
    login.on_change(says)
    login.on_change(lambda changed: print(changed.state, *changed.notes))  # noqa: T201
    login.wait_for("waiting", timeout=10)
    assert_type(login.url, str | None)
    assert_type(login.user_code, str | None)
    assert_type(login.expires_at, float | None)
    assert_type(login.error, mcpnb.McpnbError | None)
    login.submit()
    login.submit("http://127.0.0.1:27182/callback?code=…")
    assert_type(login.wait(timeout=60), mcpnb.Session)
    login.cancel()
    assert_type(session.resume(), mcpnb.Login[mcpnb.Session] | None)
    assert_type(session.finish("http://127.0.0.1:27182/callback?code=…"), mcpnb.Session)
    assert_type(session.logout(), bool)


def looks(session: mcpnb.Session) -> None:
    assert_type(session.signed_in, bool)
    assert_type(session.status, str)
    assert_type(session.server, str)
    assert_type(session.name, str | None)
    assert_type(session.account, str | None)
    assert_type(session.issuer, str | None)
    assert_type(session.scopes, tuple[str, ...])
    assert_type(session.expires_at, float | None)
    assert_type(session.store, stores.TokenStore)
    assert_type(session.problem, errors.ConfigError | None)


# Calling


def hears(progress: float, total: float | None, message: str | None) -> None:
    print(progress, total, message)  # noqa: T201


def calls(session: mcpnb.Session) -> None:
    result = session.call("search", {"query": "report"}, limit=5)
    assert_type(result.text, str)
    assert_type(result.is_error, bool)
    assert_type(result.data, Any)  # what a server sends is not known before
    assert_type(result.df(), Any)  # pandas may be absent
    assert_type(result.images[0].data, bytes)
    assert_type(result.images[0].mime_type, str)
    assert_type(result.raw.is_error, bool)
    view = session.options(timeout=2.5, progress=hears)
    assert_type(view, mcpnb.Session)
    assert_type(view.call("search").text, str)


def lists(session: mcpnb.Session) -> None:
    tools = session.tools()
    named: Sequence[object] = tools
    assert_type(len(named), int)
    assert_type(tools[0].name, str)
    assert_type(tools["search"].name, str)
    assert_type(tools[1:][0].name, str)
    assert_type(tools.search(query="x").text, str)
    assert_type(tools.search.name, str)
    assert_type(tools.search.description, str)
    assert_type([p.python_name for p in tools.search.parameters], list[str])
    assert_type([tool.raw.input_schema for tool in tools], list[dict[str, Any]])
    assert_type(session.resources(), list[Any])
    assert_type(session.read("file:///a.csv").mime_type, str | None)
    assert_type(session.read("file:///a.csv").uri, str)


async def awaits(session: mcpnb.Session) -> None:
    assert_type((await session.acall("search", {"query": "x"}, limit=5)).text, str)
    tools = await session.atools()
    assert_type((await tools.search.acall(query="x")).text, str)
    assert_type((await session.aread("file:///a.csv")).text, str)
    later: Awaitable[object] = session.acall("search")
    await later
    async with session.client(read_timeout_seconds=5) as client:
        sdk: Client = client
        assert_type([prompt.name for prompt in (await sdk.list_prompts()).prompts], list[str])


# Clients of one's own


def brings_clients(session: mcpnb.Session) -> None:
    with httpx.Client(auth=session.auth) as old:
        assert_type(old.get(session.server, auth=session.auth), httpx.Response)
    with httpx2.Client(auth=session.auth) as new:
        assert_type(new.get(session.server, auth=session.auth), httpx2.Response)


async def brings_async_clients(session: mcpnb.Session) -> None:
    async with httpx.AsyncClient(auth=session.auth) as old:
        assert_type(await old.get(session.server, auth=session.auth), httpx.Response)
    async with httpx2.AsyncClient(auth=session.auth) as new:
        assert_type(await new.get(session.server, auth=session.auth), httpx2.Response)


def brings_headers(session: mcpnb.Session) -> None:
    assert_type(session.headers(), dict[str, str])
    assert_type(session.access_token(), str)


# Errors


def fails(session: mcpnb.Session) -> None:
    try:
        session.call("search")
    except mcpnb.LoginRequired as error:
        assert_type(error.server, str)
        assert_type(error.scopes, tuple[str, ...])
    except mcpnb.ToolError as error:
        assert_type(error.result, object)
        assert_type(error.code, int | None)
    except errors.GrantError as error:
        assert_type((error.error, error.status, error.retry_after), tuple[str, int, float | None])
    except errors.LoginDenied as error:
        assert_type(error.error, str)
    except errors.ProtocolError as error:
        assert_type(error.rule, str)
    except errors.ServerUnreachable as error:
        assert_type(error.sent, bool)
    except errors.ScopeRefused as error:
        assert_type(error.scopes, tuple[str, ...])
    except mcpnb.McpnbError as error:
        assert_type(error, mcpnb.McpnbError)


def is_drawn_as_it_is(
    refused: errors.AnswerRefused | errors.ClientIdRequired | errors.LoginCancelled,
    late: errors.LoginTimeout | errors.CallTimeout,
    kept: errors.StoreLocked | errors.StoreBusy | errors.NewerFormat,
    found: errors.NoSignInNeeded,
    config: errors.ConfigError,
) -> None:
    login: errors.LoginError = refused
    timeout: TimeoutError = late
    store: errors.StoreError = kept
    discovery: errors.DiscoveryError = found
    server: errors.ServerError = discovery
    value: ValueError = config
    ours: list[mcpnb.McpnbError] = [login, store, server, config]
    standard: list[Exception] = [timeout, value]
    raise ours[0] from standard[0]


# Stores


def keeps(folder: Path) -> None:
    files: stores.TokenStore = stores.FileStore(folder)
    memory: stores.TokenStore = stores.MemoryStore()
    key = stores.Key("login", "https://mcp.example.com/mcp")
    for store in (files, memory):
        assert_type(store.read(key), dict[str, Any] | None)
        assert_type(store.keys("login"), list[stores.Key])
        store.write(key, {"version": 1})
        store.delete(key, leave_tombstone=True)
        with store.lock(key, 5):
            assert_type(store.location(key), str)
    assert_type(stores.FileStore(folder).folder, Path)
    assert_type(files.lock(key, 1), AbstractContextManager[None])


class OwnStore(stores.MemoryStore):
    def location(self, key: stores.Key) -> str:
        return f"{super().location(key)}, and in a vault"


def keeps_elsewhere(session: mcpnb.Session) -> None:
    session.keep_in(OwnStore())
    mcpnb.connect("linear", store=OwnStore())


# Panels and tables


def shows(session: mcpnb.Session) -> None:
    panel = mcpnb.Panel(session, via="device")
    assert_type(panel.session, mcpnb.Session)
    assert_type(panel.live, bool)
    panel.close()
    ipywidgets.VBox([panel])


def explains(session: mcpnb.Session) -> None:
    report = session.doctor(call=True, sign_in=False)
    assert_type(report.verdict, Literal["ok", "warning", "problem", "unknown"])
    assert_type([check.fix for check in report], list[str | None])
    assert_type(report["token"].answer, str)
    assert_type(report.to_dict(), dict[str, Any])
    found = mcpnb.discover("https://mcp.example.com/mcp", config="mcpnb.toml")
    assert_type(found.resource, str)
    assert_type(found.sign_in_at.issuer, str)
    assert_type(found.facts(), dict[str, str])
    assert_type([row["url"] for row in mcpnb.servers(probe=False)], list[Any])
