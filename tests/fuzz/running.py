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


_FAULT = re.compile(r"Unexpected \w+(?:\.$| while | in the panel)")
"""How a sign-in, a renewal and a panel tell of an exception that nobody foresaw."""
_LARGE = "Generating overly large repr:hypothesis.errors.HypothesisWarning"
"""What hypothesis says of long texts."""


def fuzzed(
    examples: int = 150, **strategies: SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a test of a property. What fails in the soak becomes a test in test_found.py.

    Args:
        examples: How many of them, always the same; the soak makes more, new ones in each run.
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

        def test(number: int, **fixtures: Any) -> None:
            how = settings(_SETTINGS, max_examples=number, derandomize=number == examples)
            how(given(**strategies)(counted))(**fixtures)

        names = [name for name in inspect.signature(check).parameters if name not in strategies]
        test.__name__, test.__module__ = check.__name__, check.__module__
        test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in ("number", *names)]
        )
        few = pytest.param(examples, marks=pytest.mark.slow, id="few")
        soak = [pytest.mark.soak, pytest.mark.timeout(600)]
        many = pytest.param(examples * _LONGER, marks=soak, id="many")
        quiet = pytest.mark.filterwarnings(f"ignore:{_LARGE}")
        both: Callable[..., None] = pytest.mark.parametrize("number", [few, many])(quiet(test))
        return both

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
