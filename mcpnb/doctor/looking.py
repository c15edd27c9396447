"""Discovery, watched: everything that it asks is kept, so that one defect does not hide the next.

Only GETs are sent, and the one POST without a token that discovery begins with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from mcpnb.errors import McpnbError, ServerError, ServerUnreachable
from mcpnb.oauth.challenge import Challenge, bearer_challenge
from mcpnb.oauth.client import discover, document_in
from mcpnb.oauth.http import Http, Response
from mcpnb.oauth.models import Discovery, ServerConfig
from mcpnb.storage import TokenStore

__all__ = ["Look", "Reading", "WatchedHttp"]


@dataclass(frozen=True)
class Reading:
    """What came of asking for one document."""

    url: str
    status: int | None = None
    document: dict[str, Any] | None = None
    error: ServerError | None = None

    @property
    def said(self) -> str:
        """In a few words."""
        if self.error is not None:
            return str(self.error)
        what = "a document" if self.document is not None else "no metadata"
        return what if self.status == 200 else f"HTTP {self.status}"


class WatchedHttp(Http):
    """Carries discovery's requests, each address once, and remembers the answers."""

    def __init__(self, server: str, *, allow_private: bool = False) -> None:
        """See `Http`."""
        super().__init__(server, allow_private=allow_private)
        self.probes: list[Response] = []
        self.refused: ServerError | None = None
        """Why the server itself gave no answer."""
        self.skews: dict[str, float] = {}
        """By host, how many seconds its clock is ahead of this machine's."""
        self._known: dict[str, Response | ServerError] = {}

    def get(self, url: str, *, headers: dict[str, str] | None = None) -> Response:
        """See `Http.get`. Asked for again, the same answer is given again."""
        if url not in self._known:
            try:
                self._known[url] = self._dated(super().get(url, headers=headers))
            except ServerError as error:
                self._known[url] = error
            except (ImportError, ValueError) as error:
                self._known[url] = _no_proxy(error)
        known = self._known[url]
        if isinstance(known, ServerError):
            raise known
        return known

    def probe(
        self, method: str, url: str, *, content: str = "", headers: dict[str, str]
    ) -> Response:
        """See `Http.probe`."""
        try:
            answer = self._dated(super().probe(method, url, content=content, headers=headers))
        except ServerError as error:
            self.refused = error
            raise
        except (ImportError, ValueError) as error:
            self.refused = _no_proxy(error)
            raise self.refused from error
        self.probes.append(answer)
        return answer

    def reading(self, url: str) -> Reading:
        """Ask for a document; nothing is raised."""
        status = None
        try:
            answer = self.get(url)
            status = answer.status
            return Reading(url, status, document_in(answer, url))
        except ServerError as error:
            return Reading(url, status, error=error)

    def _dated(self, answer: Response) -> Response:
        # What a cache kept says when it was made, and not what time it is (RFC 9111 section 5.1).
        said = "" if "age" in answer.headers else answer.headers.get("date", "")
        try:
            date = parsedate_to_datetime(said)
        except (ValueError, TypeError, IndexError, OverflowError):
            return answer
        ahead = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - time.time()
        self.skews.setdefault(urlsplit(answer.url).netloc, ahead)
        return answer


def _no_proxy(error: Exception) -> ServerUnreachable:
    """Explain what the HTTP library says of a proxy that it has no package for, or cannot read."""
    failure = ServerUnreachable("The proxy that is set for this address cannot be used.")
    failure.__cause__ = error
    return failure


class Look:
    """One server, as far as discovery came with it, and what else can be asked of it."""

    def __init__(self, config: ServerConfig, store: TokenStore, http: WatchedHttp) -> None:
        """Run discovery.

        Args:
            config: The server, by its canonical URL.
            store: Where its login rests; only read.
            http: Carries the requests.
        """
        self.config = config
        self.store = store
        self.http = http
        self.found: Discovery | None = None
        self.failure: McpnbError | None = None
        try:
            self.found = discover(config, http)
        except McpnbError as error:
            self.failure = error

    @property
    def server(self) -> str:
        """Its canonical URL."""
        return self.config.url

    @property
    def first(self) -> Response | None:
        """Its answer to a request without a token, if there was one."""
        return self.http.probes[-1] if self.http.probes else None

    @cached_property
    def challenge(self) -> Challenge | None:
        """How it asks for a token, if it does."""
        return bearer_challenge(self.first.challenges) if self.first else None

    @property
    def wants_sign_in(self) -> bool:
        """Whether it refuses who has no token."""
        return self.first is not None and self.first.status in (401, 403)
