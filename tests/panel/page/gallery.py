"""Pictures of the panel in every state, light and dark, wide and narrow.

python -m tests.panel.page.gallery FOLDER [PART OF A NAME]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page

from tests.panel.page.site import CALLBACK, Site
from tests.panel.page.states import STATES

WIDTHS = (720, 300)
THEMES = ("light", "dark")


@dataclass(frozen=True)
class Scene:
    """A state, and what a person or the kernel did besides."""

    state: str | None
    then: tuple[str, ...] = ()
    """`unfold`, `open`, `busy`, `dies`, `offline`."""
    theme: str = ""
    """Empty: JupyterLab's two; `system` for the page's own colours."""


SCENES: dict[str, Scene] = {
    **{name: Scene(name) for name in STATES},
    "signed in, unfolded": Scene("signed in", ("unfold",)),
    "signed in, tools, unfolded": Scene("signed in, tools", ("unfold", "open")),
    "signed in, tools failed, unfolded": Scene("signed in, tools failed", ("unfold", "open")),
    "signed in, more needed, unfolded": Scene("signed in, more needed", ("unfold",)),
    "signed in, memory only, unfolded": Scene("signed in, memory only", ("unfold",)),
    "waiting, another device": Scene("waiting, relay", ("open",)),
    "waiting, device, opened": Scene("waiting, device", ("open",)),
    "kernel busy": Scene("signed out", ("busy",)),
    "kernel gone": Scene("waiting, relay", ("dies",)),
    "kernel gone, signed in": Scene("signed in", ("unfold", "dies")),
    "reopened without a kernel": Scene(None, ("dies",)),
    "offline": Scene("signed out", ("offline",)),
    "system colours": Scene("waiting, relay", (), "system"),
}


def paint(page: Page, where: Site, folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Take the pictures of these scenes, and tell where each is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, width, theme in product(names, WIDTHS, THEMES):
        scene = SCENES[name]
        page.set_viewport_size({"width": width + 32, "height": 120})
        # Without motion two runs give the same pictures.
        scheme: Literal["dark", "light"] = "dark" if theme == "dark" else "light"
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto(f"{where.url}/notebook?theme={scene.theme or theme}")
        play(page, scene)
        picture = folder / f"{_slug(name)}.{width}.{theme}.png"
        page.screenshot(path=picture, full_page=True)
        yield picture
        # Nobody is left who would look whether the callback page is back.
        page.goto("about:blank")
        page.context.set_offline(offline=False)


def play(page: Page, scene: Scene) -> None:
    """Bring a fresh page of `Site` into a scene."""
    page.wait_for_selector("body[data-ready]", state="attached")
    page.evaluate("() => kernel.show()")
    page.wait_for_function("() => kernel.acts('hello').length")
    if scene.state is not None:
        page.evaluate("(state) => kernel.state(state)", STATES[scene.state])
        page.wait_for_selector(".mcpnb-panel .headline")
    for step in scene.then:
        _STEPS[step](page)


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _open(page: Page) -> None:
    page.locator("summary:visible").last.click()


def _busy(page: Page) -> None:
    page.evaluate("() => { kernel.busy = true; }")
    page.evaluate("() => dispatchEvent(new Event('online'))")
    page.wait_for_selector(".trouble:visible")


_STEPS: dict[str, Callable[[Page], object]] = {
    "unfold": lambda page: page.locator(".fold").click(),
    "open": _open,
    "busy": _busy,
    "dies": lambda page: page.evaluate("() => kernel.dies()"),
    "offline": lambda page: page.context.set_offline(offline=True),
}


def callback_pictures(page: Page, where: Site, folder: Path) -> Iterator[Path]:
    """Take the pictures of the callback page."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "going": ("#go=0123456789abcdef0123", None),
        "going, ended": (
            "#go=0123456789abcdef0123",
            '{"kind": "end", "title": "Not signed in", "text": "The sign-in was cancelled."}',
        ),
        "nothing to do": ("", None),
        "nobody answered": (
            "?code=splice-9f31&state=Zr3kQ0v1aXw&iss=https%3A%2F%2Fa.example",
            None,
        ),
        "done": ("?code=a&state=Zr3kQ0v1aXw", '{"kind": "outcome", "outcome": "done"}'),
    }
    for (name, (rest, message)), theme in product(told.items(), THEMES):
        page.set_viewport_size({"width": 720, "height": 520})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.goto("about:blank")
        page.goto(f"{where.url}{CALLBACK}{rest}")
        if message is not None:
            other = page.context.new_page()
            other.goto(f"{where.url}/authorize")
            channel = (
                "mcpnb-go-0123456789abcdef0123" if "go" in rest else "mcpnb-answer-Zr3kQ0v1aXw"
            )
            other.evaluate(f"() => new BroadcastChannel('{channel}').postMessage({message})")
            page.wait_for_selector("main:not([data-tone=busy])")
            other.close()
        if name == "nobody answered":
            page.wait_for_selector("textarea:visible")
        picture = folder / f"callback-{_slug(name)}.{theme}.png"
        page.screenshot(path=picture)
        yield picture
