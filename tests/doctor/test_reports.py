"""What the doctor shows: in a terminal, in a notebook, to a program; and never a secret."""

from __future__ import annotations

import json
from string import Formatter

import pytest

from mcpnb.doctor import Report
from mcpnb.doctor.report import TABLE, check
from tests.fakes.broken import assert_only_looked_at, everything
from tests.fakes.people import connect
from tests.fakes.server import FakeServer
from tests.terminal import invoke

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


class TestTerminal:
    def test_a_healthy_server_is_0(self, fake: FakeServer) -> None:
        done = invoke("doctor", fake.url, MCPNB_STORE_KEY=OUR_KEY).expect(0)

        assert done.err == ""
        assert "\x1b" not in done.out
        assert done.out.splitlines()[0].startswith("ok  Address:")
        assert_only_looked_at(fake)

    def test_a_problem_is_1_and_the_first_thing_to_do_stands_last(self, fake: FakeServer) -> None:
        fake.announce(code_challenge_methods_supported=None)

        done = invoke("doctor", fake.url).expect(1)
        found = json.loads(invoke("doctor", fake.url, "--json").expect(1).out)

        assert "First, server operator: Announce" in done.out.splitlines()[-1]
        assert (found["server"], found["verdict"]) == (fake.url, "problem")

    def test_without_a_server_it_is_the_machine(self) -> None:
        found = json.loads(invoke("doctor", "--json", MCPNB_STORE_KEY=OUR_KEY).out)

        assert found["server"] is None
        ids = {"environment", "port", "way-back", "python", "store", "keyring", "network"}
        ids |= {"front-end"}
        assert {check["id"] for check in found["checks"]} == ids


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
