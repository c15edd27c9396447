"""Keeps secrets out of a report: those that are known by name, and wherever they turn up again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote_plus

from mcpnb.doctor.report import Check
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import Secret
from mcpnb.text import quote, sanitize

__all__ = ["MASK", "Masks"]

MASK = "…"
_PIECE = 10
"""Characters of a secret that give it away, also where a server repeats only a part of it."""
_SHORTEST = 4
_MOST_NAMES = 20
_MOST_TEXT = 10_000

# Everything else that is sent or comes back shows with its name alone.
_HARMLESS = {
    *("application_type", "client_id", "client_id_issued_at", "client_name", "client_uri"),
    *("client_secret_expires_at", "code_challenge_method", "error", "expires_in", "grant_type"),
    *("grant_types", "iss", "prompt", "redirect_uri", "redirect_uris", "resource"),
    *("response_type", "response_types", "scope", "token_endpoint_auth_method", "token_type"),
    *("error_description", "token_type_hint"),
}
_SECRET = re.compile(
    r"(^|_)(assertion|password|secret|state|statement|token|verifier)$|^(device_|user_)?code$"
)


class Masks:
    """The secrets that were seen so far. A server may repeat any of them in its own words."""

    def __init__(self) -> None:
        self._short: set[str] = set()
        self._pieces: set[str] = set()

    def add(self, *secrets: str | Secret | None) -> None:
        """Let these show nowhere from now on."""
        for secret in secrets:
            text = secret.reveal() if isinstance(secret, Secret) else secret
            for form in {text, quote_plus(text)} if text else ():
                if len(form) >= _PIECE:
                    ends = range(len(form) - _PIECE + 1)
                    self._pieces |= {form[at : at + _PIECE] for at in ends}
                elif len(form) >= _SHORTEST:
                    self._short.add(form)

    def add_login(self, record: LoginRecord | None) -> None:
        """Let nothing of a stored login show that signs in."""
        if record is not None:
            held = record.tokens
            self.add(held.access_token, held.refresh_token, record.registration.client_secret)

    def parameters(self, sent: Mapping[str, Any]) -> str:
        """Name the parameters of a request, with the values that are harmless."""
        self._note(sent)
        return ", ".join(f"{name}={self._value(name, value)}" for name, value in sent.items())

    def fields(self, document: Mapping[str, Any]) -> str:
        """Name the fields of an answer, with the values that are harmless: a server's words."""
        self._note(document)
        named = [
            f"{sanitize(self.covered(name), 40)}"
            + (f" {quote(self._value(name, value), 200)}" if name in _HARMLESS else "")
            for name, value in list(document.items())[:_MOST_NAMES]
        ]
        more = len(document) - _MOST_NAMES
        return ", ".join([*named, *([f"and {more} more"] if more > 0 else [])])

    def _note(self, document: Mapping[str, Any]) -> None:
        """Take for secret what its name says is one."""
        for name, value in document.items():
            if isinstance(value, str) and _SECRET.search(name):
                self.add(value)

    def _value(self, name: str, value: Any) -> str:
        if name not in _HARMLESS:
            return MASK
        text = " ".join(map(str, value[:10])) if isinstance(value, list) else str(value)
        return sanitize(self.covered(text[:_MOST_TEXT]), 200)

    def covered(self, text: str) -> str:
        """Give a text without them."""
        for secret in sorted(self._short, key=len, reverse=True):
            text = text.replace(secret, MASK)
        hidden = [False] * len(text)
        for at in range(len(text) - _PIECE + 1):
            if text[at : at + _PIECE] in self._pieces:
                hidden[at : at + _PIECE] = [True] * _PIECE
        kept = "".join("\0" if hide else c for c, hide in zip(text, hidden, strict=True))
        return re.sub("\0+", MASK, kept)

    def cover(self, checks: Iterable[Check]) -> list[Check]:
        """Give checks without them, whichever text they got into."""
        return [
            replace(
                check,
                asked=self.covered(check.asked),
                answer=self.covered(check.answer),
                fix=self.covered(check.fix) if check.fix else check.fix,
            )
            for check in checks
        ]
