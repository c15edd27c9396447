"""How a property is run: few examples, always the same, in every run; many new ones in a soak.

What every property says: no exception but ours, and nothing of it that could not stand on a
terminal as it is.
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from mcpnb.errors import McpnbError
from tests import figures

_LONGER = 6
"""How many times more examples a soak has."""
_LONGEST_MESSAGE = 3_000
"""Characters; the longest quote of ours has a thousand, beside a path."""
_SETTINGS = settings(
    # No file beside the code: what failed is printed whole.
    database=None,
    # For what never ends; two busy cores may take their time.
    deadline=timedelta(seconds=10),
    print_blob=True,
    # To explain takes minutes more, of two busy cores.
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[
        # The world that tests/conftest.py makes is one for all examples of a test: a property here
        # leaves nothing in it that the next example would meet.
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        # `fuzzed` is applied by hand, and the soak runs the same functions again.
        HealthCheck.differing_executors,
    ],
)


@dataclass(frozen=True)
class Property:
    """One property, for the soak to run again."""

    check: Callable[..., None]
    given: dict[str, SearchStrategy[Any]]
    examples: int
    fixtures: tuple[str, ...]

    def soak(self, **fixtures: Any) -> None:
        """Run it with many new examples."""
        more = settings(_SETTINGS, max_examples=self.examples * _LONGER)
        more(given(**self.given)(self.check))(**fixtures)


_FAULT = re.compile(r"Unexpected \w+(?:\.$| while | in the panel)")
"""How a sign-in, a renewal and a panel tell of an exception that nobody foresaw."""
LARGE = "Generating overly large repr:hypothesis.errors.HypothesisWarning"
"""What hypothesis says of long texts."""
PROPERTIES: dict[str, Property] = {}
"""By the name of its test."""


def fuzzed(
    examples: int = 150, **strategies: SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test of a property, and have the soak know it.

    Args:
        examples: How many of them, always the same.
        **strategies: What is made up, by the argument's name; the other arguments are fixtures.
    """

    def made(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def counted(*args: Any, **kwargs: Any) -> None:
            figures.add("inputs fuzzed")
            try:
                check(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  whatever it is, it is raised
                failure = error
            else:
                return
            if str(failure).isprintable():
                raise failure
            # Workers of pytest-xdist break at a report with lone surrogates in it.
            raise AssertionError(f"{type(failure).__name__}: {str(failure)!a}") from None

        names = inspect.signature(check).parameters
        fixtures = tuple(name for name in names if name not in strategies)
        PROPERTIES[check.__name__] = Property(counted, strategies, examples, fixtures)
        few = settings(_SETTINGS, max_examples=examples, derandomize=True)
        quiet = pytest.mark.filterwarnings(f"ignore:{LARGE}")
        test: Callable[..., None] = pytest.mark.slow(quiet(few(given(**strategies)(counted))))
        return test

    return made


@contextmanager
def only_ours(*also: type[Exception], secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Let pass what mcpnb raises on purpose, if it may be shown; and look at its warnings, too.

    Args:
        *also: What else is documented there.
        secrets: What no message may hold.
    """
    expected: tuple[type[Exception], ...] = (McpnbError, *also)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            yield
        except expected as error:
            fit_to_show(str(error), secrets)
    for warning in told:
        assert issubclass(warning.category, UserWarning), warning
        fit_to_show(str(warning.message), secrets)


def fit_to_show(text: str, secrets: tuple[str, ...] = (), *, most: int = _LONGEST_MESSAGE) -> None:
    """Fail where a text is too long, has what turns or hides text, or holds a secret.

    `str.isprintable` is false for controls, for all of Unicode's format characters (the
    bidirectional ones among them) and for lone surrogates.
    """
    assert len(text) <= most, f"{len(text)} characters: {text[:200]!r}"
    assert all(line.isprintable() for line in text.split("\n")), repr(text[:500])
    assert _FAULT.search(text) is None, text
    for secret in secrets:
        assert secret not in text
