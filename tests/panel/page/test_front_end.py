"""What the panel shows of its session and its kernel; the test plays the kernel."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.panel.page.acting import Kernel, opened
from tests.panel.page.site import CALLBACK, Site
from tests.panel.page.states import STATES, fresh, login, state, waiting

pytestmark = pytest.mark.browser

BUSY = "The kernel is busy. This continues by itself when the running cell ends."
GONE = "The kernel was restarted or has ended. Run the cell again."


# Saying hello


def test_hello_tells_where_the_callback_page_is(panel: Kernel, where: Site) -> None:
    (hello,) = panel.got("hello")

    assert hello["page"] == {
        "origin": where.url,
        "callback": where.url + CALLBACK,
        "served": True,
        "secure": True,
        "top": True,
    }
    assert hello["id"] == 1
    assert len(hello["view"]) >= 32


def test_a_page_that_is_not_there_is_not_served(notebook: Kernel, where: Site) -> None:
    where.has_page = False
    notebook.show()

    assert notebook.got("hello")[0]["page"]["served"] is False


def test_elsewhere_than_in_jupyter_there_is_no_page(where: Site, page: Page) -> None:
    kernel = opened(page, where, "foreign")
    kernel.show()

    about = kernel.got("hello")[0]["page"]
    assert (about["callback"], about["served"]) == (None, False)


def test_a_page_that_was_put_there_is_used_without_a_reload(notebook: Kernel, where: Site) -> None:
    where.has_page = False
    notebook.show()
    notebook.got("hello")
    lacking = {"page_missing": True, "text": "Jupyter lacks a page."}
    notebook.state(state(jupyter=lacking))
    notebook.panel.get_by_role("button", name="Install the page").click()
    notebook.got("install")
    where.has_page = True

    notebook.state(state())

    assert notebook.got("hello", 2)[1]["page"]["served"] is True
    expect(notebook.panel.get_by_role("link", name="Sign in")).to_be_visible()


def test_a_view_that_is_asked_answers(panel: Kernel) -> None:
    panel.says(kind="ping")

    assert panel.got("pong")[0]["view"] == panel.had("hello")[0]["view"]


# States


def test_an_older_state_is_ignored(panel: Kernel) -> None:
    old = state(headline="Old")
    panel.state(state(headline="New"))
    panel.state(old)

    expect(panel.status).to_have_text("New")


def test_malformed_messages_are_ignored(panel: Kernel) -> None:
    bad: list[object] = [None, 7, "state", [], {}, {"kind": "state"}, {"kind": "state", "state": 3}]
    for message in bad:
        panel.page.evaluate("(message) => kernel.says(message)", message)
    panel.says(kind="reply", view="somebody else", id=1, outcome="done")
    panel.state(state())

    expect(panel.status).to_have_text("Sign in to mcp.harbour.example")


def test_two_views_agree(panel: Kernel) -> None:
    panel.show()
    assert len({hello["view"] for hello in panel.got("hello", 2)}) == 2
    panel.state(waiting())

    expect(panel.status).to_have_text(["Waiting for you to approve"] * 2)


def test_who_is_signed_in_already_sees_one_line_that_unfolds(panel: Kernel) -> None:
    panel.state(fresh("signed in"))

    expect(panel.status).to_have_text("Signed in to mcp.harbour.example")
    details = panel.panel.get_by_role("button", name="Details")
    expect(details).to_have_attribute("aria-expanded", "false")
    expect(panel.panel.get_by_role("button", name="Sign out")).to_be_hidden()
    details.press("Enter")
    panel.panel.get_by_role("button", name="Sign out").click()
    panel.got("sign_out")


def test_what_went_wrong_later_is_not_folded_away(panel: Kernel) -> None:
    panel.state(login(error={"text": "Denied.", "next": "The earlier login is still good."}))

    expect(panel.panel.get_by_text("The earlier login is still good.")).to_be_visible()


def test_who_signs_in_now_sees_the_whole(panel: Kernel) -> None:
    panel.state(waiting())
    panel.state(login())

    expect(panel.panel.get_by_role("button", name="Sign out")).to_be_visible()


def _poisoned(value: Any, markup: str) -> Any:
    if isinstance(value, dict):
        return {
            name: part if name in _NO_TEXT else _poisoned(part, markup)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_poisoned(part, markup) for part in value]
    return markup if isinstance(value, str) else value


_NO_TEXT = {"phase", "way", "via", "qr", "tools_state"}


@pytest.mark.threat("panel-markup")
@pytest.mark.parametrize(
    "markup",
    ["<img src=/stolen onerror=alert(1)>\"'><script>alert(1)</script>", "javascript:alert(1)"],
    ids=["markup", "address"],
)
def test_every_text_stays_a_text(panel: Kernel, where: Site, markup: str) -> None:
    """In every state. Addresses become links only if they are of the web."""
    for name, known in STATES.items():
        panel.state(_poisoned(known, markup) | {"serial": state()["serial"]})
        assert panel.status.first.inner_text() == markup, name
        assert panel.panel.locator("img, script, a[href^=javascript]").count() == 0, name
    assert "/stolen" not in where.asked


def test_nothing_but_the_callback_page_is_asked_for(panel: Kernel, where: Site) -> None:
    for known in STATES.values():
        panel.state(known | {"serial": state()["serial"]})

    ours = {"/notebook", "/notebook.js", "/panel.js", "/panel.css", CALLBACK}
    assert set(where.asked) == ours


# The kernel's troubles


def test_a_busy_kernel_is_told_and_forgotten_when_it_hears(panel: Kernel) -> None:
    panel.state(waiting())
    panel.does("busy = true")
    panel.panel.get_by_role("button", name="Cancel").click()

    expect(panel.panel.get_by_text(BUSY)).to_be_visible()
    panel.does("idle()")
    expect(panel.panel.get_by_text(BUSY)).to_be_hidden()


def test_who_is_asked_and_got_no_answer_to_its_hello_says_it_again(notebook: Kernel) -> None:
    """The first may wait behind the running cell, and this one comes past it."""
    notebook.does("busy = true")
    notebook.show()
    (first,) = notebook.got("hello")
    expect(notebook.panel.get_by_text(BUSY)).to_have_count(1)
    notebook.does("busy = false")
    notebook.says(kind="ping")

    _, again = notebook.got("hello", 2)
    assert again == first | {"id": again["id"]}
    notebook.state(waiting())
    expect(notebook.panel.get_by_text(BUSY)).to_be_hidden()
    notebook.says(kind="ping")
    assert notebook.got("pong")
    assert len(notebook.had("hello")) == 2


def test_nobody_says_hello_before_it_knows_where_it_is(notebook: Kernel) -> None:
    """Or the kernel would take its page for one that can hand over no answer."""
    notebook.does("busy = true")
    held: list[Route] = []
    notebook.page.route(f"**{CALLBACK}", lambda route: held.append(route))  # noqa: PLW0108  Playwright marks it
    notebook.page.evaluate("() => { kernel.show(); }")
    notebook.page.wait_for_selector(".mcpnb-panel", state="attached")
    for _ in range(3):
        notebook.says(kind="ping")
    assert len(notebook.got("pong", 3)) == 3
    assert notebook.had("hello") == []
    for route in held:
        route.continue_()
    assert notebook.got("hello")[0]["page"]["served"] is True


def test_a_kernel_that_is_silent_for_long_may_be_gone(notebook: Kernel) -> None:
    """JupyterLab tells whether it is: an idle kernel that does not hear has no panel any more."""
    notebook.page.clock.install()
    notebook.show()
    notebook.got("hello")
    notebook.state(waiting())
    notebook.does("busy = true")
    notebook.panel.get_by_role("button", name="Cancel").click()

    notebook.page.clock.run_for(11_000)
    expect(notebook.panel.get_by_text("has not answered for a while")).to_be_visible()
    notebook.does("model.widget_manager.kernel = {status: 'busy'}")
    notebook.state(waiting())
    expect(notebook.panel.get_by_text(BUSY)).to_be_visible()
    notebook.does("model.widget_manager.kernel = {status: 'idle'}")
    notebook.state(waiting())
    expect(notebook.panel.get_by_text(GONE)).to_be_visible()


def test_a_restarted_kernel_takes_the_controls_along(panel: Kernel) -> None:
    panel.state(waiting())
    panel.does("dies()")

    expect(panel.status).to_have_text(GONE)
    expect(panel.panel.locator("a, button, input").locator("visible=true")).to_have_count(0)


def test_a_notebook_that_was_reopened_without_a_kernel_says_so(notebook: Kernel) -> None:
    notebook.show(disconnected=True)

    expect(notebook.status).to_have_text(GONE)
    assert notebook.had("hello") == []


def test_a_line_that_is_back_says_hello(panel: Kernel) -> None:
    panel.state(state())
    panel.does("dies()")
    panel.does("dies(true)")

    panel.got("hello", 2)
    expect(panel.status).to_have_text("Sign in to mcp.harbour.example")


def test_offline_is_told(panel: Kernel) -> None:
    panel.state(state())
    panel.page.context.set_offline(offline=True)

    expect(panel.panel.get_by_text("This browser is offline")).to_be_visible()
    panel.page.context.set_offline(offline=False)
    expect(panel.panel.get_by_text("This browser is offline")).to_be_hidden()
    panel.got("hello", 2)


@pytest.mark.parametrize("here", ["127.0.0.1:8080", "localhost", "[::1]:9000"])
def test_offline_does_not_matter_where_nothing_is_elsewhere(panel: Kernel, here: str) -> None:
    """A laptop in a train with its own servers; and what is there already is not waited for."""
    panel.page.context.set_offline(offline=True)
    offline = panel.panel.get_by_text("This browser is offline")
    panel.state(state())
    expect(offline).to_be_visible()
    panel.state(fresh("signed in"))
    expect(offline).to_be_hidden()
    panel.state(waiting(authorization_server={"issuer": f"http://{here}", "host": here}))
    expect(panel.status).to_have_text("Waiting for you to approve")
    expect(offline).to_be_hidden()
    panel.state(waiting())
    expect(offline).to_be_visible()


def test_a_view_that_is_removed_says_bye_and_leaves_nothing(panel: Kernel) -> None:
    panel.state(waiting())
    panel.does("remove()")

    panel.got("bye")
    assert panel.page.evaluate("() => kernel.model.listeners") == 0
    expect(panel.panel).to_have_count(0)
