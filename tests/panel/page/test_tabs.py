"""The panel and the callback page on one origin: going to the sign-in page, and coming back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests import figures
from tests.panel.page.acting import Kernel
from tests.panel.page.site import CALLBACK, Site
from tests.panel.page.states import HOST, fresh, login, state, waiting

pytestmark = pytest.mark.browser

STATE = "Zr3kQ0v1aXw"
NONCE = "0123456789abcdef0123"


def _press(panel: Kernel, name: str = "Sign in") -> Page:
    with panel.page.expect_popup() as popup:
        panel.panel.get_by_role("link", name=name).click()
    return popup.value


def _authorize(where: Site) -> str:
    return f"{where.url}/authorize?state={STATE}"


def _returned(panel: Kernel, where: Site, query: str = f"code=a-code&state={STATE}") -> Page:
    tab = panel.page.context.new_page()
    tab.goto(f"{where.url}{CALLBACK}?{query}")
    return tab


def _say(page: Page, channel: str, *messages: object) -> None:
    page.evaluate(
        "([name, messages]) => { const channel = new BroadcastChannel(name);"
        " messages.forEach((message) => channel.postMessage(message)); }",
        [channel, list(messages)],
    )


def _reply(panel: Kernel, outcome: str, **more: str | None) -> None:
    (answer,) = panel.got("answer")
    whole = {"title": "", "text": "", "location": None} | more
    panel.says(kind="reply", view=answer["view"], id=answer["id"], outcome=outcome, **whole)


# Going


@pytest.mark.threat("tabnabbing")
def test_a_tab_is_told_where_to_go_and_has_no_way_back(panel: Kernel, where: Site) -> None:
    """Neither the callback page nor where it goes on to can send the notebook's tab elsewhere."""
    figures.add("attacks tried")
    panel.state(state())
    tab = _press(panel)
    assert "/authorize" not in where.asked
    expect(tab.get_by_role("heading")).to_have_text("Contacting the server…")
    assert tab.evaluate("() => window.opener") is None
    assert panel.got("sign_in")[0]["page"]["served"] is True
    before = panel.page.url

    panel.state(fresh("starting"))
    expect(tab.get_by_role("status")).to_contain_text("Contacting mcp.harbour.example")
    panel.state(waiting(url=_authorize(where)))
    expect(tab.get_by_role("heading")).to_have_text("Approve?")
    about = tab.evaluate("() => [history.length, window.opener, document.referrer]")
    assert about == [1, None, ""]
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
        tab = _press(panel)
        expect(tab.get_by_role("heading")).to_have_text("Contacting the server…")
        tab.close()

    assert len(seen) == 3
    assert {len(nonce) for nonce in seen} == {43}


@pytest.mark.threat("page-leads-to-a-script")
def test_a_callback_page_is_one_of_the_web(notebook: Kernel) -> None:
    """A page of another kind can have this origin as well."""
    for folder, own in (("blob:{}/folder", False), ("{}/lab/extensions", True)):
        notebook.page.evaluate(
            "(folder) => { document.getElementById('jupyter-config-data').textContent ="
            " JSON.stringify({baseUrl: '/', fullLabextensionsUrl: folder.replace('{}',"
            " location.origin)}); }",
            folder,
        )
        notebook.does("sent.length = 0")
        notebook.show()
        (hello,) = notebook.got("hello")
        assert (hello["page"]["callback"] is not None) is own


@pytest.mark.threat("code-in-the-history")
def test_the_address_bar_of_the_tab_is_cleaned(panel: Kernel, where: Site) -> None:
    panel.state(state())
    tab = _press(panel)

    tab.wait_for_url(where.url + CALLBACK)


def test_a_tab_opened_without_a_click_begins_as_well(panel: Kernel, where: Site) -> None:
    """From the link's context menu, say. It is asked for once, however often the tab says so."""
    panel.state(state())
    address = panel.panel.get_by_role("link", name="Sign in").get_attribute("href") or ""
    tab = panel.page.context.new_page()
    tab.goto(address)
    panel.got("sign_in")
    panel.state(waiting(url=_authorize(where)))

    tab.wait_for_url(_authorize(where))
    assert len(panel.had("sign_in")) == 1


