"""What the doctor shows: in a terminal, in a notebook, to a program; and never a secret."""

from __future__ import annotations

import json
from string import Formatter

import pytest

from mcpnb.doctor import Report
from mcpnb.doctor.report import TABLE, check
from mcpnb.stores import MemoryStore
from tests.fakes.broken import assert_only_looked_at, everything
from tests.fakes.people import connect, sign_in
from tests.fakes.server import FakeServer
from tests.terminal import run

OUR_KEY = "A" * 43


class TestReport:
    def test_json_has_the_promised_shape(self, fake: FakeServer) -> None:
        fake.announce(code_challenge_methods_supported=None)

        data = json.loads(json.dumps(connect(fake.url).doctor().to_dict()))

        assert set(data) == {"server", "verdict", "checks"}
        assert data["server"] == fake.url
        keys = {"id", "title", "asked", "answer", "rule", "verdict", "fix", "side"}
        assert all(set(check) == keys for check in data["checks"])
        assert {check["id"] for check in data["checks"]} <= set(TABLE)

    def test_a_line_for_each_check_and_more_only_where_it_is_not_well(
        self, fake: FakeServer
    ) -> None:
        fake.announce(code_challenge_methods_supported=None)

        *lines, summary = repr(connect(fake.url).doctor()).splitlines()

        marks = [line[:3].strip() for line in lines if not line.startswith(" ")]
        assert marks.count("x") == 1
        assert set(marks) == {"ok", "x", "?"}
        at = next(i for i, line in enumerate(lines) if line.startswith("x"))
        assert [line.split(":")[0].strip() for line in lines[at + 1 : at + 4]] == [
            "Asked",
            "Rule",
            "To do (server operator)",
        ]
        assert summary.startswith("1 problem. First, server operator: Announce")

    @pytest.mark.threat("markup-from-servers")
    def test_a_servers_words_give_it_no_way_in(self, fake: FakeServer) -> None:
        """Neither into a page nor into a terminal."""
        fake.describe(resource="https://x.example/<script>alert(1)</script>\x1b[31m\u202e")

        report = connect(fake.url).doctor()

        assert "<script>" not in report._repr_html_()
        assert "&lt;script&gt;" in report._repr_html_()
        assert not set(everything(report)) & {"\x1b", "\u202e"}

    def test_no_secret_shows(self, fake: FakeServer) -> None:
        fake.register_adds = {
            "client_secret": "planted-secret",
            "token_endpoint_auth_method": "client_secret_post",
        }
        session = connect(fake.url, store=(store := MemoryStore()))
        sign_in(session)
        record = store.read(store.keys("login")[0])
        assert record is not None

        shown = everything(session.doctor(call=True))

        tokens = record["tokens"]
        for secret in (tokens["access_token"], tokens["refresh_token"], "planted-secret"):
            assert secret not in shown


@pytest.mark.slow
class TestTerminal:
    def test_a_healthy_server_is_0(self, fake: FakeServer) -> None:
        done = run("doctor", fake.url, MCPNB_STORE_KEY=OUR_KEY).expect(0)

        assert done.err == ""
        assert "\x1b" not in done.out
        assert done.out.splitlines()[0].startswith("ok  Address:")
        assert_only_looked_at(fake)

    def test_a_problem_is_1_and_the_first_thing_to_do_stands_last(self, fake: FakeServer) -> None:
        fake.announce(code_challenge_methods_supported=None)

        done = run("doctor", fake.url).expect(1)

        assert "First, server operator: Announce" in done.out.splitlines()[-1]

    def test_json_is_an_object(self, fake: FakeServer) -> None:
        fake.describe(resource=None)

        found = json.loads(run("doctor", fake.url, "--json").expect(1).out)

        assert found["server"] == fake.url
        assert found["verdict"] == "problem"
        assert {"id", "fix", "side"} <= set(found["checks"][0])

    def test_without_a_server_it_is_the_machine(self) -> None:
        found = json.loads(run("doctor", "--json", MCPNB_STORE_KEY=OUR_KEY).out)

        assert found["server"] is None
        ids = {"environment", "port", "way-back", "python", "store", "keyring", "network"}
        ids |= {"front-end"}
        assert {check["id"] for check in found["checks"]} == ids

    @pytest.mark.parametrize(
        "server", ["http://mcp.example/mcp", "ftp://mcp.example", "https://me:word@mcp.example/mcp"]
    )
    def test_an_address_that_cannot_be_used_is_a_problem(self, server: str) -> None:
        done = run("doctor", server).expect(1)

        assert done.out.startswith("x   Address:")
        assert "https address" in done.out
        assert "me:word" not in done.out

    @pytest.mark.parametrize("arguments", [["not-configured"], ["--call"], ["--account", "work"]])
    def test_wrong_usage_is_2(self, arguments: list[str]) -> None:
        run("doctor", *arguments).expect(2)


def test_a_check_is_found_by_id_only() -> None:
    with pytest.raises(KeyError):
        Report(None, [])["reach"]


def test_each_text_can_be_filled_in() -> None:
    """With its own names alone; and a defect says who can fix it, and how."""
    for name, texts in TABLE.items():
        check_of = name.partition("/")[0]
        used = texts + TABLE.get(check_of, [])
        words = {field: "x" for text in used for _, field, _, _ in Formatter().parse(text) if field}
        if "/" not in name:
            assert len(texts) == 3, name
            continue
        made = check(name, of="" if check_of in TABLE else "sign-in", **words)
        assert made.answer, name
        if made.verdict in ("warning", "problem") and name != "sign-in/failed":
            assert made.side, name
            assert made.fix, name
