"""`http_headers_helper`: a local command prints headers that go with every call."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.config import read_configuration, review
from mcpnb.oauth.models import Secret
from mcpnb.stores import FileStore, MemoryStore
from mcpnb.tokens import static
from tests.fakes.helper import Helper, wanting
from tests.fakes.people import connect, posix, sign_in
from tests.fakes.server import FakeServer
from tests.terminal import run

Team = Callable[..., mcpnb.Session]


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path)


@pytest.fixture
def team(fake: FakeServer, helper: Helper) -> Team:
    """Configure the fake as ``team``, with the helper or another command, and connect to it."""

    def connected(lines: str = "", command: str | None = None, **given: object) -> mcpnb.Session:
        return connect("team", config=helper.configured(fake.url, lines, command), **given)

    return connected


def by_python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def post(session: mcpnb.Session, url: str) -> int:
    """Send a request with a client of one's own; give the response's status."""
    with httpx2.Client(auth=session.auth, trust_env=False, follow_redirects=True) as client:
        return client.post(url, json={"method": "ping"}).status_code


def shown_with_locals(error: BaseException) -> str:
    """Give the traceback as those print it who want to see local variables, without the test's."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    report.stack = traceback.StackSummary(f for f in report.stack if f.filename != __file__)
    return "".join(report.format())