def test_a_tab_is_told_the_end(panel: Kernel) -> None:
    panel.state(state())
    tab = _press(panel)
    panel.got("sign_in")
    panel.state(fresh("starting"))
    panel.state(fresh("failed, denied"))

    expect(tab.get_by_role("heading")).to_have_text(f"Not signed in to {HOST}")


def test_a_tab_is_told_of_a_busy_kernel(panel: Kernel) -> None:
    panel.does("busy = true")
    panel.state(state())
    tab = _press(panel)

    expect(tab.get_by_role("status")).to_contain_text("The kernel is busy")


@pytest.mark.threat("page-leads-to-a-script")
def test_an_address_that_is_not_of_the_web_is_refused(panel: Kernel, where: Site) -> None:
    tab = panel.page.context.new_page()
    tab.goto(f"{where.url}{CALLBACK}#go={NONCE}")
    foreign: list[object] = [None, 3, "go", [], {}, {"kind": "stop"}, {"kind": {"go": 1}}]
    _say(panel.page, f"mcpnb-go-{NONCE}", *foreign)
    _say(panel.page, f"mcpnb-go-{NONCE}", {"kind": "go", "url": "javascript:alert(1)"})

    expect(tab.get_by_role("heading")).to_have_text("That is no web address")


def test_a_notebook_that_does_not_answer_is_told(page: Page, where: Site) -> None:
    page.clock.install()
    page.goto(f"{where.url}{CALLBACK}#go={NONCE}")
    expect(page.get_by_role("heading")).to_have_text("Contacting the server…")
    page.clock.run_for(10_500)

    expect(page.get_by_role("heading")).to_have_text("Your notebook does not answer")


# Coming back


def test_the_answer_is_handed_over_once(panel: Kernel, where: Site) -> None:
    """Two views wait for it, and the page repeats itself until it is heard."""
    panel.state(waiting(url=_authorize(where)))
    full = f"{where.url}{CALLBACK}?code=a-code&state={STATE}"
    for _ in range(3):
        _say(panel.page, f"mcpnb-answer-{STATE}", {"kind": "answer", "text": full})
    tab = _returned(panel, where)

    expect(tab.get_by_role("heading")).to_have_text("Handing over to your notebook…")
    assert panel.got("answer")[0]["text"] == full
    _reply(panel, "done")
    panel.state(login())
    expect(tab.get_by_role("heading")).to_have_text("Signed in")
    expect(tab.get_by_role("status")).to_contain_text("You can close this tab.")
    assert tab.url == where.url + CALLBACK
    assert len(panel.had("answer")) == 1


def test_two_views_hand_over_and_the_first_that_is_done_counts(panel: Kernel, where: Site) -> None:
    panel.show()
    panel.got("hello", 2)
    panel.state(waiting(url=_authorize(where)))
    tab = _returned(panel, where)
    first, second = panel.got("answer", 2)
    for answer, outcome in ((first, "done"), (second, "refused")):
        told = {"title": "Used already", "text": "", "location": None}
        panel.says(kind="reply", view=answer["view"], id=answer["id"], outcome=outcome, **told)

    expect(tab.get_by_role("heading")).to_have_text("Signed in")


def test_what_went_wrong_is_told_in_the_tab(panel: Kernel, where: Site) -> None:
    panel.state(waiting(url=_authorize(where)))
    tab = _returned(panel, where, f"error=access_denied&state={STATE}")
    _reply(panel, "refused", title="Denied <b>", text="Sign in again <img src=/x onerror=alert(1)>")

    expect(tab.get_by_role("heading")).to_have_text("Denied <b>")
    expect(tab.get_by_role("status")).to_contain_text("<img src=/x onerror=alert(1)>")
    assert "/x" not in where.asked


@pytest.mark.threat("page-leads-to-a-script")
@pytest.mark.parametrize(
    ("location", "heading"),
    [("{}/authorize?again", "Approve?"), ("javascript:alert(1)", "That is no web address")],
)
def test_a_tab_goes_on_if_it_has_to(
    panel: Kernel, where: Site, location: str, heading: str
) -> None:
    panel.state(waiting(url=_authorize(where)))
    tab = _returned(panel, where)
    _reply(panel, "again", location=location.format(where.url))

    expect(tab.get_by_role("heading")).to_have_text(heading)


