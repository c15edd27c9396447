"""The whole story in a terminal, without a browser: each step done, and checked at the servers."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from typing import Any, TextIO
from urllib.parse import parse_qs, urlsplit

import click

import mcpnb
from mcpnb.demo.authorization import READ, WRITE
from mcpnb.demo.browser import NoRedirectError, approve, status_of
from mcpnb.demo.servers import Answer, DemoServers
from mcpnb.errors import LoginDenied, LoginRequired, McpnbError, ToolError
from mcpnb.text import sanitize

# Seconds: long enough for the calls before it ends, short enough to wait for.
LIFETIME = 4
LONG_LIFETIME = 3600
# No step takes this long unless something is stuck.
PATIENCE = 30

OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
# 128 bits in base64url.
STATE_LENGTH = 22
ROWS = 3
# For a terminal that does not know Unicode.
_PLAIN_MARKS = str.maketrans("✓✗→", "+!>")

TITLE = "mcpnb demo: the whole story, against two servers on this computer\n"


class StoryError(Exception):
    """A step did not happen as told; the message says which fact is missing."""


def run_story(out: TextIO) -> int:
    """Play the whole story, and write a transcript.

    Returns:
        0 if every step happened, 1 if one did not.
    """
    try:
        with DemoServers(access_token_lifetime=LIFETIME) as demo:
            return Story(demo, out).tell()
    except OSError as error:
        click.echo(f"The servers did not start: {sanitize(error, 1000)}", file=out)
        return 1


class Story:
    """One person, one MCP server, from the first look to signing out."""

    def __init__(self, demo: DemoServers, out: TextIO) -> None:
        self._demo = demo
        self._url = demo.mcp_url
        self._server = demo.authorization_server
        self._session = self._connect()
        self._out = out
        self._encoding = getattr(out, "encoding", None) or "utf-8"
        self._steps = 0

    def _connect(self, **given: Any) -> mcpnb.Session:
        # In memory: a demonstration leaves nothing behind, and reads nothing of the person's.
        return mcpnb.connect(self._url, store="memory", callback_port=0, **given)

    def tell(self) -> int:
        """Play the story, and return the exit code."""
        start = time.monotonic()
        try:
            self._play()
        except Exception as error:  # noqa: BLE001 - a sentence, no traceback
            expected = isinstance(error, StoryError | McpnbError | NoRedirectError | OSError)
            text = f"{'' if expected else 'Unexpected '}{type(error).__name__}: "
            self._shown(f"✗ {text}{sanitize(error, 1000)}", fg="red", bold=True)
            return 1
        text = f"\nAll {self._steps} steps happened, in {time.monotonic() - start:.1f} s, "
        self._line(text + "and were checked at the servers.", fg="green", bold=True)
        return 0

    def _play(self) -> None:
        self._line(TITLE, bold=True)
        self._shown(f"MCP server            {self._url}")
        self._shown(f"authorization server  {self._demo.issuer}")
        servers = {"MCP ": self._demo.mcp_answers, "auth": self._demo.answers}
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
            seen = {name: len(answers) for name, answers in servers.items()}
            try:
                step()
            finally:
                for name, answers in servers.items():
                    self._sent(name, answers[seen[name] :])

    def _discover(self) -> None:
        self._step("Look how one would sign in")
        self._typed("mcpnb.discover(url)")
        found = mcpnb.discover(self._url)
        server, resource = found.authorization_server, found.protected_resource
        self._fact(
            server is not None and server.issuer == self._demo.issuer,
            f"the MCP server names its authorization server: {self._demo.issuer}",
        )
        self._fact(
            resource is not None and resource.resource == self._url,
            f"it is a protected resource called {self._url}, scopes {READ}",
        )
        self._fact(
            server is not None
            and server.code_challenge_methods == ("S256",)
            and server.iss_in_response,
            "it announces PKCE S256 and the issuer in each response (RFC 9207)",
        )
        self._fact(not self._server.clients, "a look registers nobody")

    def _refuse_without_login(self) -> None:
        self._step("Call without having signed in")
        self._login_required("whoami")
        self._fact(
            self._demo.mcp_server.calls["whoami"] == 0 and not self._server.consents,
            "the tool did not run, and no browser was opened",
        )

    def _sign_in(self) -> None:
        self._step("Sign in")
        self._typed("login = session.login()      # the page that login.url leads to: Approve")
        url = self._log_in(READ)
        query = parse_qs(urlsplit(url).query)
        self._fact(
            query.get("resource") == [self._url]
            and query.get("code_challenge_method") == ["S256"]
            and len(query.get("state", [""])[0]) >= STATE_LENGTH,
            "the request named the MCP server as its resource, with PKCE S256 and a state",
        )
        self._fact(
            self._server.grants["authorization_code"] == 1 and self._session.signed_in,
            f"one code was exchanged; the access token lives {LIFETIME} s",
        )
        self._shown(repr(self._session))

    def _call(self) -> None:
        tools = self._session.tools()
        calls = self._demo.mcp_server.calls
        self._step("Call its tools")
        who = self._whoami()
        self._shown(f"{who['subject']}, scopes {', '.join(who['scopes'])}")
        self._fact(
            calls["whoami"] == 1 and 0 < who["seconds_left"] <= LIFETIME,
            f"the server knows the token: {who['seconds_left']} s left, {len(tools)} tools to call",
        )
        self._typed(f'session.call("harbour_traffic", limit={ROWS}).data')
        rows: list[dict[str, Any]] = self._session.call("harbour_traffic", limit=ROWS).data
        for row in rows:
            self._shown("  ".join(str(value) for value in row.values()))
        self._fact(len(rows) == ROWS, f"{ROWS} rows came")
        self._typed('session.call("chart").images')
        (image,) = self._session.call("chart").images
        self._fact(
            image.data.startswith(b"\x89PNG"), f"a picture came: PNG, {len(image.data)} bytes"
        )
        self._typed('session.options(progress=print).call("slow", seconds=0.3)')
        steps: list[object] = []
        progress = self._session.options(progress=lambda *step: steps.append(step))
        progress.call("slow", seconds=0.3)
        self._fact(len(steps) > 1, f"progress was reported {len(steps)} times on the way")
        self._typed('session.call("fail")')
        try:
            self._session.call("fail")
        except ToolError as error:
            self._shown(f"ToolError: {error}")
        self._fact(calls["fail"] == 1, "a tool's own failure is an error of its own kind")

    def _expire(self) -> None:
        self._step("Let the access token expire")
        token = self._session.headers()
        expiry = self._server.next_expiry() or 0.0
        self._shown(f"waiting {max(expiry - time.time(), 0):.1f} s")
        deadline, pause = time.monotonic() + 5 * LIFETIME, threading.Event()
        # A refresh that was already under way gives a newer one: wait for that one too.
        while (expiry := self._server.next_expiry() or 0.0) and time.monotonic() < deadline:
            pause.wait(max(expiry - time.time(), 0.01))
        self._fact(self._server.next_expiry() is None, "no access token is valid any more")
        self._unauthorized(token, "the server answers it with")

    def _refresh(self) -> None:
        self._step("Call again")
        before = self._server.grants["refresh_token"]
        # The next ones live as long as real ones.
        self._server.access_token_lifetime = LONG_LIFETIME
        who = self._whoami()
        self._session.call("harbour_traffic")
        refreshed = self._server.grants["refresh_token"] - before
        self._fact(
            refreshed == 1 and who["seconds_left"] > LIFETIME,
            f"it just works: the server counted {refreshed} refresh for two calls, "
            f"{who['seconds_left']:.0f} s left",
        )
        self._fact(
            len(self._server.consents) == 1 and self._server.grants["authorization_code"] == 1,
            "nobody was asked anything",
        )

    def _step_up(self) -> None:
        server = self._demo.mcp_server
        self._step("Call what needs more than was granted")
        error = self._login_required("publish", title="Fog in March")
        self._fact(
            error.scopes == (WRITE,) and ("POST", "/mcp", FORBIDDEN) in self._demo.mcp_answers,
            f"the server answered HTTP 403 and named the scope {WRITE}",
        )
        self._typed("session.login(scopes=error.scopes)")
        self._log_in(READ, WRITE, scopes=error.scopes)
        self._typed('session.call("publish", title="Fog in March").data')
        report: dict[str, Any] = self._session.call("publish", title="Fog in March").data
        self._fact(
            [r.title for r in server.published] == ["Fog in March"] and report["number"] == 1,
            f"it is published, by {report['published_by']}, once",
        )

    def _deny(self) -> None:
        self._step("Say no on the consent page")
        self._typed('mcpnb.connect(url, account="other").login()      # Deny')
        other = self._connect(account="other")
        told = "nothing"
        try:
            self._decide(other, deny=True)
        except LoginDenied as error:
            self._shown(f"LoginDenied: {error}")
            told = error.error
        self._fact(
            told == "access_denied" and self._server.consents[-1].denied,
            "the app was told, and got nothing",
        )
        self._fact(not other.signed_in and self._session.signed_in, "the first login is as it was")

    def _wrong_audience(self) -> None:
        self._step("Use a token that is for another MCP server")
        elsewhere = f"{self._url}-elsewhere"
        self._server.resources.add(elsewhere)
        self._typed(f'mcpnb.connect(url, account="other", resource="{elsewhere}")')
        other = self._connect(account="other", resource=elsewhere)
        self._decide(other)
        self._fact(self._server.consents[-1].resource == elsewhere, f"the token is for {elsewhere}")
        self._unauthorized(other.headers(), "same person, scopes and issuer, other audience:")
        other.logout()

    def _sign_out(self) -> None:
        self._step("Sign out")
        token = self._session.headers()
        known = self._server.access_token(self._session.access_token())
        self._fact(
            status_of(self._url, token) == OK and known is not None and known.live,
            "until now the token works",
        )
        self._typed("session.logout()")
        self._fact(
            bool(self._session.logout()) and ("POST", "/revoke", OK) in self._demo.answers,
            "the server confirmed the revocation (RFC 7009)",
        )
        self._unauthorized(token, "the same token now gets")
        self._fact(
            known is not None and known.grant.revoked,
            "the whole grant has ended: its refresh token is of no use either",
        )
        self._fact(not self._session.signed_in, "and nothing is left here")
        self._login_required("whoami")

    # The transcript: numbered steps, what was typed, checked and sent.

    def _line(self, text: str, **style: Any) -> None:
        if not self._encoding.lower().startswith("utf"):
            # A failed step must not look like one that happened, and a server may write anything.
            text = text.translate(_PLAIN_MARKS)
            text = text.encode(self._encoding, "replace").decode(self._encoding)
        # https://no-color.org; click leaves colours out by itself where there is no terminal.
        color = False if os.environ.get("NO_COLOR") else None
        for part in text.split("\n"):
            click.echo(click.style(part, **style), file=self._out, color=color)

    def _step(self, text: str) -> None:
        """Begin a step."""
        self._steps += 1
        self._line(f"\n{self._steps}. {text}", fg="cyan", bold=True)

    def _typed(self, code: str) -> None:
        """Show what a person types for this."""
        self._shown(f">>> {code}", dim=True)

    def _shown(self, text: str, **style: Any) -> None:
        """Show what a person sees."""
        self._line(f"   {text}", **style)

    def _fact(self, holds: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Tell a fact that was checked.

        Raises:
            StoryError: It is not so.
        """
        if not holds:
            raise StoryError(f"this is not so: {text}")
        self._shown(f"✓ {text}", fg="green")

    def _sent(self, server: str, answers: list[Answer]) -> None:
        """Show requests and their status: equal ones counted, the server named once."""
        parts = [
            f"{method} {path} {status}" + (f" (x{number})" if number > 1 else "")
            for (method, path, status), number in Counter(answers).items()
        ]
        for index in range(0, len(parts), 3):
            self._shown(f"→ {server}  {', '.join(parts[index : index + 3])}", dim=True)
            server = " " * len(server)

    # What several steps do.

    def _decide(self, session: mcpnb.Session, *, deny: bool = False, **given: Any) -> str:
        """Sign in through the real consent page and the loopback listener, and return the URL."""
        login = session.login(**given)
        login.wait_for("waiting", timeout=PATIENCE)
        url = login.url or ""
        approve(url, deny=deny)
        login.wait(timeout=PATIENCE)
        return url

    def _log_in(self, *wanted: str, **given: Any) -> str:
        before = len(self._server.consents)
        url = self._decide(self._session, **given)
        consents = self._server.consents[before:]
        self._fact(
            [set(consent.scopes) for consent in consents if consent.grant] == [set(wanted)],
            f"one consent, for “{consents[0].client.client_name if consents else ''}”: "
            f"{', '.join(wanted)}",
        )
        return url

    def _whoami(self) -> dict[str, Any]:
        self._typed('session.call("whoami").data')
        who: dict[str, Any] = self._session.call("whoami").data
        return who

    def _login_required(self, tool: str, **arguments: Any) -> LoginRequired:
        given = "".join(f', {name}="{value}"' for name, value in arguments.items())
        self._typed(f'session.call("{tool}"{given})')
        try:
            self._session.call(tool, **arguments)
        except LoginRequired as error:
            self._shown(f"LoginRequired: {error}")
            return error
        raise StoryError(f"{tool} answered although it needs a sign-in")

    def _unauthorized(self, headers: dict[str, str], text: str) -> None:
        status = status_of(self._url, headers)
        self._fact(status == UNAUTHORIZED, f"{text} HTTP {status}")
