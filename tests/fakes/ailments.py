"""MCP servers that are broken in one way each, and what the doctor says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcpnb.doctor import Report
from tests.fakes.server import PRM, FakeServer
from tests.fakes.wire import Reply, html, redirect

__all__ = [
    "CONFIGURATION",
    "ELSEWHERE",
    "MACHINE",
    "MCP_SERVERS",
    "SERVER",
    "Broken",
    "assert_only_looked_at",
    "everything",
    "wrong",
]

ELSEWHERE = "https://elsewhere.example"
SERVER, CONFIGURATION, MACHINE = ("server operator", "your configuration", "this machine")


def wrong(report: Report) -> dict[str, str]:
    """Give the verdict of everything that is not well."""
    return {c.id: c.verdict for c in report if c.verdict in ("warning", "problem")}


def assert_only_looked_at(fake: FakeServer, since: int = 0) -> None:
    """Nothing was asked that could have changed something."""
    for request in fake.requests[since:]:
        assert request.method == "GET" or request.path == "/mcp", request
        assert request.path not in ("/authorize", "/token", "/register", "/revoke")


def everything(report: Report) -> str:
    """Give all that a report shows anywhere."""
    return repr(report) + report._repr_html_() + json.dumps(report.to_dict(), ensure_ascii=False)


@dataclass(frozen=True)
class Broken:
    """A defect, and what has to be said of it."""

    breaks: Callable[[FakeServer], Any]
    check: str
    says: str
    fix: str
    side: str = SERVER
    verdict: str = "problem"
    given: dict[str, Any] | None = None
    also: dict[str, str] | None = None
    """What else is not well then."""


def undescribed(fake: FakeServer) -> None:
    fake.resource_metadata = None
    fake.challenge = {}


def nothing_known(fake: FakeServer) -> None:
    undescribed(fake)
    fake.metadata = None


def no_server(fake: FakeServer) -> None:
    nothing_known(fake)
    fake.always("/mcp", html("Welcome"))


MCP_SERVERS = {
    "no resource metadata": Broken(
        undescribed,
        "resource-metadata",
        "no protected-resource metadata",
        "“authorization_servers”",
        verdict="warning",
    ),
    "no metadata at all": Broken(
        nothing_known,
        "resource-metadata",
        "and no authorization-server metadata",
        "“authorization_servers”",
    ),
    "resource metadata not where it is said to be": Broken(
        lambda f: setattr(f, "challenge", {"resource_metadata": f"{f.base}/nowhere"}),
        "resource-metadata",
        "/nowhere",
        "resource_metadata",
        verdict="warning",
    ),
    "resource metadata over http": Broken(
        lambda f: setattr(f, "challenge", {"resource_metadata": "http://elsewhere.example/x"}),
        "resource-metadata",
        "https",
        "https",
    ),
    "resource metadata that is no JSON": Broken(
        lambda f: f.always(PRM, Reply(200, b"{", {"Content-Type": "application/json"})),
        "resource-metadata",
        "where JSON was expected",
        "JSON object",
    ),
    "resource metadata that fails": Broken(
        lambda f: f.always(PRM, Reply(503, "later")), "resource-metadata", "503", "JSON object"
    ),
    "no resource": Broken(
        lambda f: f.describe(resource=None), "resource", "no “resource”", "Set “resource” to"
    ),
    "the resource of another origin": Broken(
        lambda f: f.describe(resource=f"{ELSEWHERE}/mcp"), "resource", "another origin", "exactly"
    ),
    "the resource of another path": Broken(
        lambda f: f.describe(resource=f"{f.base}/other"), "resource", "another path", "exactly"
    ),
    "the resource of localhost": Broken(
        lambda f: f.describe(resource=f.url.replace("127.0.0.1", "localhost")),
        "resource",
        "two names",
        "exactly",
    ),
    "the resource behind a proxy": Broken(
        lambda f: f.describe(resource=f.url.replace("http:", "https:")),
        "resource",
        "http where https is right",
        "public address",
    ),
    "another resource of one's own": Broken(
        lambda _: None,
        "resource",
        "Your configuration sends",
        "Remove oauth_resource",
        CONFIGURATION,
        verdict="warning",
        given={"resource": f"{ELSEWHERE}/mcp"},
    ),
    "the resource of a parent": Broken(
        lambda f: f.describe(resource=f.base),
        "resource",
        "not exactly",
        "exactly",
        verdict="warning",
    ),
    "a 401 without WWW-Authenticate": Broken(
        lambda f: setattr(f, "challenge", None),
        "challenge",
        "no WWW-Authenticate",
        "Send WWW-Authenticate",
        verdict="warning",
    ),
    "a web page": Broken(
        no_server,
        "server",
        "not an MCP server",
        "/mcp",
        CONFIGURATION,
    ),
    "a redirect to another origin": Broken(
        lambda f: f.always("/mcp", redirect(f"{ELSEWHERE}/mcp")),
        "server",
        f"{ELSEWHERE}/mcp",
        "If that address is the server",
        CONFIGURATION,
    ),
    "a server that fails": Broken(
        lambda f: f.always("/mcp", Reply(500, "down")), "server", "HTTP 500", "later"
    ),
    "a server that hangs up": Broken(
        lambda f: f.always("/mcp", Reply(drop=True)), "reach", "was closed", "broken"
    ),
    "a clock that is wrong": Broken(
        lambda f: setattr(f, "clock_ahead", -300.0),
        "clock",
        "behind",
        "NTP",
        MACHINE,
        verdict="warning",
    ),
}