def test_an_answer_that_nobody_takes_can_be_copied(page: Page, where: Site) -> None:
    """And if a notebook takes it after all, it goes on."""
    page.clock.install()
    query = f"code=a-code&state={STATE}&iss=https%3A%2F%2Fas.example#_=_"
    page.goto(f"{where.url}{CALLBACK}?{query}")
    expect(page.get_by_role("heading")).to_have_text("Handing over to your notebook…")
    box = page.get_by_label("The whole address")
    expect(box).to_be_hidden()
    page.clock.run_for(2600)

    expect(page.get_by_role("status")).to_contain_text("paste it into the panel (or run session.")
    expect(box).to_have_value(f"{where.url}{CALLBACK}?{query}")
    assert page.url == where.url + CALLBACK
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("() => navigator.clipboard.readText()").endswith(query)
    other = page.context.new_page()
    other.goto(f"{where.url}/authorize")
    _say(other, f"mcpnb-answer-{STATE}", {"kind": "ack"})
    expect(box).to_be_hidden()
    _say(other, f"mcpnb-answer-{STATE}", {"kind": "outcome", "outcome": "done"})
    expect(page.get_by_role("heading")).to_have_text("Signed in")


def test_an_answer_without_a_state_can_be_copied(page: Page, where: Site) -> None:
    """Some servers leave it out of their errors: nobody could be named to take it."""
    page.goto(f"{where.url}{CALLBACK}?error=server_error")

    expect(page.get_by_label("The whole address")).to_have_value(
        f"{where.url}{CALLBACK}?error=server_error"
    )


def test_of_two_states_the_last_is_the_sign_ins(panel: Kernel, where: Site) -> None:
    """An authorization endpoint may come with a query, and ours is put behind it."""
    panel.state(waiting(url=f"{where.url}/authorize?state=somebody-elses&state={STATE}"))
    stranger = {"kind": "answer", "text": "of another sign-in"}
    _say(panel.page, "mcpnb-answer-somebody-elses", stranger)
    tab = _returned(panel, where)

    assert [answer["text"] for answer in panel.got("answer")] == [
        f"{where.url}{CALLBACK}?code=a-code&state={STATE}"
    ]
    _reply(panel, "done")
    expect(tab.get_by_role("heading")).to_have_text("Signed in")


@pytest.mark.threat("channel-guessed")
def test_foreign_messages_do_nothing(panel: Kernel, where: Site) -> None:
    panel.state(waiting(url=_authorize(where)))
    foreign: list[object] = [
        None,
        3,
        "answer",
        [],
        {},
        {"kind": "answer"},
        {"kind": "answer", "text": 4},
    ]
    huge = {"kind": "answer", "text": "x" * 30_000}
    _say(panel.page, f"mcpnb-answer-{STATE}", *foreign, huge, {"kind": "answer", "text": "real"})

    assert [answer["text"] for answer in panel.got("answer")] == ["real"]


@pytest.mark.threat("channel-guessed")
def test_who_waits_for_nothing_takes_nothing(panel: Kernel, where: Site) -> None:
    """Nor does a panel that was removed."""
    panel.state(waiting(url=_authorize(where)))
    panel.does("remove()")
    page = panel.page.context.new_page()
    page.clock.install()
    page.goto(f"{where.url}{CALLBACK}?code=a-code&state={STATE}")
    page.clock.run_for(2600)

    expect(page.get_by_label("The whole address")).to_be_visible()
    assert panel.had("answer") == []


def test_opened_by_itself_it_says_what_it_is(page: Page, where: Site) -> None:
    page.goto(f"{where.url}{CALLBACK}")

    expect(page.get_by_role("heading")).to_have_text("A page for signing in")


@pytest.mark.threat("callback-page-framed")
def test_in_a_frame_it_does_nothing(page: Page, where: Site) -> None:
    page.goto(f"{where.url}/frame")
    frame = page.frame_locator("iframe")

    expect(frame.get_by_role("heading")).to_have_text("This page works in a tab of its own")
    assert page.frames[1].url.endswith("?state=x&code=y")
