"""Who is compared, each used as its documentation says, in processes of its own.

Codex, mcp-remote and huggingface_hub are looked for in the folder that `MCPNB_PEERS` names.
"""

from __future__ import annotations

import base64
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import mcpnb
from tests.bench import ROOT
from tests.bench.compare_driver import ANSWERED, KEY
from tests.bench.compare_lab import NoAnswer, Place, Process, place
from tests.fakes.people import answer_of

Way = Callable[[Place], None]
Caller = AbstractContextManager[Callable[[], str]]
ADDRESS = re.compile(r"^(http\S+/authorize\?\S+)$", re.MULTILINE)
PEERS = Path(os.environ.get("MCPNB_PEERS") or "/nowhere")
NPM = "npm install --prefix $MCPNB_PEERS @openai/codex mcp-remote"
PIP = "pip install --target $MCPNB_PEERS/python huggingface_hub"


class Contender:
    """How one of them is used; what it does not offer stays as here."""

    name = ""
    install = ""
    lives = 3600
    """Seconds that an access token has to live for it to be taken as fresh."""
    only = ""
    """What it is for, where that is not any MCP server."""
    key_variable = ""
    """Where it takes the key from that its files are encrypted with, if it can."""
    needs_key = False
    """Whether it cannot do without."""
    storage_is_yours = False
    """Whether it keeps nothing by itself."""

    @property
    def version(self) -> str | None:
        """Its version; `None` where it is not installed."""
        raise NotImplementedError

    def sign_in(self, here: Place) -> str:
        """Sign in with the browser, in a process of its own; return its last words."""
        with self.caller(here) as call:
            return call()

    def caller(self, here: Place) -> Caller:
        """Start a process that calls a tool when it is told to, and says how that went."""
        raise NotImplementedError

    def ways(self) -> Mapping[str, Way]:
        """Return the ways to sign in where the browser cannot reach this machine."""
        return {}

    def sign_out(self, here: Place) -> None:
        """Sign out."""
        raise NotImplementedError

    def give_key(self, here: Place) -> None:
        """Let its processes in there have a key that is nowhere in its files."""
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        here.variables[self.key_variable] = key

    @contextmanager
    def signed_in(self, lifetime: int | None = None, *, keyed: bool = False) -> Iterator[Place]:
        """Have a home with a login in it, and nothing counted yet."""
        with place(self, keyed=keyed) as here:
            here.server.lifetime = lifetime or self.lives
            told = self.sign_in(here)
            if not here.server.access:
                raise NoAnswer(f"the sign-in ended with: {told}")
            here.server.lifetime = self.lives
            here.server.forget()
            yield here


@contextmanager
def _driven(here: Place, role: str, **environment: str) -> Iterator[Callable[[], str]]:
    command = [sys.executable, "-m", "tests.bench.compare_driver", role, here.server.url]
    with Process(here, command, **environment) as process:
        process.wait_for(lambda text: re.search(r"^ready$", text, re.MULTILINE))

        def use() -> str:
            process.type("go")
            told = process.wait_for(lambda text: re.search(r'^\{"told".*\}$', text, re.MULTILINE))
            return str(json.loads(told[0])["told"])

        yield use


def _finish(process: Process) -> None:
    if process.ended():
        raise NoAnswer(process.last())


class Mcpnb(Contender):
    """This library: its commands for signing in, `Session.call` for calls."""

    name = "mcpnb"
    version = mcpnb.__version__
    key_variable = "MCPNB_STORE_KEY"

    def sign_in(self, here: Place) -> str:
        with Process(here, self._command("login", here.server.url)) as process:
            process.ended()
            return process.last()

    def caller(self, here: Place) -> Caller:
        return _driven(here, "mcpnb")

    def ways(self) -> Mapping[str, Way]:
        return {"paste": self._paste, "device": self._device, "relay": self._relay}

    def sign_out(self, here: Place) -> None:
        with Process(here, self._command("logout", here.server.url)) as process:
            _finish(process)

    def _paste(self, here: Place) -> None:
        with Process(here, self._command("login", here.server.url, "--no-browser")) as process:
            process.type(answer_of(process.wait_for(ADDRESS.search)[1]))
            _finish(process)

    def _device(self, here: Place) -> None:
        with Process(here, self._command("login", here.server.url, "--device")) as process:
            _finish(process)

    def _relay(self, here: Place) -> None:
        with Process(here, self._command("login", here.server.url, "--begin")) as begun:
            _finish(begun)
            url = ADDRESS.search(begun.text)
        with place(self) as there:
            assert url, begun.text
            with Process(there, self._command("relay", "-")) as relay:
                relay.type(url[1])
                _finish(relay)
            line = re.search(r"^http\S+code=\S+$", relay.text, re.MULTILINE)
        assert line, relay.text
        with Process(here, self._command("login", here.server.url, "--finish", "-")) as finish:
            finish.type(line[0])
            _finish(finish)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mcpnb", *arguments]