class TestHeaders:
    def test_they_go_with_every_request_next_to_the_token_of_the_sign_in(
        self, fake: FakeServer, team: Team, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its own take the place of those written down; it runs once. The login is refreshed."""
        monkeypatch.setenv("TEAM_KEY", "from-env")
        helper.says(**{"X-Key": "from-helper", "X-Both": "helped"})
        session = team(
            'http_headers = {X-Both = "a", X-Own = "b"}\nenv_http_headers = {X-Env = "TEAM_KEY"}'
        )
        sign_in(session)
        fake.requests.clear()

        assert session.call("echo", text="hi").text == "hi"
        session.tools()
        asyncio.run(TestOnALoop.while_it_runs(session, None))

        names = ("x-key", "x-both", "x-own", "x-env", "authorization")
        sent = {tuple(r.headers.get(n) for n in names) for r in fake.asked("/mcp", "POST")}
        bearer = f"Bearer {session.access_token()}"
        assert sent == {("from-helper", "helped", "b", "from-env", bearer)}
        assert session.headers() == {"Authorization": bearer}
        assert session.status == "authenticated"
        assert len(helper.runs) == 1
        for _ in range(2):
            fake.expire()
            assert session.call("echo", text="hi").text == "hi"
        assert len(fake.token_requests("refresh_token")) == 2
        assert len(helper.runs) == 2

    def test_connecting_and_looking_at_the_session_run_nothing(
        self, team: Team, helper: Helper
    ) -> None:
        session = team()
        assert session.server
        assert "http_headers_helper" in repr(session)
        assert "not asked yet" in repr(session)
        assert helper.runs == []

    def test_a_variable_with_a_token_comes_first(
        self, team: Team, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEAM_TOKEN", "from-env")
        helper.says(Authorization="Bearer from-helper")
        assert team('bearer_token_env_var = "TEAM_TOKEN"').access_token() == "from-env"


class TestARefusal:
    @pytest.mark.parametrize("status", [401, 403])
    @pytest.mark.parametrize("name", ["Authorization", "X-Key"])
    def test_it_runs_once_more_and_the_call_goes_through(
        self, fake: FakeServer, team: Team, helper: Helper, name: str, status: int
    ) -> None:
        """With whatever header; nobody notices but the command."""
        helper.says(**{name: "Bearer one"})
        seen = wanting(fake, name.lower(), "Bearer one", "Bearer two", status=status)
        session = team()
        assert session.call("echo", text="1").text == "1"

        helper.says(**{name: "Bearer two"})
        assert session.call("echo", text="2").text == "2"

        assert len(helper.runs) == 2
        assert seen[-2:] == ["Bearer one", "Bearer two"]

    @pytest.fixture
    def outdated(self, fake: FakeServer, team: Team, helper: Helper) -> mcpnb.Session:
        """Connect where the server no longer takes what the command has printed."""
        helper.says(Authorization="Bearer one")
        session = team()
        assert session.access_token() == "one"
        helper.says(Authorization="Bearer two")
        wanting(fake, "authorization", "Bearer two")
        return session

    def test_it_runs_once_for_all_who_are_refused(
        self, outdated: mcpnb.Session, helper: Helper
    ) -> None:
        async def many() -> list[str]:
            calls = [outdated.acall("echo", text=str(n)) for n in range(10)]
            return [result.text for result in await asyncio.gather(*calls)]

        assert asyncio.run(many()) == [str(n) for n in range(10)]
        assert len(helper.runs) == 2

    def test_a_second_refusal_is_the_answer(self, outdated: mcpnb.Session, helper: Helper) -> None:
        """The same headers are not sent again, and the command is not run for each request."""
        helper.says(Authorization="Bearer one")
        for _ in range(2):
            with pytest.raises(errors.CallError, match=r"not accept the token.*headers_helper"):
                outdated.call("echo", text="x")
        assert len(helper.runs) == 2

    def test_a_client_of_ones_own_is_asked_again_too(
        self, outdated: mcpnb.Session, fake: FakeServer
    ) -> None:
        assert post(outdated, fake.url) == 202

    def test_a_token_keeps_its_generation_though_the_command_runs_again_just_then(
        self, outdated: mcpnb.Session, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else the refused token would count as what is printed now, and not be replaced by it."""
        reveal, shared = Secret.reveal, static.helper_of(outdated._config)  # noqa: SLF001

        def run_meanwhile(secret: Secret) -> str:
            monkeypatch.setattr(Secret, "reveal", reveal)
            assert shared is not None
            assert shared.rerun(1)
            return reveal(secret)

        monkeypatch.setattr(Secret, "reveal", run_meanwhile)
        first = outdated._shared.source.get()  # noqa: SLF001

        assert (first.token.reveal(), first.generation) == ("one", 1)
        assert outdated.call("echo", text="x").text == "x"
        assert len(helper.runs) == 2


_WAITS = """
import contextlib, threading
with contextlib.suppress(OSError):
    print("s3cret" * 20_000, flush=True)
threading.Event().wait()
"""
"""It prints too much, does not mind the closed pipe, and waits for something."""


class TestFailures:
    @pytest.mark.parametrize(
        ("code", "told"),
        [
            (
                "import sys; print('s3cret'); sys.exit('no key\\x1b[2J here')",
                "exit code 1: “no key",
            ),
            ("import sys; print('s3cret'); sys.exit(3)", "exit code 3."),
            ("import sys; sys.exit('x' * 1_000_000)", "exit code 1: “xxx"),
            ("print('s3cret')", "did not print a JSON object"),
            ("print('[\"s3cret\"]')", "did not print a JSON object"),
            ('print(\'{"X-Key": ["s3cret"]}\')', "a value for X-Key that no header has"),
            (
                'print(\'{"X-Key": "s3cret\\\\r\\\\nX: y"}\')',
                "a value for X-Key that no header has",
            ),
            ('print(\'{"Host": "s3cret"}\')', "“Host”, which is no header that can be set"),
            ("print('s3cret' * 20_000)", "more than 64 KiB"),
            ("import sys\nwhile True: sys.stdout.write('s3cret' * 1000)", "more than 64 KiB"),
            (_WAITS, "more than 64 KiB"),
        ],
    )
    def test_what_went_wrong_is_told_and_nothing_that_it_printed(
        self, fake: FakeServer, team: Team, code: str, told: str
    ) -> None:
        """Before anything is sent; its stderr is quoted, capped and harmless."""
        session = team(command=by_python(code))

        with pytest.raises(errors.ConfigError, match=r"http_headers_helper in .*toml") as caught:
            session.call("echo", text="x")

        assert told in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 700
        assert "s3cret" not in str(caught.value) + repr(session)
        assert "s3cret" not in shown_with_locals(caught.value)
        assert fake.requests == []

    @posix
    @pytest.mark.slow
    def test_one_that_does_not_end_is_ended_with_all_it_started(
        self, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A grandchild that holds the pipes would hold the call as well."""
        import fcntl

        monkeypatch.setattr(static, "_LASTS", 1.0)
        pipe = tmp_path / "ended"
        code = (
            "import fcntl, subprocess, sys\n"
            "code = 'import signal, sys; print(flush=True); signal.pause()'\n"
            f"lock = open({str(pipe)!r}, 'w')\n"
            "fcntl.flock(lock, fcntl.LOCK_EX)\n"
            "subprocess.Popen([sys.executable, '-c', code], pass_fds=[lock.fileno()])\n"
        )
        with pytest.raises(errors.ConfigError, match="did not end within 1 seconds"):
            team(command=by_python(code)).call("echo", text="x")
        with pipe.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # held until the grandchild, too, has gone

    @pytest.mark.parametrize(
        ("command", "path", "told"),
        [
            ("no-such-program-here --x", "/bin", "no-such-program-here is not on the PATH"),
            ("/no/such/program", "/bin", "No such file"),
            # A folder that may not be entered raises the same kind of error.
            ("give --x", "/" + "x" * 300, "File name too long"),
        ],
    )
    def test_a_program_that_cannot_be_run_is_named(
        self, team: Team, monkeypatch: pytest.MonkeyPatch, command: str, path: str, told: str
    ) -> None:
        monkeypatch.setenv("PATH", path)
        session = team(command=command)
        for ask in (session.headers, lambda: session.status):
            with pytest.raises(errors.ConfigError, match=f"cannot be run: .*{told}"):
                ask()

    def test_it_runs_again_for_who_asks_next(self, team: Team, helper: Helper) -> None:
        session = team()
        with pytest.raises(errors.ConfigError):
            session.headers()
        helper.says(Authorization="Bearer s3cret")
        assert session.access_token() == "s3cret"

    @pytest.mark.slow
    def test_a_login_can_be_ended_all_the_same(
        self, fake: FakeServer, helper: Helper, world: Path
    ) -> None:
        store = FileStore(world / "mcpnb")
        file = helper.configured(fake.url, command="/no/such/program")
        for out in (["team"], ["--all"]):
            sign_in(connect(fake.url, store=store))
            done = run("logout", *out, MCPNB_CONFIG=file).expect(0)
            assert "revoked at the server" in done.err
            assert store.keys("login") == []


class TestTheCommand:
    @pytest.mark.threat("helper-by-a-shell")
    def test_it_runs_in_the_folder_of_its_file_and_with_no_shell(
        self, team: Team, helper: Helper, tmp_path: Path
    ) -> None:
        """Whatever folder somebody happens to be in, and whatever a shell would make of a word."""
        helper.says(Authorization="Bearer s3cret")
        command = f"{shlex.quote(sys.executable)} helper/give.py '$(touch x)' ; touch y"
        assert team(command=command).access_token() == "s3cret"
        assert helper.runs == [str(tmp_path)]
        assert not list(tmp_path.glob("[xy]"))

    def test_its_program_may_be_beneath_that_folder(
        self, fake: FakeServer, helper: Helper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However the file was named, and from wherever."""
        helper.says(Authorization="Bearer s3cret")
        program = helper.folder / "give"
        program.write_text(f"#!/bin/sh\nexec {helper.command}\n")
        program.chmod(0o755)
        monkeypatch.chdir(tmp_path.parent)
        file = Path(helper.configured(fake.url, command="./helper/give"))
        session = connect("team", config=str(file.relative_to(tmp_path.parent)))
        monkeypatch.chdir(helper.folder)
        assert session.access_token() == "s3cret"
        assert helper.runs == [str(tmp_path)]

    @pytest.mark.threat("helper-of-the-working-folder")
    def test_a_name_is_not_looked_for_in_the_working_folder(
        self, team: Team, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        helper.script.chmod(0o755)
        monkeypatch.chdir(helper.folder)
        monkeypatch.setenv("PATH", f".:{helper.folder.name}")
        with pytest.raises(errors.ConfigError, match="not on the PATH"):
            team(command="give.py").headers()
        assert helper.runs == []

    @pytest.mark.parametrize("wrong", ['""', "5", '"it\'s"', '"a\\u0000b"'])
    def test_what_is_no_command_is_told_with_its_file(self, tmp_path: Path, wrong: str) -> None:
        file = tmp_path / "c.toml"
        file.write_text(f'[mcp_servers.x]\nurl = "https://x"\nhttp_headers_helper = {wrong}')
        with pytest.raises(errors.ConfigError, match=r"c\.toml: .*helper has to be a command"):
            read_configuration(file)

    def test_mcpnb_itself_is_no_helper_of_its_own(self, team: Team) -> None:
        """The line that `token --help` gives for Codex stands in a file that both read."""
        session = team(command="uvx mcpnb token team --header --json")
        assert session.status == "none"
        sign_in(session)
        assert session.call("echo", text="hi").text == "hi"

    @pytest.mark.slow
    def test_nor_is_a_script_around_it(self, helper: Helper, world: Path, fake: FakeServer) -> None:
        """Or each would start the next one without end."""
        token = connect(fake.url, store=FileStore(world / "mcpnb"))
        sign_in(token)
        helper.script.write_text(
            "import subprocess, sys\n"
            "words = [sys.executable, '-m', 'mcpnb', 'token', 'team', '--header', '--json']\n"
            "sys.exit(subprocess.call([*words, '--config', sys.argv[1]]))\n"
        )
        file = helper.configured(fake.url, command=f"{helper.command} config.toml")
        assert run("token", "team", "--config", file).expect(0).out.strip() == token.access_token()

    @pytest.mark.threat("project-runs-a-helper")
    def test_a_project_may_give_one_only_once_it_is_trusted(
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


@posix
class TestOnALoop:
    """The command ends once the loop goes on with something else: it would never, on it."""

    @staticmethod
    async def while_it_runs(session: mcpnb.Session, gate: Path | None) -> list[str]:
        async def listed() -> list[str]:
            async with session.client() as client:
                return [tool.name for tool in (await client.list_tools()).tools]

        task = asyncio.create_task(listed())
        await asyncio.sleep(0)  # it has begun, and is back
        if gate is not None and not task.done():
            await asyncio.to_thread(gate.write_text, '{"Authorization": "Bearer s3cret"}')
        return await task

    def test_a_client_has_it_run_elsewhere(
        self, fake: FakeServer, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(static, "_LASTS", 3.0)
        wanting(fake, "authorization", "Bearer s3cret")
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        session = team(command=by_python(f"print(open({str(gate)!r}).read())"))

        assert asyncio.run(self.while_it_runs(session, gate)) == ["echo", "publish"]

    def test_a_client_of_one_that_fails_says_so(self, team: Team) -> None:
        with pytest.raises(errors.ConfigError, match="cannot be run"):
            asyncio.run(self.while_it_runs(team(command="/no/such/program"), None))


class TestList:
    @pytest.mark.slow
    def test_it_shows_the_command_and_what_came_of_it(
        self, fake: FakeServer, helper: Helper
    ) -> None:
        """The command runs where servers may be asked, too."""
        helper.says(Authorization="Bearer s3cret")
        file = helper.configured(fake.url)
        for words, status, runs in (
            (("list", "--no-probe"), "none", 0),
            (("list",), "bearer_token", 1),
            (("get", "team"), "bearer_token", 2),
        ):
            done = run(*words, "--json", "--config", file).expect(0)
            found = json.loads(done.out)
            row = found[0] if isinstance(found, list) else found
            assert row["transport"]["http_headers_helper"] == helper.command
            assert row["auth_status"] == status
            assert len(helper.runs) == runs
            assert "s3cret" not in done.out + done.err
        assert fake.requests == []

        file = helper.configured(fake.url, command="/no/such/program")
        (row,) = json.loads(run("list", "--json", "--config", file).out)
        assert row["auth_status"] == "unreachable"
        assert "cannot be run" in row["error"]
