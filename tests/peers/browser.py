"""A browser just good enough for sign-in pages: cookies, redirects, forms. It runs no script."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import urljoin

import httpx2

import mcpnb
from tests.fakes.people import query_of

MOST_STEPS = 25


@dataclass
class Form:
    """One form of a page: where it goes, and its fields as they stand."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    to_fill: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self._href: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag == "input" and self.forms and given.get("name"):
            form = self.forms[-1]
            form.fields[given["name"]] = given.get("value", "")
            if given.get("type", "text") in {"text", "email", "password"}:
                form.to_fill.append(given["name"])
        elif tag == "a":
            self._href = given.get("href")

    def handle_data(self, data: str) -> None:
        if self._href is not None:
            self.links.append((data.strip(), self._href))
            self._href = None


@dataclass(frozen=True)
class Page:
    """Where the browser ended up: a page, or an address it was told not to open."""

    url: str
    status: int = 0
    text: str = ""
    headers: httpx2.Headers = field(default_factory=httpx2.Headers)


class Browser:
    """Opens a sign-in URL, logs in as anybody, agrees to everything (or cancels)."""

    def __init__(self, person: str = "ada") -> None:
        self.person = person
        self.visited: list[str] = []
        self._client = httpx2.Client(trust_env=False, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def open(self, url: str, *, stop_at: str | None = None, cancel: bool = False) -> Page:
        """Go from `url` to the first page without a form, or to the first URL under `stop_at`."""
        request, cancelled = self._client.build_request("GET", url), False
        for _ in range(MOST_STEPS):
            here = str(request.url)
            if stop_at is not None and here.startswith(stop_at):
                return Page(here)
            self.visited.append(here)
            answer = self._client.send(request)
            if answer.is_redirect:
                target = urljoin(here, answer.headers["location"])
                # The raw target: a URL class would normalise what a server wrote (RFC 9207 `iss`).
                if stop_at is not None and target.startswith(stop_at):
                    return Page(target)
                request = self._client.build_request("GET", target)
                continue
            page = Page(here, answer.status_code, answer.text, answer.headers)
            following = self._following(page, cancel=cancel)
            if following is None or cancelled:
                return page
            cancelled = cancel and following.method == "GET"
            request = following
        raise AssertionError(f"still not there after {MOST_STEPS} steps: {self.visited}")

    def answer(self, url: str, *, callback: str, cancel: bool = False) -> str:
        """Sign in at `url` and give the redirect to `callback` that a person could paste."""
        page = self.open(url, stop_at=callback, cancel=cancel)
        assert page.url.startswith(callback), f"ended at {page.url} ({page.status}): {page.text}"
        return page.url

    def _following(self, page: Page, *, cancel: bool) -> httpx2.Request | None:
        reader = _Reader()
        reader.feed(page.text)
        if cancel:
            for text, href in reader.links:
                if "cancel" in text.lower():
                    return self._client.build_request("GET", urljoin(page.url, href))
        if not reader.forms:
            return None
        form = reader.forms[0]
        values = form.fields | dict.fromkeys(form.to_fill, self.person)
        url = urljoin(page.url, form.action)
        if form.method == "post":
            return self._client.build_request("POST", url, data=values)
        return self._client.build_request("GET", url, params=values)


def sign_in(browser: Browser, session: mcpnb.Session, *, scopes: Any = None) -> str:
    """Sign in by pasting the address that the browser ended at; give the authorization URL."""
    login = session.login(scopes=scopes)
    try:
        login.wait_for("waiting", timeout=10)
        url = login.url
        assert url is not None
        callback = query_of(url)["redirect_uri"][0]
        login.submit(browser.answer(url, callback=callback))
        login.wait(timeout=10)
    finally:
        login.cancel()
    return url


def refused_now(server: str, token: str) -> bool:
    """Say whether the MCP server itself refuses a token by now; no event stream is waited for."""
    method = "GET" if server.endswith("/sse") else "POST"
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx2.Client(trust_env=False, timeout=10) as client,
        client.stream(method, server, headers=headers) as answer,
    ):
        return answer.status_code == 401
