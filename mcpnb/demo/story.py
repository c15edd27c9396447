"""The whole story in a terminal, without a browser: each step done, and checked at the servers."""

from __future__ import annotations

import threading
import time
from typing import Any, TextIO
from urllib.parse import parse_qs, urlsplit

import mcpnb
from mcpnb.demo.browser import NoRedirectError, approve
from mcpnb.demo.probe import status_of
from mcpnb.demo.scopes import READ, WRITE
from mcpnb.demo.servers import DemoServers
from mcpnb.demo.transcript import StoryError, Transcript
from mcpnb.errors import LoginDenied, LoginRequired, McpnbError, ToolError
from mcpnb.text import sanitize

__all__ = ["run_story"]

# Long enough for the calls before it ends, short enough to wait for.
LIFETIME = 4
LONG_LIFETIME = 3600
# No step takes this long unless something is stuck.
PATIENCE = 30

OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
# 128 bits in base64url.
STATE_LENGTH = 22
ROWS = 3


def run_story(out: TextIO) -> int:
    """Play the whole story and write it down.

    Args:
        out: Where the transcript goes.

    Returns:
        0 if every step happened, 1 if one did not.
    """
    transcript = Transcript(out)
    try:
        with DemoServers(access_token_lifetime=LIFETIME) as demo:
            Story(demo, transcript).play()
    except (StoryError, McpnbError, NoRedirectError, OSError) as error:
        transcript.failed(f"{type(error).__name__}: {sanitize(error, 1000)}")
        return 1
    except Exception as error:  # noqa: BLE001  a sentence, no traceback
        transcript.failed(f"Unexpected {type(error).__name__}: {sanitize(error, 1000)}")
        return 1
    transcript.line()
    transcript.line(
        f"All {transcript.steps} steps happened, in {transcript.seconds:.1f} s, and were checked "
        "at the servers.",
        "bold green",
    )
    return 0


