"""What a type checker has to find before it happens: checked against the wheel, never run.

Where one of these passes unnoticed, its comment is reported as unused.
"""

from __future__ import annotations

from collections.abc import Callable

import mcpnb
from mcpnb import errors, stores


def connects() -> None:
    mcpnb.conect("linear")  # type: ignore[attr-defined]
    mcpnb.connect()  # type: ignore[call-arg]
    mcpnb.connect("linear", "work")  # type: ignore[call-arg]
    mcpnb.connect("linear", scope="read")  # type: ignore[call-arg]
    mcpnb.connect("linear", scopes={"read"})  # type: ignore[arg-type]
    mcpnb.connect("linear", registration="dynamic")  # type: ignore[arg-type]
    mcpnb.connect("linear", via="browser")  # type: ignore[arg-type]
    mcpnb.connect("linear", callback_port="27182")  # type: ignore[arg-type]
    mcpnb.connect("linear", store=dict)  # type: ignore[arg-type]


async def signs_in(session: mcpnb.Session) -> None:
    session.login("read")  # type: ignore[call-arg]
    session.login().state = "signed_in"  # type: ignore[misc]
    session.login().wait_for("done")  # type: ignore[arg-type]
    session.login().url.upper()  # type: ignore[union-attr]
    await session.login()  # type: ignore[misc]
    session.logout().url  # type: ignore[attr-defined]  # noqa: B018
    session.signed_in = True  # type: ignore[misc]


async def calls(session: mcpnb.Session) -> None:
    session.call()  # type: ignore[call-arg]
    session.call("search", ["report"])  # type: ignore[arg-type]
    session.acall("search").text  # type: ignore[attr-defined]  # noqa: B018
    session.call("search").rows  # type: ignore[attr-defined]  # noqa: B018
    session.options(timeout="2 s")  # type: ignore[arg-type]
    session.options(retries=3)  # type: ignore[call-arg]
    session.options(progress=_takes_one)  # type: ignore[arg-type]
    session.tools() + []  # type: ignore[operator]  # noqa: RUF005
    session.headers()["Authorization"] = 1  # type: ignore[assignment]


def _takes_one(progress: float) -> None:
    print(progress)  # noqa: T201


class Forgetful:
    """A store that cannot lock: two kernels would lose each other's renewals."""

    def read(self, key: stores.Key) -> stores.TokenStore | None: ...


def keeps(session: mcpnb.Session, make: Callable[[], Forgetful]) -> None:
    session.keep_in(make())  # type: ignore[arg-type]
    stores.FileStore()  # type: ignore[call-arg]
    stores.Key("login")  # type: ignore[call-arg]


def fails(error: errors.LoginRequired) -> None:
    error.advise(3)  # type: ignore[arg-type]
    errors.ProtocolError("no PKCE")  # type: ignore[call-arg]
    error.missing  # type: ignore[attr-defined]  # noqa: B018


def looks(session: mcpnb.Session) -> None:
    mcpnb.Panel("linear")  # type: ignore[arg-type]
    mcpnb.discover("linear", probe=False)  # type: ignore[call-arg]
    mcpnb.servers("linear")  # type: ignore[call-arg]
    session.doctor(call="yes")  # type: ignore[arg-type]
