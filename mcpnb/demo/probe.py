"""One request by hand, to see what a token is worth without mcpnb."""

from __future__ import annotations

import functools
import ssl

import httpx2

__all__ = ["status_of", "tls"]

PROTOCOL = "2026-07-28"


def status_of(mcp_url: str, headers: dict[str, str]) -> int:
    """Send an MCP server one request with these headers, and give the status."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    sent = headers | {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": "tools/list",
    }
    with httpx2.Client(timeout=30, trust_env=False, verify=tls()) as http:
        return http.post(mcp_url, json=message, headers=sent).status_code


@functools.cache
def tls() -> ssl.SSLContext:
    """Load the certificate authorities once: they take longer than a whole sign-in here."""
    return httpx2.create_ssl_context()
