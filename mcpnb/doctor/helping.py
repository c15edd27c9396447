"""The local command that prints headers: is it run, does it work, and what is its part."""

from __future__ import annotations

from dataclasses import replace

from mcpnb.doctor.report import Check, Side
from mcpnb.doctor.topics import found, problem
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import Header, ServerConfig
from mcpnb.text import sanitize
from mcpnb.tokens.static import helper_of

__all__ = ["helped"]

_OWN: Side = "your configuration"


def helped(config: ServerConfig) -> tuple[list[Check], ServerConfig]:
    """Run the command as a call would, once per process, and name what it gives.

    Nothing comes here from a project's file that is not trusted: its entries are never resolved.

    Returns:
        What was found, and the configuration with the token that it gives, if it gives one.
    """
    if config.headers_helper is None:
        return [], config
    asked = f"http_headers_helper in {config.source}"
    helper = helper_of(config) if config.enabled else None
    if helper is None:
        ours = "it is mcpnb itself, which signs in without a helper"
        why = ours if config.enabled else "the server is disabled (enabled = false)"
        return [found("headers", asked, f"Not run: {why}")], config
    try:
        given = helper.headers()
    except ConfigError as error:
        fix = (
            "Run the command by hand, in the folder of that file: it has to print one JSON object "
            "of headers and end with 0, in ten seconds. Every call of this server needs it."
        )
        return [problem("headers", asked, f"It was run. {error}", _OWN, fix)], config
    names = ", ".join(sanitize(name, 80) for name in given) or "no header"
    said = f"Your command was run on this machine, and gives: {names}"
    token = helper.authorization()
    if token is None:
        return [found("headers", asked, f"{said}; they go with calls, beside the sign-in")], config
    if config.bearer_token_env_var is not None:
        first = f"{said}; for the token {config.bearer_token_env_var} goes first"
        return [found("headers", asked, first)], config
    kept = tuple(h for h in config.headers if h.name.lower() != "authorization")
    own = replace(config, headers=(*kept, Header("Authorization", value=token)))
    return [found("headers", asked, f"{said}; that takes the place of a sign-in")], own
