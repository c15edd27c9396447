"""The doctor names what is wrong with a server, with its fix, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import mcpnb
from tests.doctor.broken import BROKEN, Broken
from tests.fakes.broken import assert_only_looked_at, wrong
from tests.fakes.people import connect, free_port, sign_in
from tests.fakes.server import AS_METADATA, PRM, FakeServer
from tests.fakes.wire import Reply


class TestHealthy:
    def test_a_healthy_server_has_no_problem_and_each_document_is_requested_once(
        self, fake: FakeServer
    ) -> None:
        report = connect(fake.url).doctor()

        assert wrong(report) == {}
        assert report.verdict == "ok"
        assert report.summary.startswith("No problem found")
        assert [r.path for r in fake.requests] == ["/mcp", PRM, AS_METADATA]

    def test_nor_has_one_that_somebody_is_signed_in_to(self, fake: FakeServer) -> None:
        session = connect(fake.url, callback_port=free_port())
        sign_in(session)
        before = len(fake.requests)

        report = session.doctor(call=True)

        assert wrong(report) == {}
        assert report["call"].verdict == report["redirect"].verdict == "ok"
        assert_only_looked_at(fake, before)

    @pytest.mark.parametrize(
        "opens", [FakeServer.need_no_sign_in, lambda fake: setattr(fake, "open_until_called", True)]
    )
    def test_nor_has_one_that_answers_without_a_token(
        self, fake: FakeServer, opens: Callable[[FakeServer], None]
    ) -> None:
        """It needs no sign-in at all, or only at a call."""
        opens(fake)

        assert wrong(connect(fake.url).doctor()) == {}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_named_with_its_fix(fake: FakeServer, case: Broken) -> None:
    """That, who can fix it, and nothing else; and nothing is changed to find it out."""
    case.breaks(fake)

    report = connect(fake.url, **case.given or {}).doctor()

    name, verdict, side = case.parts
    assert wrong(report) == {name: verdict} | (case.also or {}), report
    check = report[name]
    assert case.says in check.answer
    assert case.fix in str(check.fix)
    assert check.side == side
    assert re.search(r"RFC \d{4}|OAuth 2\.1|MCP 2026-07-28", check.rule)
    assert report.verdict == verdict
    ids = [c.id for c in report]
    assert len(ids) == len(set(ids)), "each id once"
    assert_only_looked_at(fake)


@pytest.mark.parametrize("name", [n for n, c in BROKEN.items() if c.expected[0] == "x"])
def test_a_problem_does_stand_in_the_way_of_signing_in(fake: FakeServer, name: str) -> None:
    """The verdict is that of discovery itself, which the doctor watches and does not repeat."""
    case = BROKEN[name]
    case.breaks(fake)
    refused_later = {"registration", "grants", "client-auth", "resource-metadata"}

    try:
        mcpnb.discover(fake.url)
    except mcpnb.errors.ServerError:
        return
    assert case.parts[0] in refused_later or case.given, "discovery has nothing against it"


def test_one_defect_does_not_hide_the_next(fake: FakeServer) -> None:
    """Discovery stops at the first one."""
    fake.challenge = None
    fake.describe(resource=None)
    fake.announce(
        issuer=f"{fake.base}/x",
        code_challenge_methods_supported=None,
        registration_endpoint=None,
        authorization_response_iss_parameter_supported=None,
    )

    report = connect(fake.url).doctor()

    assert set(wrong(report)) == {
        *("challenge", "resource", "issuer", "pkce", "registration", "iss")
    }
    assert_only_looked_at(fake)


def test_an_allowed_defect_is_a_warning(fake: FakeServer, tmp_path: Path) -> None:
    """Who set allow_missing_pkce is told what it means, and not stopped."""
    fake.announce(code_challenge_methods_supported=None)
    own = tmp_path / "config.toml"
    own.write_text(f'[mcp_servers.x]\nurl = "{fake.url}"\nallow_missing_pkce = true\n')

    assert wrong(connect("x", config=str(own)).doctor()) == {"pkce": "warning"}


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (lambda _: f"http://127.0.0.1:{free_port()}/mcp", "TCP: the connection was refused"),
        (lambda f: f.url.replace("http:", "https:"), "TLS: no secure connection"),
        (lambda _: "https://no-such-host.invalid/mcp", "DNS: the name is unknown"),
    ],
    ids=["TCP", "TLS", "DNS"],
)
def test_it_says_what_failed_where_nothing_is_reached(
    fake: FakeServer, server: Callable[[FakeServer], str], says: str
) -> None:
    report = connect(server(fake)).doctor()
    fake.broken.clear()  # a TLS greeting is no HTTP

    assert wrong(report) == {"reach": "problem"}
    assert report["reach"].answer.startswith(says)
    assert report["reach"].fix


HERE = "http://127.0.0.1:{}/callback"


@pytest.mark.parametrize(
    ("client_id", "host", "listed", "expected"),
    [
        ("", "127.0.0.1", HERE, {}),
        ("", "127.0.0.1", "https://hub.example/callback", {"redirect": "problem"}),
        ("", "127.0.0.1", HERE.format(1), {"redirect": "warning"}),
        ("", "localhost", "http://localhost:1/callback", {"redirect": "warning"}),
        ("", "localhost", HERE.format(1), {"redirect": "problem"}),
        ("https://elsewhere.example/client.json", "127.0.0.1", HERE, {"registration": "problem"}),
    ],
    ids=[
        *("listed", "not listed", "another port", "another port by name", "another host"),
        "another client_id",
    ],
)
def test_a_metadata_document_has_to_name_itself_and_list_the_redirect(
    fake: FakeServer, client_id: str, host: str, listed: str, expected: dict[str, str]
) -> None:
    port, url = free_port(), f"{fake.base}/client.json"
    fake.announce(client_id_metadata_document_supported=True, registration_endpoint=None)
    document = {"client_id": client_id or url, "redirect_uris": [listed.format(port)]}
    fake.always("/client.json", Reply(200, document))

    callback = f"http://{host}:{port}/callback"
    report = connect(fake.url, client_metadata_url=url, callback_url=callback).doctor()

    assert wrong(report) == expected
    if "redirect" in expected:
        assert "“redirect_uris”" in str(report["redirect"].fix)


def test_of_a_client_registered_by_hand_nothing_is_claimed(fake: FakeServer) -> None:
    """Only the server knows what is registered there."""
    report = connect(fake.url, client_id="mine", callback_port=free_port()).doctor()

    assert wrong(report) == {}
    assert report["redirect"].verdict == "unknown"
    assert "letter for letter" in str(report["redirect"].fix)
