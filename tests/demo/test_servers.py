"""The demo's MCP server: who may call what; and both servers: how they start and stop."""

from __future__ import annotations

import base64
import logging
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcpnb.demo.browser import PROTOCOL, stateless
from mcpnb.demo.servers import DemoServers
from tests.demo.flow import READ, WRITE, Flow, structured


class TestScopes:
    """401 asks who it is, 403 says that the scopes are not enough."""

    def test_a_tool_that_needs_more_answers_403_with_the_scope(self, flow: Flow) -> None:
        """In the form that clients step up from; the tool does not run.

        Older clients name the tool in the body only, also several at once (2025-03-26).
        """
        token = flow.sign_in()["access_token"]
        before = flow.demo.mcp_server.calls["publish"]
        call, _ = stateless("publish", title="x")
        listing = {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}
        older = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2025-06-18",
        }
        for refused in (
            flow.call(token, "publish", title="Fog"),
            flow.http.post(flow.demo.mcp_url, json=call, headers=older),
            flow.http.post(flow.demo.mcp_url, json=[listing, call], headers=older),
        ):
            assert refused.status_code == 403
            challenge = refused.headers["www-authenticate"]
            assert 'Bearer error="insufficient_scope", scope="data:write"' in challenge
            base = flow.demo.mcp_url.removesuffix("/mcp")
            metadata = f"{base}/.well-known/oauth-protected-resource/mcp"
            assert f'resource_metadata="{metadata}"' in challenge
        assert flow.demo.mcp_server.calls["publish"] == before

    def test_with_the_scope_it_runs(self, flow: Flow) -> None:
        token = flow.sign_in(scope=f"{READ} {WRITE}")["access_token"]
        report = structured(flow.call(token, "publish", title="Fog in March"))
        assert (report["title"], report["published_by"]) == ("Fog in March", "ada")
        assert flow.demo.mcp_server.published[-1].title == "Fog in March"

    def test_without_the_base_scope_nothing_runs(self, flow: Flow) -> None:
        """The SDK says which scope that is."""
        refused = flow.call(flow.sign_in(scope=WRITE)["access_token"], "whoami")
        assert refused.status_code == 403
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]

    def test_a_long_or_broken_body_is_no_way_around(self, flow: Flow) -> None:
        """Neither padding nor a lie in the header gets a call past the check."""
        token = flow.sign_in()["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Mcp-Method": "tools/list"}
        before = flow.demo.mcp_server.calls["publish"]
        call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"publish"}}'
        for body, status in (
            (b" " * 5_000_000 + call, 413),
            (b"{", 400),
            (call, 403),
            (b'{"method":"tools/call","params":[]}', 400),
            (b"7", 400),
        ):
            refused = flow.http.post(flow.demo.mcp_url, content=body, headers=headers)
            assert refused.status_code in {status, 406}
        assert flow.demo.mcp_server.calls["publish"] == before


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["legacy", PROTOCOL])
def test_every_tool_and_resource_works_with_the_sdks_client(flow: Flow, mode: Any) -> None:
    """In the stateless protocol and in the one with the handshake."""
    token = flow.sign_in(scope=f"{READ} {WRITE}")["access_token"]
    steps: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total, message))

    async def story() -> None:
        async with (
            httpx2.AsyncClient(
                headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30
            ) as http,
            Client(
                streamable_http_client(flow.demo.mcp_url, http_client=http), mode=mode
            ) as client,
        ):
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert names == {"whoami", "harbour_traffic", "chart", "slow", "publish", "fail"}

            rows = await client.call_tool("harbour_traffic", {"harbour_name": "Grauvik"})
            assert rows.structured_content is not None
            assert len(rows.structured_content["result"]) == 12
            assert set(rows.structured_content["result"][0]) == {
                "month",
                "harbour",
                "ships",
                "cargo_tonnes",
                "mean_wait_hours",
            }

            picture = (await client.call_tool("chart", {})).content[1]
            assert picture.type == "image"
            assert base64.b64decode(picture.data).startswith(b"\x89PNG\r\n\x1a\n")

            slow = await client.call_tool("slow", {"seconds": 0.05}, progress_callback=note)
            assert not slow.is_error
            assert steps[0][:2] == (0, 10)
            assert len(steps) >= 10

            failed = await client.call_tool("fail", {})
            assert failed.is_error
            assert "fog" in failed.content[0].text  # type: ignore[union-attr]

            uris = {str(r.uri) for r in (await client.list_resources()).resources}
            assert uris == {"demo://readme", "demo://chart.png"}
            text = (await client.read_resource("demo://readme")).contents[0]
            assert "harbour office" in text.text  # type: ignore[union-attr]
            blob = (await client.read_resource("demo://chart.png")).contents[0]
            assert base64.b64decode(blob.blob)[1:4] == b"PNG"  # type: ignore[union-attr]

    anyio.run(story)


class TestRunning:
    """Starting and stopping."""

    @pytest.mark.slow
    def test_the_servers_start_and_stop_several_times_in_one_process(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Quietly, leaving no thread and no port behind, and the log as it was."""
        root = logging.getLogger()
        before = (threading.active_count(), root.handlers[:], root.level)
        for _ in range(3):
            with DemoServers() as servers:
                port = urlsplit(servers.mcp_url).port
                assert port
                assert httpx2.get(f"{servers.issuer}/device", trust_env=False).status_code == 200
            with socket.socket() as probe:
                probe.settimeout(5)
                assert probe.connect_ex(("127.0.0.1", port)) != 0

        assert (threading.active_count(), root.handlers, root.level) == before
        assert capfd.readouterr() == ("", "")

    @pytest.mark.slow
    def test_an_open_event_stream_does_not_hold_up_the_end(self) -> None:
        """Older clients keep one open for the whole session."""
        before, servers = threading.active_count(), DemoServers(auto_consent=True)
        with servers, httpx2.Client(trust_env=False, timeout=30) as http:
            headers = {
                "Authorization": f"Bearer {Flow(servers, http).sign_in()['access_token']}",
                "Accept": "application/json, text/event-stream",
            }
            hello = {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "old", "version": "1"},
            }
            message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
            opened = http.post(servers.mcp_url, json=message, headers=headers)
            headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
            with http.stream("GET", servers.mcp_url, headers=headers) as stream:
                assert stream.status_code == 200
                servers.stop()

        assert threading.active_count() == before

    @pytest.mark.slow
    def test_chosen_ports_are_used_and_a_taken_one_is_an_error(self) -> None:
        """The MCP server has the port that was asked for, the authorization server the next."""
        with DemoServers() as servers:
            taken = urlsplit(servers.mcp_url).port
            assert taken
            with pytest.raises(OSError, match="in use"):
                DemoServers(port=taken)

    def test_tokens_show_nowhere(self, flow: Flow, caplog: pytest.LogCaptureFixture) -> None:
        """Not in a log at any level, not in a repr."""
        with caplog.at_level(logging.DEBUG):
            tokens = flow.sign_in()
            flow.call(tokens["access_token"], "whoami")

        server = flow.demo.authorization_server
        shown = caplog.text + repr(vars(server))
        for secret in (tokens["access_token"], tokens["refresh_token"], flow.verifier):
            assert secret not in shown
