"""``.mcp.json``, as Claude Code writes it, in the words of ``config.toml``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from mcpnb.config.schema import CLAUDE, CLAUDE_OAUTH, Checker
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import Expanded, Secret, ServerConfig
from mcpnb.oauth.urls import host_span
from mcpnb.text import add_secret, sanitize

__all__ = ["SERVERS", "UnsetVariable", "converted", "is_http", "variables_in", "with_defaults"]

SERVERS = "mcpServers"
_LONG = 8
"""Characters. Of a shorter value every text would lose letters; it is no secret either."""
_HTTP = ("http", "sse", "streamable-http", "streamable_http", "streamableHttp")
# Claude Code's own grammar: ${VAR}, and ${VAR:-what to take where it is not set}.
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class UnsetVariable(ConfigError):
    """A value needs an environment variable that is not set."""


def is_http(entry: dict[str, Any]) -> bool:
    """Whether an entry is a server's with an address."""
    return entry.get("type", "http") in _HTTP and ("url" in entry or "command" not in entry)


def variables_in(text: str) -> list[str]:
    """Return the names of the environment variables that a value refers to."""
    return [match[1] for match in _variables(text)]


def with_defaults(text: str) -> str:
    """Return the value that results where none of its variables is set."""
    return _replaced(text, lambda match: match[2] or "")


def _variables(text: str) -> Iterator[re.Match[str]]:
    # Up to the last bracket only: behind it, each opening would be searched to the end of the text
    # (measured: 6 s for 32 KiB of "${a:-").
    # threat: project-bomb
    return _VARIABLE.finditer(text, 0, text.rfind("}") + 1)


def _replaced(text: str, value: Callable[[re.Match[str]], str]) -> str:
    found, end = "", 0
    for match in _variables(text):
        found += text[end : match.start()] + value(match)
        end = match.end()
    return found + text[end:]


def converted(
    entry: dict[str, Any], checker: Checker, *where: str, expand: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give an entry's values and those of its ``oauth``, by Codex's names.

    Args:
        entry: The object.
        checker: Checks it.
        *where: Its path in the file.
        expand: Put in the environment's values: only for a file that is trusted.

    Raises:
        ConfigError: A value has a wrong type, or needs a variable that is not set.
    """
    values = checker.table(entry, CLAUDE, *where)
    oauth = checker.table(values.get("oauth", {}), CLAUDE_OAUTH, *where, "oauth")
    given: dict[str, Any] = {}
    if "url" in values:
        given["url"] = values["url"]
        if expand:
            given["url"], given["hidden"] = _expanded_url(values["url"], checker, *where, "url")
    if headers := values.get("headers"):
        given["http_headers"] = (
            {
                name: _expanded(text, checker, *where, "headers", name)
                for name, text in headers.items()
            }
            if expand
            else headers
        )
    if "headersHelper" in values:
        given["http_headers_helper"] = values["headersHelper"]
    scopes = oauth.get("scopes")
    if scopes:
        given["scopes"] = scopes.split() if isinstance(scopes, str) else scopes
    names = {"clientId": "client_id", "callbackPort": "callback_port"}
    return given, {ours: oauth[theirs] for theirs, ours in names.items() if theirs in oauth}


def _expanded(text: str, checker: Checker, *where: str) -> str:
    return _replaced(text, lambda match: _value(match, checker, *where))


def _value(match: re.Match[str], checker: Checker, *where: str) -> str:
    found = os.environ.get(match[1])
    if found is None:
        found = match[2]
    if found is None:
        raise UnsetVariable(
            f"{checker.place(*where)}: {sanitize('.'.join(where))} needs the environment variable "
            f"{match[1]}, which is not set."
        )
    return found


def _expanded_url(text: str, checker: Checker, *where: str) -> tuple[str, tuple[Expanded, ...]]:
    """Put the environment's values into an address; give those that may be secret, too.

    That is all but the host, which DNS and TLS tell everybody, and a person has to see.
    """
    url, end = "", 0
    spans = []
    for match in _variables(text):
        url += text[end : match.start()]
        begin = len(url)
        url += _value(match, checker, *where)
        end = match.end()
        if match[1] in os.environ:  # a default stands in the file for everybody to read
            spans.append((match[1], begin, len(url)))
    url += text[end:]
    (first, last), scheme = host_span(url), url.find("://") + 3
    hidden = tuple(
        Expanded(variable, Secret(piece))
        for variable, begin, end in spans
        for piece in (
            url[max(begin, scheme) : min(end, first)],
            url[max(begin, last) : end].lstrip("/"),
        )
        if piece
    )
    _conceal(ServerConfig(url=url, hidden=hidden))
    return url, hidden


def _conceal(config: ServerConfig) -> None:
    """Have them shown nowhere: as they are, percent-encoded, and within their address."""
    for part in config.hidden:
        # An environment may hold bytes that are no text.
        encoded = quote(part.value.reveal(), safe="", errors="surrogateescape")
        for secret in (part.value.reveal(), encoded):
            if len(secret) >= _LONG:
                add_secret(secret, part.shown)
    if config.hidden:
        (first, last), (begin, end) = host_span(config.url), host_span(config.shown)
        host, behind = config.url[first:last], config.url[last:]
        for spelled in (host, host.lower()):
            add_secret(f"{spelled}{behind}", config.shown[begin:])
        if len(behind) >= _LONG:
            add_secret(behind, config.shown[end:])
