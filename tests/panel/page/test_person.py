"""What a person does in the panel, by hand, by keyboard and by ear; the test plays the kernel."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.panel.page.acting import Kernel
from tests.panel.page.site import Site
from tests.panel.page.states import State, fresh, login, state, waiting

pytestmark = pytest.mark.browser

PASTE = (
    "After you approve, your browser may say this page can't be reached. That's expected. "
    "Copy the whole address from its address bar and paste it here."
)


# Signing in


def test_without_the_page_a_button_begins_and_a_link_follows(notebook: Kernel, where: Site) -> None:
    where.has_page = False
    notebook.show()
    notebook.got("hello")
    notebook.state(state())
    notebook.panel.get_by_label("Keep it in memory only").check()
    notebook.panel.get_by_role("button", name="Sign in").press("Enter")

    (act,) = notebook.got("sign_in")
    assert (act["memory_only"], act["via"], act["page"]["served"]) == (True, "auto", False)
    notebook.state(fresh("starting"))
    expect(notebook.panel.get_by_role("heading").first).to_be_focused()
    notebook.state(waiting(url=f"{where.url}/authorize?state=abc"))
    link = notebook.panel.get_by_role("link", name="Open the sign-in page (opens in a new tab)")
    expect(link).to_be_focused()
    with notebook.page.expect_popup() as popup:
        link.press("Enter")
    expect(popup.value.get_by_role("heading", name="Approve?")).to_be_visible()


def test_a_failure_can_be_tried_again(panel: Kernel) -> None:
    panel.state(fresh("failed, denied"))

    expect(panel.panel.get_by_role("link", name="Sign in again")).to_be_visible()


def test_who_sees_an_error_page_can_go_another_way(panel: Kernel) -> None:
    panel.state(waiting(offers_loopback=True))
    button = panel.panel.get_by_role("button", name="The server shows an error page?")
    assert button.evaluate("b => b.offsetWidth < b.parentElement.offsetWidth / 2")
    button.click()
    assert panel.got("another_way")[0]["via"] == "loopback"


# The paste box


def test_the_paste_box_is_emptied_as_it_is_read(panel: Kernel) -> None:
    panel.state(waiting("loopback"))
    field = panel.panel.get_by_label("The whole address")
    expect(panel.panel.get_by_text(PASTE)).to_be_visible()
    expect(field).to_have_attribute("type", "password")
    expect(field).to_have_attribute("autocomplete", "off")
    field.fill(" http://127.0.0.1:27182/callback?code=c&state=s ")
    field.press("Enter")

    expect(field).to_have_value("")
    (pasted,) = panel.got("paste")
    assert pasted["text"] == "http://127.0.0.1:27182/callback?code=c&state=s"
    answer = {"kind": "reply", "view": pasted["view"], "id": pasted["id"]}
    panel.says(**answer, outcome="refused", title="That was another sign-in.", text="Try again.")
    expect(panel.panel.get_by_role("alert")).to_have_text("That was another sign-in. Try again.")


def test_a_paste_may_have_to_go_on_elsewhere_on_the_web(panel: Kernel, where: Site) -> None:
    panel.state(waiting("loopback"))
    for number, (location, links) in enumerate([(f"{where.url}/authorize", 1), ("data:,x", 0)], 1):
        panel.panel.get_by_label("The whole address").fill("http://127.0.0.1/?code=c")
        panel.panel.get_by_role("button", name="Use it").click()
        pasted = panel.got("paste", number)[-1]
        about = {"kind": "reply", "view": pasted["view"], "id": pasted["id"], "outcome": "again"}
        panel.says(**about, title="Once more", text="", location=location)

        expect(panel.panel.get_by_role("alert")).to_have_text("Once more")
        expect(panel.panel.get_by_role("link", name="Continue")).to_have_count(links)


def test_the_relay_needs_the_paste_box_seldom(panel: Kernel) -> None:
    """It is folded there, and whoever opens it keeps it open."""
    panel.state(waiting("page"))
    field = panel.panel.get_by_label("The whole address")
    expect(field).to_be_hidden()
    panel.panel.get_by_text("Nothing came back?").click()
    panel.state(waiting("page"))
    expect(field).to_be_visible()


def test_what_is_being_typed_survives_a_new_state(panel: Kernel) -> None:
    panel.state(waiting("loopback"))
    field = panel.panel.get_by_label("The whole address")
    field.press_sequentially("http://127")
    panel.state(waiting("loopback", notes=["A wrong answer came in; the wait goes on."]))

    expect(field).to_be_focused()
    field.press_sequentially(".0.0.1")
    expect(field).to_have_value("http://127.0.0.1")


def test_keys_pressed_in_the_panel_are_no_shortcuts(panel: Kernel) -> None:
    panel.state(waiting("loopback"))
    panel.page.evaluate(
        "() => { window.keys = []; for (const type of ['keydown', 'keypress', 'keyup'])"
        " document.addEventListener(type, (event) => keys.push(event.key)); }"
    )
    panel.panel.get_by_label("The whole address").press_sequentially("dd")
    panel.panel.get_by_role("button", name="Cancel").press("x")

    assert panel.page.evaluate("() => keys") == []
    assert panel.panel.get_attribute("data-lm-suppress-shortcuts") == "true"


# Focus and what is heard


def test_focus_goes_to_the_headline_at_the_end_if_it_was_inside(panel: Kernel) -> None:
    panel.state(waiting())
    panel.panel.get_by_role("link", name="Open the sign-in page").focus()
    panel.state(login())

    expect(panel.panel.get_by_role("heading").first).to_be_focused()


def test_focus_outside_stays_where_it_is(panel: Kernel) -> None:
    panel.state(waiting())
    panel.page.evaluate("() => document.body.append(document.createElement('textarea'))")
    panel.page.locator("textarea").focus()
    panel.state(login())

    expect(panel.page.locator("textarea")).to_be_focused()


def test_the_status_changes_only_with_the_headline(panel: Kernel) -> None:
    panel.state(waiting())
    panel.page.evaluate(
        "() => { window.changes = 0; new MutationObserver(() => window.changes++).observe("
        "document.querySelector('[role=status]'),"
        " {subtree: true, childList: true, characterData: true, attributes: true}); }"
    )
    panel.state(waiting(notes=["Something else"], expires_at=None, detail="other words"))
    assert panel.page.evaluate("() => new Promise((go) => setTimeout(() => go(changes)))") == 0
    panel.state(login())

    panel.page.wait_for_function("() => changes > 0")


def test_it_can_be_read_without_being_seen(panel: Kernel) -> None:
    panel.state(fresh("signed out, all known"))

    expect(panel.panel).to_match_aria_snapshot("""
        - group "Sign-in to mcp.harbour.example":
          - status:
            - heading "Sign in to mcp.harbour.example" [level=3]
          - paragraph: mcpnb contacts no server before you click.
          - list:
            - listitem: This notebook
            - listitem: login.harbour.example asks you to approve
            - listitem: /mcp.harbour.example “Harbour”, says the server “harbour”/
          - heading "Permissions" [level=4]
          - paragraph: will be requested
          - list:
            - listitem:
              - code: berths:read
            - listitem:
              - code: berths:book
            - listitem:
              - code: offline_access
          - heading "Where the login is saved" [level=4]
          - paragraph: "It will be saved encrypted in ~/.local/share/mcpnb, key in: GNOME Keyring."
          - paragraph: Anyone who can run code in this kernel can act as this login.
          - 'checkbox "Keep it in memory only, until the kernel ends"'
          - link "Sign in (opens in a new tab)"
        """)


# Other devices, tools, accounts


def test_a_device_code_and_its_qr_code_are_there(panel: Kernel) -> None:
    panel.state(fresh("waiting, device"))

    expect(panel.panel.get_by_text("WDJB-MJHT", exact=True)).to_be_visible()
    panel.panel.get_by_text("Use another device").click()
    code = panel.panel.get_by_role("img", name="QR code of https://login.harbour.example/device")
    expect(code).to_be_visible()
    # The finder pattern's corner is four modules from the edge of the white.
    assert str(code.locator("path").get_attribute("d")).startswith("M4 4h7")
    assert str(code.get_attribute("viewBox")).startswith("0 0 ")


def test_tools_are_asked_for_when_they_are_looked_at(panel: Kernel) -> None:
    panel.state(waiting())
    panel.state(login())
    assert panel.had("tools") == []
    panel.panel.get_by_text("Tools", exact=True).click()

    assert len(panel.got("tools")) == 1
    panel.state(fresh("signed in, tools"))
    expect(panel.panel.get_by_role("listitem").filter(has_text="tide_table")).to_be_visible()
    assert len(panel.had("tools")) == 1


@pytest.mark.parametrize(
    ("name", "action"),
    [("Use another account", "another_account"), ("Add permissions", "add_permissions")],
)
def test_what_signs_in_once_more_is_a_link_too(panel: Kernel, name: str, action: str) -> None:
    panel.state(waiting())
    panel.state(login(missing=["berths:cancel"]))
    with panel.page.expect_popup():
        panel.panel.get_by_role("link", name=name).click()

    assert len(panel.got(action)) == 1


def test_nobody_keeps_what_was_said(panel: Kernel) -> None:
    """What is pasted is in no attribute, no storage and no text of the page."""
    panel.state(waiting("loopback"))
    panel.panel.get_by_label("The whole address").fill(
        "http://127.0.0.1/?code=splice-the-mainbrace"
    )
    panel.panel.get_by_role("button", name="Use it").click()
    panel.got("paste")

    kept: State = panel.page.evaluate(
        "() => ({html: document.documentElement.outerHTML, local: {...localStorage},"
        " session: {...sessionStorage}})"
    )
    assert "splice-the-mainbrace" not in json.dumps(kept)


def test_it_works_in_a_shadow_tree(notebook: Kernel) -> None:
    """As marimo shows it."""
    notebook.show(shadow=True)
    notebook.got("hello")
    notebook.state(waiting("loopback"))
    field = notebook.panel.get_by_label("The whole address")
    field.focus()
    notebook.state(login())

    expect(notebook.panel.get_by_role("heading").first).to_be_focused()
    assert notebook.panel.evaluate("(node) => getComputedStyle(node).borderRadius") == "12px"
