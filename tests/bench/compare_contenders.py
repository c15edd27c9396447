"""Who is compared, each used as its documentation says, in processes of its own.

Codex, mcp-remote and huggingface_hub are looked for in the folder that `MCPNB_PEERS` names.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import mcpnb
from tests.bench import ROOT
from tests.bench.compare_driver import ANSWERED, KEY
from tests.bench.compare_lab import Place, place
from tests.bench.compare_process import NoAnswer, Process
from tests.fakes.people import answer_of

Way = Callable[[Place], None]
ADDRESS = re.compile(r"^(http\S+/authorize\?\S+)$", re.MULTILINE)
PEERS = Path(os.environ.get("MCPNB_PEERS") or "/nowhere")
NPM = "npm install --prefix $MCPNB_PEERS @openai/codex mcp-remote"
PIP = "pip install --target $MCPNB_PEERS/python huggingface_hub"


class NotOffered(Exception):
    """It has nothing of the kind; the message says how that was found out."""


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

    @property
    def version(self) -> str | None:
        """Its version; `None` where it is not installed."""
        raise NotImplementedError

    def sign_in(self, here: Place) -> str:
        """Sign in with the browser, in a process of its own; give its last words."""
        with self.caller(here) as call:
            return call()

    @contextmanager
    def caller(self, here: Place) -> Iterator[Callable[[], str]]:
        """Start a process that calls a tool when it is told to, and says how that went."""
        raise NotImplementedError

    def ways(self) -> Mapping[str, Way]:
        """Give the ways to sign in where the browser cannot reach this machine."""
        return {}

    def sign_out(self, here: Place) -> None:  # noqa: ARG002
        """Sign out."""
        raise NotOffered("its storage is yours to write")

    def token(self, here: Place) -> list[str]:  # noqa: ARG002
        """Give the command that prints an access token for other programs."""
        raise NotOffered("a library")


@contextmanager
def _driven(here: Place, role: str, **environment: str) -> Iterator[Callable[[], str]]:
    command = [sys.executable, "-m", "tests.bench.compare_driver", role, here.server.url]
    with Process(here, command, environment) as process:
        process.wait_for(lambda text: re.search(r"^ready$", text, re.MULTILINE))

        def use() -> str:
            process.say("go")
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

    @contextmanager
    def caller(self, here: Place) -> Iterator[Callable[[], str]]:
        with _driven(here, "mcpnb") as use:
            yield use

    def ways(self) -> Mapping[str, Way]:
        return {"paste": self._paste, "device": self._device, "relay": self._relay}

    def sign_out(self, here: Place) -> None:
        with Process(here, self._command("logout", here.server.url)) as process:
            _finish(process)

    def token(self, here: Place) -> list[str]:
        return self._command("token", here.server.url)

    def _paste(self, here: Place) -> None:
        with Process(here, self._command("login", here.server.url, "--no-browser")) as process:
            process.say(answer_of(process.wait_for(ADDRESS.search)[1]))
            _finish(process)

    def _device(self, here: Place) -> None:
        with Process(here, self._command("login", here.server.url, "--device")) as process:
            _finish(process)

    def _relay(self, here: Place) -> None:
        with Process(here, self._command("login", here.server.url, "--begin")) as begun:
            _finish(begun)
            url = ADDRESS.search(begun.text)
        with place(here.server) as there:
            assert url, begun.text
            with Process(there, self._command("relay", "-")) as relay:
                relay.say(url[1])
                _finish(relay)
            line = re.search(r"^http\S+code=\S+$", relay.text, re.MULTILINE)
        assert line, relay.text
        with Process(here, self._command("login", here.server.url, "--finish", "-")) as finish:
            finish.say(line[0])
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
            process.say(json.dumps({"jsonrpc": "2.0", "method": "initialized"}))

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
            process.say(answer_of(url))
            _finish(process)

    def sign_out(self, here: Place) -> None:
        with Process(here, [self.program, "mcp", "logout", "lab"]) as process:
            _finish(process)

    def token(self, here: Place) -> list[str]:
        with Process(here, [self.program, "mcp", "--help"]) as process:
            process.ended()
        commands = re.findall(r"^  (\w+) ", process.text, re.MULTILINE)
        assert "token" not in commands, commands
        raise NotOffered(f"`codex mcp` has {', '.join(commands)}")

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

    @property
    def version(self) -> str | None:
        return importlib.metadata.version("mcp")

    @contextmanager
    def caller(self, here: Place) -> Iterator[Callable[[], str]]:
        with _driven(here, "sdk") as use:
            yield use


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

    @contextmanager
    def caller(self, here: Place) -> Iterator[Callable[[], str]]:
        with _driven(here, "fastmcp") as use:
            yield use

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

    @contextmanager
    def caller(self, here: Place) -> Iterator[Callable[[], str]]:
        with self._proxy(here) as use:
            yield use

    def ways(self) -> Mapping[str, Way]:
        return {"device": self._device}

    def _device(self, here: Place) -> None:
        with self._proxy(here, "--device-code") as use:
            if (told := use()) != ANSWERED:
                raise NoAnswer(told)

    def sign_out(self, here: Place) -> None:
        # What its documentation advises.
        shutil.rmtree(here.home / ".mcp-auth")

    def token(self, here: Place) -> list[str]:  # noqa: ARG002
        package = json.loads((PEERS / "node_modules/mcp-remote/package.json").read_text())
        raise NotOffered(f"its programs are {', '.join(package['bin'])}")

    @contextmanager
    def _proxy(self, here: Place, *flags: str) -> Iterator[Callable[[], str]]:
        with Process(here, [self.program, here.server.url, *flags]) as process:

            def use() -> str:
                who = {"name": "compare", "version": "1"}
                given = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": who}
                begun = process.ask(1, "initialize", given)
                if "error" in begun:
                    return _text(begun)
                process.say(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
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

    @contextmanager
    def caller(self, here: Place) -> Iterator[Callable[[], str]]:
        with self._driven(here, "hub-call") as use:
            yield use

    def ways(self) -> Mapping[str, Way]:
        return {"device": lambda here: None if self.sign_in(here) == ANSWERED else _fail()}

    def sign_out(self, here: Place) -> None:
        with self._driven(here, "hub-logout") as use:
            use()

    def token(self, here: Place) -> list[str]:
        environment = [f"{name}={value}" for name, value in self._environment(here).items()]
        return ["env", *environment, str(PEERS / "python/bin/hf"), "auth", "token"]

    def _driven(self, here: Place, role: str) -> AbstractContextManager[Callable[[], str]]:
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
