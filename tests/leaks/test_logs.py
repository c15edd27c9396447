"""Everything is logged, by us and by every library, at every level: no secret is in it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
from pathlib import Path

import httpx
import httpx2
import pytest

import mcpnb
from mcpnb import errors
from mcpnb.stores import FileStore
from tests.fakes.broken import by_pasting
from tests.fakes.device import OtherDevice
from tests.fakes.kernels import make_expired
from tests.fakes.people import answer_of, connect, sign_in, waiting
from tests.fakes.secrets import Secrets
from tests.fakes.server import FakeServer
from tests.leaks.tracebacks import Overheard

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
LIBRARIES = ("asyncio", "filelock", "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "mcpnb")


@pytest.fixture
def secret(fake: FakeServer) -> Secrets:
    """Have clients with secrets, and management tokens for them (RFC 7592)."""
    fake.announce(token_endpoint_auth_methods_supported=["client_secret_basic"])
    fake.register_adds = {
        "client_secret": "pLanted/client+secret of Basic",
        "registration_access_token": "pLanted-registration-access-token",
        "token_endpoint_auth_method": "client_secret_basic",
    }
    return Secrets(fake)


def device_of(fake: FakeServer) -> str:
    """Let a person agree at another device; give the device code."""
    phone = OtherDevice(fake)
    phone.decision = "agreed"
    return str(phone.answer["device_code"])


def everything(fake: FakeServer, folder: Path) -> list[str]:
    """Use every feature that has secrets, in good and in bad; give the addresses to open."""
    session = connect(fake.url, store=FileStore(folder))
    opened = [sign_in(session)]
    session.call("echo", text="hi")
    with contextlib.suppress(errors.McpnbError):
        session.call("no such tool")
    fake.tool_scopes["echo"] = "write"
    with contextlib.suppress(errors.McpnbError):
        session.call("echo", text="hi")
    opened.append(sign_in(session, scopes=("write",)))
    session.call("echo", text="hi")
    fake.expire()
    session.tools()
    make_expired(folder)
    session.headers()
    httpx.Client(auth=session.auth, trust_env=False).post(fake.url, json={}).close()
    asyncio.run(of_their_own(session))
    login, url = waiting(session, anew=True)
    with contextlib.suppress(errors.McpnbError):
        login.submit(answer_of(url).replace("state=", "state=x"))
    login.cancel()
    fake.end()
    with contextlib.suppress(errors.McpnbError):
        session.tools()

    def answered(address: str) -> str:
        opened.append(address)
        return answer_of(address)

    session.doctor(call=True, sign_in=by_pasting(session, answered))
    session.logout()
    device = connect(fake.url, account="phone", scopes=("read",))
    device.login(device=True).wait(10)
    device.logout()
    return [*opened, url]


async def of_their_own(session: mcpnb.Session) -> None:
    """Use the whole client, and an HTTP client of one's own."""
    asyncio.get_running_loop().set_debug(True)
    async with session.client() as client:
        await client.list_tools()
    async with httpx2.AsyncClient(auth=session.auth, trust_env=False) as own:
        await own.post(session.server, json={})


# Whose clients are never closed here is the garbage collector's, and told before the next test.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_logged(fake: FakeServer, folder: Path, secret: Secrets) -> None:
    secret.add("device code", device_of(fake))
    with Overheard() as overheard:
        urls = everything(fake, folder)
    names = {record.split(" ")[0].split(".")[0] for record in overheard.records}
    assert names >= set(LIBRARIES) - {"mcpnb"}, "there is something to be searched"
    expected = {"access token", "refresh token", "code", "verifier", "client secret", "state"}
    assert expected | {"registration access token", "Basic header", "device code"} <= secret.kinds()
    secret.absent_from(overheard.places(), without=urls)
    gc.collect()


PROGRAM = """
import faulthandler, logging, sys, warnings
logging.basicConfig(level=1, stream=sys.stderr)
warnings.simplefilter("always")
import mcpnb
session = mcpnb.connect({url!r}, store="file")
print(session, session.tools(), session.call("echo", text="hi"))
faulthandler.dump_traceback(all_threads=True)
session.access_token()
if {broken}:
    raise RuntimeError(session)
"""


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
def test_a_program_that_says_all_it_can(fake: FakeServer, *, broken: bool) -> None:
    """In Python's own debugging modes, to its end, and to a crash of its own."""
    session = mcpnb.connect(fake.url, store="file", callback_port=0)
    sign_in(session)
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-c",
            PROGRAM.format(url=fake.url, broken=broken),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONASYNCIODEBUG": "1"},
    )
    assert done.returncode == broken, done.stderr
    assert "DEBUG" in done.stderr
    assert "Thread 0x" in done.stderr
    Secrets(fake).absent_from({"stdout": done.stdout, "stderr": done.stderr})