class Codex(Contender):
    """Codex CLI: `codex mcp` for signing in, its app server for calls without a model."""

    name = "Codex CLI"
    install = NPM
    program = str(PEERS / "node_modules/.bin/codex")

    @property
    def version(self) -> str | None:
        return _of_package("@openai/codex")

    def sign_in(self, here: Place) -> str:
        self._configure(here)
        with Process(here, [self.program, "mcp", "login", "lab"]) as process:
            process.ended()
            return process.last()

    @contextmanager
    def caller(self, here: Place) -> Iterator[Callable[[], str]]:
        with Process(here, [self.program, "app-server"]) as process:
            who = {"clientInfo": {"name": "compare", "version": "1"}}
            process.ask(1, "initialize", who)
            process.type(json.dumps({"jsonrpc": "2.0", "method": "initialized"}))

            def use() -> str:
                thread = process.ask(2, "thread/start", {"ephemeral": True})
                given = {"server": "lab", "threadId": thread["result"]["thread"]["id"]}
                given |= {"tool": "echo", "arguments": {"text": ANSWERED}}
                return _text(process.ask(3, "mcpServer/tool/call", given))

            yield use

    def ways(self) -> Mapping[str, Way]:
        return {"paste": self._paste}

    def _paste(self, here: Place) -> None:
        self._configure(here)
        command = [self.program, "mcp", "login", "lab", "--no-browser"]
        with Process(here, command) as process:
            url = process.wait_for(ADDRESS.search)[1]
            process.wait_for(lambda text: "paste" in text or None)
            process.type(answer_of(url))
            _finish(process)

    def sign_out(self, here: Place) -> None:
        with Process(here, [self.program, "mcp", "logout", "lab"]) as process:
            _finish(process)

    def _configure(self, here: Place) -> None:
        folder = here.home / ".codex"
        folder.mkdir()
        # With "auto" and no keyring it keeps them in the same file, but `logout` fails (#25002).
        (folder / "config.toml").write_text(
            f'mcp_oauth_credentials_store = "file"\n[mcp_servers.lab]\nurl = "{here.server.url}"\n'
        )


class Sdk(Contender):
    """The MCP SDK's `OAuthClientProvider`, over a storage that keeps JSON in a file."""

    name = "MCP SDK"
    storage_is_yours = True

    @property
    def version(self) -> str | None:
        return importlib.metadata.version("mcp")

    def caller(self, here: Place) -> Caller:
        return _driven(here, "sdk")


class FastMcp(Contender):
    """FastMCP's `OAuth`, over the encrypted file storage of its documentation."""

    name = "FastMCP"
    install = "pip install fastmcp==4.1.2"
    key_variable = KEY
    needs_key = True

    @property
    def version(self) -> str | None:
        found = importlib.util.find_spec("fastmcp")
        return importlib.metadata.version("fastmcp") if found else None

    def caller(self, here: Place) -> Caller:
        return _driven(here, "fastmcp")

    def sign_out(self, here: Place) -> None:
        with _driven(here, "fastmcp-clear") as use:
            use()


class McpRemote(Contender):
    """mcp-remote: a proxy on standard input and output, which signs in when it has to."""

    name = "mcp-remote"
    install = NPM
    program = str(PEERS / "node_modules/.bin/mcp-remote")

    @property
    def version(self) -> str | None:
        return _of_package("mcp-remote")

    def caller(self, here: Place) -> Caller:
        return self._proxy(here)

    def ways(self) -> Mapping[str, Way]:
        return {"device": self._device}

    def _device(self, here: Place) -> None:
        with self._proxy(here, "--device-code") as use:
            if (told := use()) != ANSWERED:
                raise NoAnswer(told)

    def sign_out(self, here: Place) -> None:
        # What its documentation advises.
        shutil.rmtree(here.home / ".mcp-auth")

    @contextmanager
    def _proxy(self, here: Place, *flags: str) -> Iterator[Callable[[], str]]:
        with Process(here, [self.program, here.server.url, *flags]) as process:

            def use() -> str:
                who = {"name": "compare", "version": "1"}
                given = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": who}
                begun = process.ask(1, "initialize", given)
                if "error" in begun:
                    return _text(begun)
                process.type(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
                call = {"name": "echo", "arguments": {"text": ANSWERED}}
                return _text(process.ask(2, "tools/call", call))

            yield use


class Hub(Contender):
    """`huggingface_hub.notebook_login`, with the lab as its Hub."""

    name = "huggingface_hub"
    install = PIP
    # It renews what has less than a day to live.
    lives = 200_000
    only = "Hub only"

    @property
    def version(self) -> str | None:
        found = importlib.metadata.distributions(
            name="huggingface_hub", path=[str(PEERS / "python")]
        )
        return next((str(each.version) for each in found), None)

    def sign_in(self, here: Place) -> str:
        with self._driven(here, "hub-login") as use:
            return use()

    def caller(self, here: Place) -> Caller:
        return self._driven(here, "hub-call")

    def ways(self) -> Mapping[str, Way]:
        return {"device": lambda here: None if self.sign_in(here) == ANSWERED else _fail()}

    def sign_out(self, here: Place) -> None:
        with self._driven(here, "hub-logout") as use:
            use()

    def _driven(self, here: Place, role: str) -> Caller:
        return _driven(here, role, **self._environment(here))

    def _environment(self, here: Place) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), str(PEERS / "python")])
        return {"HF_ENDPOINT": here.server.base, "PYTHONPATH": path}


def _fail() -> None:
    raise NoAnswer("not signed in")


def _of_package(name: str) -> str | None:
    file = PEERS / "node_modules" / name / "package.json"
    return str(json.loads(file.read_text())["version"]) if file.exists() else None


def _text(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"error: {answer['error'].get('message')}"
    return str(answer["result"]["content"][0]["text"])


CONTENDERS: tuple[Contender, ...] = (Mcpnb(), Codex(), Sdk(), FastMcp(), McpRemote(), Hub())
"""In the order of the table's columns."""
