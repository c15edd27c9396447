"""``.mcp.json``, as Claude Code writes it, in the words of ``config.toml``."""

from __future__ import annotations

import os
import re
from typing import Any

from mcpnb.config.keys import CLAUDE, CLAUDE_OAUTH, Checker
from mcpnb.errors import ConfigError, plain

__all__ = ["SERVERS", "UnsetVariable", "converted", "is_http", "variables_in", "with_defaults"]

SERVERS = "mcpServers"
_HTTP = ("http", "sse", "streamable-http", "streamable_http", "streamableHttp")
# Claude Code's own grammar: ${VAR}, and ${VAR:-what to take where it is not set}.
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class UnsetVariable(ConfigError):
    """A value needs an environment variable that is not set."""


def is_http(entry: dict[str, Any]) -> bool:
    """Whether an entry is a server's with an address."""
    return entry.get("type", "http") in _HTTP and ("url" in entry or "command" not in entry)


def variables_in(text: str) -> list[str]:
    """Name the environment variables that a value asks for."""
    return [match[1] for match in _VARIABLE.finditer(text)]


def with_defaults(text: str) -> str:
    """Give a value as it is where none of its variables is set."""
    return _VARIABLE.sub(lambda match: match[2] or "", text)


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
            given["url"] = _expanded(values["url"], checker, *where, "url")
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
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            found = match[2]
        if found is None:
            raise UnsetVariable(
                f"{checker.place(*where)}: {plain('.'.join(where))} needs the environment variable "
                f"{match[1]}, which is not set."
            )
        return found

    return _VARIABLE.sub(value, text)
