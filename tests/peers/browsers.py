"""Debian's Chromium, driven by Playwright: a person's browser with its pop-up blocker on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Playwright,
    Request,
    WebError,
    expect,
    sync_playwright,
)

MOST_MS = 40_000
"""No step of a browser test takes as long, on two busy cores, unless something is stuck."""
expect.set_options(timeout=MOST_MS)
SIZE = (1200, 900)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # The browser's half of conftest.py's rule: a page that wants something from the network goes
    # without. Names under `localhost` are loopback for Chromium itself.
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
# Playwright turns the blocker off, and then any script could open the tab that people don't get.
UNWANTED_FLAGS = ("--disable-popup-blocking",)


def missing(what: str, command: str) -> NoReturn:
    """Skip what cannot run here; in CI, where everything was to be installed, fail."""
    text = f"{what} is not installed here: {command}"
    if os.environ.get("MCPNB_CI"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


class Window(list[str]):
    """A person's browser window: the lines that its pages wrote to their consoles."""

    def __init__(self, context: BrowserContext) -> None:
        super().__init__()
        self.context = context
        context.set_default_timeout(MOST_MS)
        context.on("console", self._wrote)
        context.on("weberror", self._broke)
        context.on("requestfailed", self._failed)

    def _wrote(self, message: ConsoleMessage) -> None:
        self.append(f"{message.type}: {message.text}")

    def _broke(self, error: WebError) -> None:
        self.append(f"uncaught: {error.error}")

    def _failed(self, request: Request) -> None:
        self.append(f"failed: {request.method} {request.url}: {request.failure}")

    def keep(self, folder: Path) -> Iterator[str]:
        """Save what every open page looks like, and what they all wrote; tell where."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, page in enumerate(self.context.pages, 1):
            picture = folder / f"page{number}.png"
            with contextlib.suppress(Error):
                page.screenshot(path=picture, timeout=5000)
                yield f"{picture}: {page.url}"
        console = folder / "console.txt"
        console.write_text("".join(f"{line}\n" for line in self), "utf-8")
        yield f"{console}: {len(self)} lines"


class Chromium:
    """One browser for all tests; each gets windows of its own.

    Playwright's synchronous interface leaves its event loop marked as running in this thread, so
    that nobody's `asyncio.run` works any more (measured: RuntimeError). The mark is therefore only
    there while somebody drives: inside `driving`, and not inside `resting`.
    """

    def __init__(self, playwright: Playwright, path: str) -> None:
        self._loop = asyncio.get_running_loop()
        self.browser: Browser = playwright.chromium.launch(
            executable_path=path, args=list(FLAGS), ignore_default_args=list(UNWANTED_FLAGS)
        )

    @contextlib.contextmanager
    def driving(self) -> Iterator[None]:
        """Have the browser do something."""
        with self._marked(self._loop):
            yield

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Let somebody else have an event loop in this thread."""
        with self._marked(None):
            yield

    @staticmethod
    @contextlib.contextmanager
    def _marked(loop: asyncio.AbstractEventLoop | None) -> Iterator[None]:
        before = asyncio._get_running_loop()  # noqa: SLF001
        asyncio._set_running_loop(loop)  # noqa: SLF001
        try:
            yield
        finally:
            asyncio._set_running_loop(before)  # noqa: SLF001


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser, without a window."""
    path = shutil.which("chromium") or missing("Chromium", "sudo apt-get install chromium")
    with contextlib.ExitStack() as stack:
        opened = Chromium(stack.enter_context(sync_playwright()), path)
        stack.callback(opened.browser.close)
        with opened.resting():
            yield opened


@pytest.fixture
def window(chromium: Chromium, request: pytest.FixtureRequest) -> Iterator[Window]:
    """A window that knows nobody: no cookies, nothing cached."""
    with chromium.driving():
        context = chromium.browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
        opened = Window(context)
        request.node.stash[_WINDOW] = opened
        try:
            yield opened
        finally:
            context.close()


@pytest.fixture
def context(window: Window) -> BrowserContext:
    """The same, in Playwright's words."""
    return window.context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty tab."""
    return context.new_page()


_WINDOW = pytest.StashKey[Window]()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist writes the groups down
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs a browser one after another: a person has one desk, and one screen."""
    for item in items:
        if item.get_closest_marker("browser") is not None:
            item.add_marker(pytest.mark.xdist_group("desk"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep what a failed test's window shows, while it is still there."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    opened = item.stash.get(_WINDOW, None)
    if opened is not None and call.when != "teardown" and report.failed:
        # pytest removes the folders of tests after three more runs.
        place = item.config.rootpath / ".pytest_cache" / "windows"
        folder = place / re.sub(r"\W+", "-", item.nodeid.partition("::")[2])
        shutil.rmtree(folder, ignore_errors=True)
        kept = [*opened.keep(folder), *_logs(item, folder)]
        report.sections.append(("The browser's window", "\n".join(kept)))
    return report  # type: ignore[return-value]


def _logs(item: pytest.Item, folder: Path) -> Iterator[str]:
    """Save what the servers said that a test used."""
    logs = {getattr(value, "log", None) for value in getattr(item, "funcargs", {}).values()}
    for log in logs:
        if isinstance(log, Path):
            yield str(shutil.copyfile(log, folder / f"{log.parent.name}.log"))
