"""What a tab that was opened from the panel can do to it: nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests import figures
from tests.panel.page.acting import Kernel
from tests.panel.page.site import Site
from tests.panel.page.states import fresh, state, waiting

pytestmark = pytest.mark.browser


@pytest.mark.threat("tabnabbing")
def test_a_tab_has_no_way_back_to_the_notebooks(panel: Kernel, where: Site) -> None:
    """Neither the callback page nor where it goes on to can send the notebook's tab elsewhere."""
    figures.add("attacks tried")
    panel.state(state())
    with panel.page.expect_popup() as popup:
        panel.panel.get_by_role("link", name="Sign in").click()
    tab = popup.value
    expect(tab.get_by_role("heading")).to_have_text("Contacting the server…")
    assert tab.evaluate("() => window.opener") is None
    before = panel.page.url

    panel.state(fresh("starting"))
    panel.state(waiting(url=f"{where.url}/authorize?state=Zr3kQ0v1aXw"))
    expect(tab.get_by_role("heading")).to_have_text("Approve?")
    assert tab.evaluate("() => [window.opener, document.referrer]") == [None, ""]
    assert panel.page.url == before


@pytest.mark.threat("channel-guessed")
def test_no_two_links_share_a_nonce_and_none_can_be_guessed(panel: Kernel) -> None:
    """Thirty-two random bytes: another page of the same origin cannot name the channel."""
    figures.add("attacks tried")
    panel.state(state())
    link = panel.panel.get_by_role("link", name="Sign in")
    seen = set()
    for _ in range(3):
        seen.add(str(link.get_attribute("href")).partition("#go=")[2])
        with panel.page.expect_popup() as popup:
            link.click()
        expect(popup.value.get_by_role("heading")).to_have_text("Contacting the server…")
        popup.value.close()

    assert len(seen) == 3
    assert {len(nonce) for nonce in seen} == {43}
