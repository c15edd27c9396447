"""Watches a sign-in: what was sent, what came back, and which rule there is for it."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mcpnb.doctor.masking import MASK, Masks
from mcpnb.doctor.report import Side, Step, Verdict
from mcpnb.doctor.topics import TOPICS
from mcpnb.doctor.unreachable import Why, why_unreachable
from mcpnb.errors import AnswerRefused, McpnbError, ProtocolError
from mcpnb.login import Observer
from mcpnb.login.pending import PendingRequest
from mcpnb.oauth.authorization import AuthorizationRequest
from mcpnb.oauth.credentials import Registration
from mcpnb.oauth.http import Exchange, Response
from mcpnb.oauth.models import AuthorizationServer
from mcpnb.text import quote

__all__ = ["Trace", "step"]

_OPERATOR: Side = "server operator"
_MOST_FIELDS = 64
# What an authorization server may answer with; other names could hold anything.
_ANSWERS = ("code", "state", "iss", "error", "error_description", "scope", "session_state")
_WAYS = {
    "preregistered": "the client id of your configuration",
    "cimd": "your client metadata document is the client id",
    "dcr": "a registration that is kept from before",
}
_DISCOVERY = {
    "oauth-protected-resource": "RFC 9728 section 3",
    "oauth-authorization-server": "RFC 8414 section 3.1",
    "openid-configuration": "OIDC Discovery section 4",
}


def step(  # noqa: PLR0913  the parts of a step
    check: str,
    sent: str,
    came: str,
    *,
    rule: str = "",
    verdict: Verdict = "ok",
    side: Side | None = None,
    fix: str | None = None,
) -> Step:
    """Make one step of a trace."""
    title, usual = TOPICS[check]
    return Step(check, title, sent, came, rule or usual, verdict, fix, side)


class Trace(Observer):
    """Keeps the steps of one sign-in, in their order, with every secret masked."""

    def __init__(self, masks: Masks) -> None:
        """Begin with none."""
        self._masks = masks
        self._lock = threading.Lock()
        self.steps: list[Step] = []
        self.unanswered: Why | None = None
        """Why the last request brought no answer."""
        self.request: AuthorizationRequest | None = None
        """What a person was asked to open last."""

    def exchanged(self, exchange: Exchange) -> None:
        """See `Observer.exchanged`."""
        check, sent = self._sent(exchange)
        made = self._made(check, exchange, sent)
        with self._lock:
            # Now: later an error has lost what led to it.
            self.unanswered = why_unreachable(exchange.error) if exchange.error else None
            self.steps.append(made)

    def asked(self, request: PendingRequest) -> None:
        """See `Observer.asked`."""
        if not isinstance(request, AuthorizationRequest):
            return
        self._masks.add(request.state, request.verifier, request.registration.client_secret)
        registered = any(s.id == "sign-in-registration" for s in self.steps)
        address, _, query = request.url.partition("?")
        own = len(parse_qsl(urlsplit(request.server.authorization_endpoint).query))
        parameters = dict(parse_qsl(query)[own:])
        came = f"To be opened in a browser; the answer is awaited at {request.redirect_uri}"
        with self._lock:
            self.request = request
            if not registered:
                self.steps.append(_client(request.registration))
            sent = f"GET {address} with {self._masks.parameters(parameters)}"
            self.steps.append(step("sign-in-request", sent, came))

    def answered(
        self, text: str, request: AuthorizationRequest, refusal: McpnbError | None
    ) -> None:
        """See `Observer.answered`."""
        sent = f"what came back for {request.redirect_uri}"
        if isinstance(refusal, AnswerRefused):
            made = step(
                "sign-in-answer",
                sent,
                f"Not the answer to this request, and not used; the wait went on. {refusal}",
                verdict="warning",
                side="your login",
                fix="Approve in the tab that was opened last; paste its whole address.",
            )
        else:
            made = step("sign-in-answer", sent, self._answer(text, request.server, refusal))
        with self._lock:
            self.steps.append(made)

    # What was sent

    def _sent(self, exchange: Exchange) -> tuple[str, str]:
        """Tell the step that a request belongs to, and what was in it."""
        head = f"{exchange.method} {exchange.url}"
        form = dict(parse_qsl(exchange.content))
        if exchange.method == "GET":
            return "sign-in-discovery", head
        try:
            body = json.loads(exchange.content)
        except ValueError:
            body = None
        if isinstance(body, dict):
            if "redirect_uris" not in body:
                return "sign-in-discovery", f"{head}, without a token"
            return "sign-in-registration", f"{head} with {self._masks.parameters(body)}"
        check = "sign-in-token" if "grant_type" in form else "sign-in-revocation"
        return check, f"{head} with {self._masks.parameters(form)}{self._basic(exchange)}"

    def _basic(self, exchange: Exchange) -> str:
        """Tell how the client showed who it is, beside the form."""
        scheme, _, credentials = exchange.headers.get("Authorization", "").partition(" ")
        if not credentials:
            return ""
        self._masks.add(credentials)
        try:
            pair = base64.b64decode(credentials).decode()
        except (binascii.Error, ValueError):
            pair = ""
        self._masks.add(pair.partition(":")[2])
        return f"; Authorization: {scheme} {MASK}"

    # What came back

    def _made(self, check: str, exchange: Exchange, sent: str) -> Step:
        answer = exchange.answer
        if answer is None:
            return step(check, sent, str(exchange.error), rule=_rule(check, exchange))
        document = answer.json_object()
        came = self._came(check, answer, document)
        made = step(check, sent, came, rule=_rule(check, exchange))
        good = answer.status == 200 and document is not None and "error" not in document
        if check == "sign-in-token" and document is not None and good:
            return _judged(made, document)
        return made

    def _came(self, check: str, answer: Response, document: dict[str, Any] | None) -> str:
        came = f"HTTP {answer.status}"
        if document is None:
            kind = answer.headers.get("content-type", "").partition(";")[0]
            return came + (f", {quote(kind, 60)}" if kind and answer.body else "")
        if check == "sign-in-discovery":
            # A whole document; of its values the checks above tell what matters.
            names = ", ".join(quote(name, 60) for name in list(document)[:20])
            return f"{came}: {names}"
        return f"{came}: {self._masks.fields(document)}"

    def _answer(self, text: str, server: AuthorizationServer, refusal: McpnbError | None) -> str:
        query = urlsplit(text.strip()).query
        given = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        known = {name: value for name, value in given if name in _ANSWERS}
        others = len(given) - len(known)
        more = f", and {others} more" if others else ""
        if not isinstance(refusal, ProtocolError):
            checked = "state is right" + ("; iss is right" if "iss" in known else "; no iss")
            return f"{self._masks.fields(known)}{more} ({checked})"
        # RFC 9207 section 2.4: nothing that another server says of errors is shown.
        self._masks.fields(known)
        names = ", ".join(known)
        expected = f"expected is {quote(server.issuer)}"
        came = f"iss is {quote(known['iss'])}" if "iss" in known else "there is no iss"
        return f"{names}{more}: {came}, {expected}"


def _client(registration: Registration) -> Step:
    """Make the step that took no request: the client id was at hand."""
    came = f"client_id {quote(registration.client_id)}, authenticating by "
    came += registration.auth_method.replace("_", " ")
    return step(
        "sign-in-registration",
        f"nothing: {_WAYS[registration.method]}",
        came,
        rule="MCP 2026-07-28, client registration",
    )


def _rule(check: str, exchange: Exchange) -> str:
    if check != "sign-in-discovery":
        return ""
    if exchange.method == "POST":
        return "RFC 9728 section 5.1"
    return next((rule for name, rule in _DISCOVERY.items() if name in exchange.url), "")


def _judged(made: Step, document: Mapping[str, Any]) -> Step:
    """Look at a token answer that is good enough for what is not as it should be."""
    if "access_token" in document and "token_type" not in document:
        return replace(
            made,
            answer=f"{made.answer}. There is no token_type: mcpnb takes it for Bearer, and "
            "stricter clients refuse it",
            verdict="warning",
            side=_OPERATOR,
            fix="Answer with “token_type”: “Bearer” (RFC 6749 section 5.1 requires it).",
        )
    if "refresh_token" not in document and "expires_in" in document:
        return replace(
            made,
            answer=f"{made.answer}. There is no refresh token: somebody has to sign in again when "
            "this one ends",
            verdict="warning",
            side=_OPERATOR,
            fix="Give refresh tokens to clients that register for that grant, or for the scope "
            "offline_access.",
        )
    return made
