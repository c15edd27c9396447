"""Configuration files in the formats of Codex and Claude Code, read into values.

A project's files count only after a person has looked at them. Otherwise the author of a repository
could send this person's logins elsewhere.
"""

from __future__ import annotations

import difflib
import os
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mcpnb.config.edit import add_server, remove_server, user_file
from mcpnb.config.files import File, TooLarge, all_files, folder_of, project_files
from mcpnb.config.parse import Broken, Parsed, parse
from mcpnb.config.trust import Review, counts, reviewed, withdraw
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import ServerConfig
from mcpnb.text import quote, sanitize

__all__ = [
    "Broken",
    "Configuration",
    "Review",
    "add_server",
    "project_files",
    "read_configuration",
    "remove_server",
    "review",
    "user_file",
    "withdraw",
]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The servers that configuration files name, nearest file first."""

    servers: Mapping[str, ServerConfig]
    untrusted: tuple[ServerConfig, ...] = ()
    """Entries of project files that nobody agreed to. They are shown, and used for nothing else."""
    broken: Mapping[str, Broken] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why a name that is not among `servers` cannot be used."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Top-level keys."""

    def server(self, name: str) -> ServerConfig:
        """Return a configured server.

        Raises:
            ConfigError: No usable server has that name. The message says why, or names the nearest.
        """
        if name in self.servers:
            return self.servers[name]
        if name in self.problems:
            raise ConfigError(self.problems[name])
        near = difflib.get_close_matches(name, self.servers, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"No server is configured as {quote(name, 80)}.{hint} Give its address (https://...), "
            "or add it: mcpnb add NAME --url URL"
        )

    def knows(self, name: str) -> bool:
        """Return whether a file has this name, usable or not."""
        return name in self.servers or name in self.problems

    def bare(self, url: str) -> ServerConfig:
        """Return the configuration of an address that no entry has."""
        return _with(self.settings, ServerConfig(url=url))


def read_configuration(explicit: str | os.PathLike[str] | None = None) -> Configuration:
    """Read the configuration files that count here and now.

    Nearest first: the file that is asked for (or ``MCPNB_CONFIG``); ``mcpnb.toml``,
    ``.codex/config.toml`` and ``.mcp.json`` from the working folder up to the repository's root, if
    they are trusted; ``config.toml`` in mcpnb's configuration folder; Codex's own
    (``$CODEX_HOME/config.toml``, else ``~/.codex/config.toml``).

    Raises:
        ConfigError: A file that was asked for is missing, or one cannot be read.
    """
    servers: dict[str, ServerConfig] = {}
    settings: dict[str, Any] = {}
    broken: dict[str, Broken] = {}
    others: dict[str, str] = {}
    untrusted: list[ServerConfig] = []
    for file in all_files(explicit):
        parsed, trusted = _read(file)
        if not trusted:
            untrusted += parsed.servers.values()
            continue
        # A nearer entry that cannot be used still counts: what it limits would be without limits.
        for name, server in parsed.servers.items():
            if name not in broken:
                servers.setdefault(name, server)
        for name, entry in parsed.broken.items():
            if name not in servers:
                broken.setdefault(name, entry)
        for name in parsed.others:
            others.setdefault(
                name,
                f"{quote(name, 80)} in {file.shown} is started as a command, and needs no sign-in: "
                "mcpnb is for servers with an address (url).",
            )
        settings = parsed.settings | settings
    return Configuration(
        {name: _with(settings, server) for name, server in servers.items()},
        tuple(untrusted),
        broken,
        others
        | {str(entry.name): _not_trusted(entry) for entry in reversed(untrusted)}
        | {name: entry.problem for name, entry in broken.items()},
        settings,
    )


def _not_trusted(entry: ServerConfig) -> str:
    folder = shlex.quote(str(folder_of(Path(str(entry.source)))))
    return (
        f"{quote(entry.name, 80)} is configured in {sanitize(entry.source, 1_000)} only, which is "
        "not trusted (or has changed since). Look at it, then run: mcpnb trust "
        f"{sanitize(folder, 1_000)}"
    )


def _with(settings: Mapping[str, Any], server: ServerConfig) -> ServerConfig:
    port, url = server.callback_port, server.callback_url
    if url is None and port is None:
        # Both together: a general address does not fit a server's own port.
        port, url = settings.get("mcp_oauth_callback_port"), settings.get("mcp_oauth_callback_url")
    store = settings.get("mcp_oauth_credentials_store")
    return replace(server, callback_port=port, callback_url=url, store=store)


def _read(file: File) -> tuple[Parsed, bool]:
    """Return what a file says, and whether it counts."""
    try:
        content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        if file.kind == "asked for":
            raise ConfigError(f"There is no configuration file {file.shown}.") from None
        return Parsed(), True
    except OSError as error:
        if file.is_needed:
            raise ConfigError(f"{file.shown} cannot be read: {error}.") from None
        # threat: project-bomb
        if isinstance(error, TooLarge):
            left_out = f"{file.shown} cannot be read: {error}. The file is left out."
            warnings.warn(left_out, stacklevel=2)
        return Parsed(), True
    trusted = counts(file, content)
    try:
        return parse(file, content, trusted=trusted), trusted
    except ConfigError as error:
        if file.is_needed:
            raise
        if trusted:
            warnings.warn(f"{error} The file is left out.", stacklevel=2)
        return Parsed(), trusted


def review(folder: Path | None = None) -> list[Review]:
    """Return what the project files of a folder that are not trusted would change."""
    known = read_configuration().servers
    found = []
    for file in project_files(folder):
        try:
            content = file.read()
        except OSError as error:
            problem = f"{file.shown} cannot be read: {error}."
            found.append(Review(file.path, b"", (), problem))
            continue
        if not counts(file, content):
            found.append(reviewed(file, content, known))
    return found
