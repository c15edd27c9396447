"""The one module that makes text for people: secrets, numbers, times and tables."""

from __future__ import annotations

import time

import pytest

from mcpnb.text import MASK, Grid, Redactor, at, count, duration

SECRET = "s3cret/value that is long"


class TestRedactor:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (f"a {SECRET} b", f"a {MASK} b"),
            (SECRET[3:15], MASK),
            (f"{SECRET}{SECRET}", MASK),
            (f"{SECRET} and {SECRET[:12]}", f"{MASK} and {MASK}"),
            ("s3cret%2Fvalue+that+is+long", MASK),
            (SECRET[:9], SECRET[:9]),
            ("nothing", "nothing"),
        ],
    )
    def test_a_secret_and_any_ten_characters_of_it_are_hidden(self, text: str, shown: str) -> None:
        assert Redactor(SECRET)(text) == shown

    def test_a_short_secret_is_hidden_as_a_whole_and_a_tiny_one_is_not(self) -> None:
        """To hide a letter or two would destroy every text."""
        assert Redactor("abcd", "xy")("abcd abc xy") == f"{MASK} abc xy"


class TestTimes:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (3_590, "1 hour"),
            (2 * 86_400, "2 days"),
        ],
    )
    def test_a_length_of_time_has_one_unit(self, seconds: float, said: str) -> None:
        assert duration(seconds) == said

    def test_a_moment_has_its_day_unless_it_is_today(self) -> None:
        then = time.time() - 9 * 86_400
        assert at(time.time()).startswith("at ")
        assert at(then).startswith(time.strftime("on %Y-%m-%d at ", time.localtime(then)))
        assert at(1e300) == "at a time that cannot be shown"


def test_a_number_agrees_with_its_noun() -> None:
    assert (count(1, "row"), count(1_200, "row")) == ("1 row", "1,200 rows")


@pytest.mark.threat("markup-from-servers", "terminal-escapes")
def test_a_table_makes_its_cells_safe_for_both_displays() -> None:
    grid = Grid(["<b>\x1b", "n"], [["<i>\x1b[2J", 1], [None, 22]])

    assert grid.text().splitlines() == ["<b>       n", "-------  --", "<i> [2J   1", "         22"]
    assert '<td dir="auto" style="text-align:left">&lt;i&gt; [2J</td>' in grid.html()
    assert 'text-align:right">22</td>' in grid.html()