class Story:
    """One person, one MCP server, from the first look to signing out."""

    def __init__(self, demo: DemoServers, transcript: Transcript) -> None:
        self._demo = demo
        self._server = demo.authorization_server
        self._tell = transcript
        # In memory: a demonstration leaves nothing behind, and reads nothing of the person's.
        self._session = mcpnb.connect(demo.mcp_url, store="memory", callback_port=0)
        self._seen = [0, 0]

    def play(self) -> None:
        """Do every step, in order."""
        tell = self._tell
        tell.title("mcpnb demo: the whole story, against two servers on this computer")
        tell.line()
        tell.line(f"MCP server            {self._demo.mcp_url}", indent=3)
        tell.line(f"authorization server  {self._demo.issuer}", indent=3)
        for step in (
            self._discover,
            self._refuse_without_login,
            self._sign_in,
            self._call,
            self._expire,
            self._refresh,
            self._step_up,
            self._deny,
            self._wrong_audience,
            self._sign_out,
        ):
            try:
                step()
            finally:
                self._show_requests()

    def _discover(self) -> None:
        self._tell.step("Look how one would sign in")
        self._tell.typed("mcpnb.discover(url)")
        found = mcpnb.discover(self._demo.mcp_url)
        server = found.authorization_server
        self._tell.fact(
            server is not None and server.issuer == self._demo.issuer,
            f"the MCP server names its authorization server: {self._demo.issuer}",
        )
        resource = found.protected_resource
        self._tell.fact(
            resource is not None and resource.resource == self._demo.mcp_url,
            f"it is a protected resource called {self._demo.mcp_url}, scopes {READ}",
        )
        self._tell.fact(
            server is not None
            and server.code_challenge_methods == ("S256",)
            and server.iss_in_response,
            "PKCE S256 and the issuer in each answer (RFC 9207) are announced",
        )
        self._tell.fact(len(self._server.clients) == 0, "nobody was registered for a look")

    def _refuse_without_login(self) -> None:
        self._tell.step("Call without having signed in")
        self._tell.typed('session.call("whoami")')
        error = self._login_required("whoami")
        self._tell.shown(f"LoginRequired: {error}")
        self._tell.fact(
            self._demo.mcp_server.calls["whoami"] == 0 and not self._server.consents,
            "the tool did not run, and no browser was opened",
        )

    def _sign_in(self) -> None:
        self._tell.step("Sign in")
        self._tell.typed("login = session.login()      # the page that login.url leads to: Approve")
        url = self._log_in(READ)
        query = parse_qs(urlsplit(url).query)
        self._tell.fact(
            query.get("resource") == [self._demo.mcp_url]
            and query.get("code_challenge_method") == ["S256"]
            and len(query.get("state", [""])[0]) >= STATE_LENGTH,
            "the request named the MCP server as its resource, with PKCE S256 and a state",
        )
        self._tell.fact(
            self._server.grants["authorization_code"] == 1 and self._session.signed_in,
            f"one code was exchanged; the access token lives {LIFETIME} s",
        )
        self._tell.shown(repr(self._session))

    def _call(self) -> None:
        tools = self._session.tools()
        calls = self._demo.mcp_server.calls
        self._tell.step("Call its tools")
        self._tell.typed('session.call("whoami").data')
        who: dict[str, Any] = self._session.call("whoami").data
        self._tell.shown(f"{who['subject']}, scopes {', '.join(who['scopes'])}")
        self._tell.fact(
            calls["whoami"] == 1 and 0 < who["seconds_left"] <= LIFETIME,
            f"the server knows the token: {who['seconds_left']} s left, {len(tools)} tools to call",
        )
        self._tell.typed(f'session.call("harbour_traffic", limit={ROWS}).data')
        rows: list[dict[str, Any]] = self._session.call("harbour_traffic", limit=ROWS).data
        for row in rows:
            self._tell.shown("  ".join(str(value) for value in row.values()))
        self._tell.fact(len(rows) == ROWS, f"{ROWS} rows came")
        self._tell.typed('session.call("chart").images')
        (image,) = self._session.call("chart").images
        self._tell.fact(
            image.data.startswith(b"\x89PNG"), f"a picture came: PNG, {len(image.data)} bytes"
        )
        self._progress()
        self._tell.typed('session.call("fail")')
        try:
            self._session.call("fail")
        except ToolError as error:
            self._tell.shown(f"ToolError: {error}")
        self._tell.fact(calls["fail"] == 1, "a tool's own failure is an error of its own kind")

    def _progress(self) -> None:
        self._tell.typed('session.options(progress=print).call("slow", seconds=0.3)')
        steps: list[float] = []

        def note(done: float, _total: float | None, _message: str | None) -> None:
            steps.append(done)

        self._session.options(progress=note).call("slow", seconds=0.3)
        self._tell.fact(len(steps) > 1, f"progress was reported {len(steps)} times on the way")

    def _expire(self) -> None:
        self._tell.step("Let the access token expire")
        token = self._session.headers()
        until = self._server.next_expiry() or 0.0
        self._tell.shown(f"waiting {max(until - time.time(), 0):.1f} s")
        deadline, pause = time.monotonic() + 5 * LIFETIME, threading.Event()
        # A renewal that was already under way gives a newer one: wait for that one too.
        while (until := self._server.next_expiry() or 0.0) and time.monotonic() < deadline:
            pause.wait(max(until - time.time(), 0.01))
        self._tell.fact(self._server.next_expiry() is None, "no access token is valid any more")
        status = status_of(self._demo.mcp_url, token)
        self._tell.fact(status == UNAUTHORIZED, f"the server answers it with HTTP {status}")

    def _refresh(self) -> None:
        self._tell.step("Call again")
        before = self._server.grants["refresh_token"]
        # The next ones live as long as real ones.
        self._server.access_token_lifetime = LONG_LIFETIME
        self._tell.typed('session.call("whoami").data')
        who: dict[str, Any] = self._session.call("whoami").data
        self._session.call("harbour_traffic")
        refreshed = self._server.grants["refresh_token"] - before
        self._tell.fact(
            refreshed == 1 and who["seconds_left"] > LIFETIME,
            f"it just works: the server counted {refreshed} refresh for two calls, "
            f"{who['seconds_left']:.0f} s left",
        )
        self._tell.fact(
            len(self._server.consents) == 1 and self._server.grants["authorization_code"] == 1,
            "nobody was asked anything",
        )

    def _step_up(self) -> None:
        server = self._demo.mcp_server
        self._tell.step("Call what needs more than was granted")
        self._tell.typed('session.call("publish", title="Fog in March")')
        error = self._login_required("publish", title="Fog in March")
        self._tell.shown(f"LoginRequired: {error}")
        self._tell.fact(
            error.scopes == (WRITE,) and ("POST", "/mcp", FORBIDDEN) in server.answers,
            f"the server answered HTTP 403 and named the scope {WRITE}",
        )
        self._tell.typed("session.login(scopes=error.scopes)")
        self._log_in(READ, WRITE, scopes=error.scopes)
        self._tell.typed('session.call("publish", title="Fog in March").data')
        report: dict[str, Any] = self._session.call("publish", title="Fog in March").data
        self._tell.fact(
            [r.title for r in server.published] == ["Fog in March"] and report["number"] == 1,
            f"it is published, by {report['published_by']}, once",
        )

    def _deny(self) -> None:
        self._tell.step("Say no on the consent page")
        other = mcpnb.connect(self._demo.mcp_url, account="other", store="memory", callback_port=0)
        self._tell.typed('mcpnb.connect(url, account="other").login()      # Deny')
        login = other.login()
        login.wait_for("waiting", timeout=PATIENCE)
        approve(login.url or "", deny=True)
        try:
            login.wait(timeout=PATIENCE)
        except LoginDenied as error:
            self._tell.shown(f"LoginDenied: {error}")
            told = error.error
        else:
            told = "nothing"
        self._tell.fact(
            told == "access_denied" and not self._server.consents[-1].approved,
            "the app was told, and got nothing",
        )
        self._tell.fact(not other.signed_in and self._session.signed_in, "the first login goes on")

    def _wrong_audience(self) -> None:
        self._tell.step("Use a token that is for another MCP server")
        elsewhere = f"{self._demo.mcp_url}-elsewhere"
        self._server.resources.add(elsewhere)
        self._tell.typed(f'mcpnb.connect(url, account="other", resource="{elsewhere}")')
        other = mcpnb.connect(
            self._demo.mcp_url,
            account="other",
            resource=elsewhere,
            store="memory",
            callback_port=0,
        )
        login = other.login()
        login.wait_for("waiting", timeout=PATIENCE)
        approve(login.url or "")
        login.wait(timeout=PATIENCE)
        status = status_of(self._demo.mcp_url, other.headers())
        self._tell.fact(
            self._server.consents[-1].resource == elsewhere and status == UNAUTHORIZED,
            f"same person, same scopes, same issuer, other audience: HTTP {status}",
        )
        other.logout()

    def _sign_out(self) -> None:
        self._tell.step("Sign out")
        token = self._session.headers()
        grant = self._server.grant_of(self._session.access_token())
        self._tell.fact(
            status_of(self._demo.mcp_url, token) == OK and grant is not None and not grant.revoked,
            "until now the token works",
        )
        self._tell.typed("session.logout()")
        confirmed = self._session.logout()
        self._tell.fact(
            bool(confirmed) and ("POST", "/revoke", OK) in self._demo.answers,
            "the server confirmed the revocation (RFC 7009)",
        )
        status = status_of(self._demo.mcp_url, token)
        self._tell.fact(status == UNAUTHORIZED, f"the same token now gets HTTP {status}")
        self._tell.fact(
            grant is not None and grant.revoked,
            "the whole grant has ended: its refresh token is of no use either",
        )
        self._tell.fact(not self._session.signed_in, "and nothing is left here")
        self._login_required("whoami")

    # What several steps do.

    def _log_in(self, *wanted: str, scopes: tuple[str, ...] | None = None) -> str:
        """Sign in through the real consent page and the loopback listener; give the URL."""
        consents = len(self._server.consents)
        login = self._session.login(scopes=scopes)
        login.wait_for("waiting", timeout=PATIENCE)
        url = login.url or ""
        approve(url)
        login.wait(timeout=PATIENCE)
        given = self._server.consents[consents:]
        self._tell.fact(
            len(given) == 1 and given[0].approved and set(given[0].scopes) == set(wanted),
            f"one consent, for “{given[0].client if given else ''}”: {', '.join(wanted)}",
        )
        return url

    def _login_required(self, tool: str, **arguments: Any) -> LoginRequired:
        try:
            self._session.call(tool, **arguments)
        except LoginRequired as error:
            return error
        raise StoryError(f"{tool} answered although it needs a sign-in")

    def _show_requests(self) -> None:
        """Show what went over the wire since the last step."""
        answers = (self._demo.mcp_server.answers, self._demo.answers)
        for index, (where, all_of_them) in enumerate(zip(("MCP ", "auth"), answers, strict=True)):
            self._tell.sent(where, all_of_them[self._seen[index] :])
            self._seen[index] = len(all_of_them)
