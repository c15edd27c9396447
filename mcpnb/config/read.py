"""All files together: which entry holds, and why another one does not."""

from __future__ import annotations

import difflib
import os
import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mcpnb.config.files import File, TooLarge, all_files, folder_of, read_bytes, read_project_bytes
from mcpnb.config.parse import Broken, Parsed, parse
from mcpnb.config.trust import is_trusted
from mcpnb.errors import ConfigError
from mcpnb.oauth.models import ServerConfig
from mcpnb.text import quote, sanitize

__all__ = ["Configuration", "read_configuration"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The servers that configuration files name, nearest file first."""

    servers: Mapping[str, ServerConfig]
    untrusted: tuple[ServerConfig, ...] = ()
    """Entries of project files that nobody agreed to: to be shown, and for nothing else."""
    broken: Mapping[str, Broken] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    """Servers of another transport, and the file of each."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Top-level keys."""

    def server(self, name: str) -> ServerConfig:
        """Give a configured server.

        Raises:
            ConfigError: There is none of that name that can be used; the message says why, or names
                the nearest.
        """
        if name in self.servers:
            return self.servers[name]
        if name in self.broken:
            raise ConfigError(self.broken[name].problem)
        for entry in self.untrusted:
            if entry.name == name:
                folder = shlex.quote(str(folder_of(Path(str(entry.source)))))
                raise ConfigError(
                    f"{quote(name, 80)} is configured in "
                    f"{sanitize(entry.source, 1_000)} only, which "
                    "is not trusted (or has changed since). Look at it, then run: mcpnb trust "
                    f"{sanitize(folder, 1_000)}"
                )
        if name in self.others:
            raise ConfigError(
                f"{quote(name, 80)} in {self.others[name]} is started as a command, and needs no "
                "sign-in: mcpnb is for servers with an address (url)."
            )
        near = difflib.get_close_matches(name, self.servers, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"No server is configured as {quote(name, 80)}.{hint} Give its address "
            "(https://...), or add it: mcpnb add NAME --url URL"
        )

    def knows(self, name: str) -> bool:
        """Whether a file has this name, whatever became of the entry."""
        names = {entry.name for entry in self.untrusted}
        return name in self.servers or name in self.broken or name in self.others or name in names

    def bare(self, url: str) -> ServerConfig:
        """Give what holds for an address that is not configured."""
        return _with(self.settings, ServerConfig(url=url))


def read_configuration(explicit: str | os.PathLike[str] | None = None) -> Configuration:
    """Read the configuration files that count here and now.

    Nearest first: the file that is asked for (or ``MCPNB_CONFIG``); ``mcpnb.toml``,
    ``.codex/config.toml`` and ``.mcp.json`` from the working folder up to the repository's root, as
    far as they are trusted; ``config.toml`` in mcpnb's configuration folder; Codex's own
    (``$CODEX_HOME/config.toml``, else ``~/.codex/config.toml``).

    Raises:
        ConfigError: A file that was asked for is missing, or one cannot be understood.
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
        for name, server in parsed.servers.items():
            if name not in broken:  # a nearer one that cannot be used is not passed over in silence
                servers.setdefault(name, server)
        for key, value in parsed.settings.items():
            settings.setdefault(key, value)
        for name, entry in parsed.broken.items():
            if name not in servers:
                broken.setdefault(name, entry)
        for name in parsed.others:
            others.setdefault(name, str(file.path))
    full = {name: _with(settings, server) for name, server in servers.items()}
    return Configuration(full, tuple(untrusted), broken, others, settings)


def _with(settings: Mapping[str, Any], server: ServerConfig) -> ServerConfig:
    port, url = server.callback_port, server.callback_url
    if url is None and port is None:
        # Together: a general address has nothing to do with a server's own port.
        port, url = settings.get("mcp_oauth_callback_port"), settings.get("mcp_oauth_callback_url")
    return replace(
        server,
        callback_port=port,
        callback_url=url,
        store=settings.get("mcp_oauth_credentials_store"),
    )


def _read(file: File) -> tuple[Parsed, bool]:
    asked_for = file.kind == "asked for"
    try:
        content = (read_project_bytes if file.kind == "project" else read_bytes)(file.path)
    except (FileNotFoundError, NotADirectoryError):
        if asked_for:
            raise ConfigError(f"There is no configuration file {file.path}.") from None
        return Parsed(), True
    except OSError as error:
        if asked_for or file.kind == "own":  # what it limits would be without limits
            raise ConfigError(f"{file.path} cannot be read: {error}.") from None
        # threat: project-bomb
        if isinstance(error, TooLarge):
            said = f"{sanitize(file.path, 1_000)} cannot be read: {error}. The file is left out."
            warnings.warn(said, stacklevel=2)
        return Parsed(), True
    # threat: project-untrusted, project-shadows-a-name, audience-theft
    # threat: project-runs-a-helper, repository-root-planted
    trusted = file.kind != "project" or is_trusted(file.path, content)
    try:
        return parse(file, content, trusted=trusted), trusted
    except ConfigError as error:
        if file.kind in ("asked for", "own"):
            raise
        if trusted:
            warnings.warn(f"{error} The file is left out.", stacklevel=2)
        return Parsed(), trusted
