"""`http_headers_helper` in files that others write or read, and as it is listed."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mcpnb
from mcpnb import errors
from mcpnb.config import review
from mcpnb.stores import FileStore, MemoryStore
from mcpnb.tokens import static
from tests.fakes.helper import Helper, wanting
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.terminal import run

Write = Callable[..., str]


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path)


@pytest.fixture
def config(fake: FakeServer, helper: Helper) -> Write:
    """Write a file that configures the fake as ``team``, with the helper; give its name."""
    return functools.partial(helper.configured, fake.url)


class TestMcpnbItself:
    def test_mcpnb_itself_is_no_helper_of_its_own(self, config: Write, world: Path) -> None:
        """The line that `token --help` gives for Codex stands in a file that both read."""
        store = FileStore(world / "mcpnb")
        session = connect(
            "team", config=config(command="uvx mcpnb token team --header --json"), store=store
        )
        assert session.status == "none"
        sign_in(session)
        assert session.call("echo", text="hi").text == "hi"

    @pytest.mark.slow
    def test_nor_is_a_script_around_it(
        self, config: Write, helper: Helper, world: Path, fake: FakeServer
    ) -> None:
        """Or each would start the next one without end."""
        token = connect(fake.url, store=FileStore(world / "mcpnb"))
        sign_in(token)
        helper.script.write_text(
            "import subprocess, sys\n"
            "words = [sys.executable, '-m', 'mcpnb', 'token', 'team', '--header', '--json']\n"
            "sys.exit(subprocess.call([*words, '--config', sys.argv[1]]))\n"
        )
        file = config(command=f"{helper.command} config.toml")
        assert run("token", "team", "--config", file).expect(0).out.strip() == token.access_token()


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
class TestOnALoop:
    def test_a_client_has_it_run_elsewhere(
        self,
        fake: FakeServer,
        config: Write,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The command ends once the loop goes on with something else: it would never, on it."""
        monkeypatch.setattr(static, "_LASTS", 3.0)
        wanting(fake, "authorization", "Bearer s3cret")
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        code = f"print(open({str(gate)!r}).read())"
        session = connect("team", config=config(command=shlex.join([sys.executable, "-c", code])))

        assert asyncio.run(_while_it_runs(session, gate)) == ["echo", "publish"]

    def test_a_client_of_one_that_fails_says_so(self, config: Write) -> None:
        session = connect("team", config=config(command="/no/such/program"))
        with pytest.raises(errors.ConfigError, match="cannot be run"):
            asyncio.run(_while_it_runs(session, None))


async def _while_it_runs(session: mcpnb.Session, gate: Path | None) -> list[str]:
    async def listed() -> list[str]:
        async with session.client() as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    task = asyncio.create_task(listed())
    await asyncio.sleep(0)  # it has begun, and is back
    if gate is not None and not task.done():
        await asyncio.to_thread(gate.write_text, '{"Authorization": "Bearer s3cret"}')
    return await task


class TestWhoMayGiveOne:
    @pytest.mark.threat("project-runs-a-helper")
    def test_a_project_only_once_it_is_trusted(
        self, world: Path, fake: FakeServer, helper: Helper
    ) -> None:
        """And what would be run is shown before."""
        helper.says(Authorization="Bearer s3cret")
        wanting(fake, "authorization", "Bearer s3cret")
        toml = Path(helper.configured(fake.url)).read_text().replace("team", "toml")
        (world / "work" / "mcpnb.toml").write_text(toml)
        claude = {"type": "http", "url": fake.url, "headersHelper": helper.command}
        (world / "work" / ".mcp.json").write_text(json.dumps({"mcpServers": {"json": claude}}))
        for name in ("toml", "json"):
            with pytest.raises(errors.ConfigError, match="not trusted"):
                mcpnb.connect(name)
        mcpnb.servers()
        assert helper.runs == []

        for each in review():
            assert any(f"runs the command {helper.command}" in line for line in each.lines)
            each.agree()
        for name in ("toml", "json"):
            assert connect(name, store=MemoryStore()).call("echo", text=name).text == name


class TestList:
    @pytest.mark.slow
    def test_it_shows_the_command_and_what_came_of_it(
        self, fake: FakeServer, config: Write, helper: Helper
    ) -> None:
        """The command runs where servers may be asked, too."""
        helper.says(Authorization="Bearer s3cret")
        file = config()
        (row,) = json.loads(run("list", "--json", "--no-probe", "--config", file).expect(0).out)
        assert helper.runs == []
        assert row["transport"]["http_headers_helper"] == helper.command
        assert row["auth_status"] == "none"

        for command in (("list",), ("get", "team")):
            done = run(*command, "--json", "--config", file).expect(0)
            found = json.loads(done.out)
            row = found[0] if isinstance(found, list) else found
            assert row["transport"]["http_headers_helper"] == helper.command
            assert row["auth_status"] == "bearer_token"
            assert "s3cret" not in done.out + done.err
        assert fake.requests == []

    @pytest.mark.slow
    def test_one_that_fails_is_told(self, config: Write) -> None:
        (row,) = json.loads(
            run("list", "--json", "--config", config(command="/no/such/program")).out
        )
        assert row["auth_status"] == "unreachable"
        assert "cannot be run" in row["error"]
