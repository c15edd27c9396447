"""The same properties with many more examples, new ones in each run."""

from __future__ import annotations

import pytest

from tests.fuzz import (
    test_answers,
    test_callbacks,
    test_challenges,
    test_configuration,
    test_metadata,
    test_panel_messages,
    test_records,
    test_tools_and_results,
    test_whole_flows,
)
from tests.fuzz.running import LARGE, PROPERTIES

# Imported, they have told of their properties; and their fixtures are needed here.
_ALL = (test_answers, test_callbacks, test_challenges, test_metadata, test_records)
_MORE = (test_tools_and_results,)
project = test_configuration.project
front = test_panel_messages.front
server = test_whole_flows.server


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings(f"ignore:{LARGE}")
@pytest.mark.parametrize("name", PROPERTIES)
def test_it_holds_for_many_more(name: str, request: pytest.FixtureRequest) -> None:
    """What fails here is printed, and becomes a test of its own in test_found.py."""
    found = PROPERTIES[name]
    found.soak(**{fixture: request.getfixturevalue(fixture) for fixture in found.fixtures})
