"""Receives a callback on the machine with the browser, for a sign-in on another machine.

Only the answer passes through, code and ``state``. The verifier, without which nobody can use the
code (RFC 7636), never leaves the machine that began the sign-in.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from mcpnb.errors import AnswerRefused, ConfigError, LoginError, LoginTimeout
from mcpnb.login.loopback import LoopbackListener, Reply
from mcpnb.oauth.models import Secret
from mcpnb.oauth.urls import is_loopback_host, origin_of
from mcpnb.text import quote

_MAX_TEXT, _MAX_FIELDS = 16_384, 64
"""The other machine does not accept larger responses, either."""
_NAMED = ("response_type", "state", "redirect_uri")
# RFC 8252 section 7.3 also knows [::1]; the listener is there for “localhost” only.
_LISTENED_AT = ("127.0.0.1", "localhost")
_NEXT = (
    "Go back to the terminal here, copy the line that it shows, and paste it into the prompt of "
    "the other machine. You can close this tab."
)


@dataclass(frozen=True, slots=True)
class CapturedResponse:
    """The authorization response to a sign-in that waits on another machine."""

    line: Secret
    """The whole address that the browser was sent to. The person pastes it."""
    error: str | None
    """The error code, if the authorization server refused."""


class Relay:
    """Listens on exactly the loopback port that an authorization URL names, from `__enter__` on."""

    def __init__(self, url: str, ignored: Callable[[str], object]) -> None:
        """Check the address. Nobody is contacted, and nothing listens yet.

        Args:
            url: The authorization URL, as the other machine printed it.
            ignored: Called with the reason why a response was ignored, in a connection's thread.

        Raises:
            ConfigError: This is not an authorization URL, or there is nothing to relay.
        """
        self.url = url.strip()
        self._ignored = ignored
        asked = _authorization(self.url)
        self.host = urlsplit(self.url).netloc
        """The host that the address leads to."""
        self.redirect_uri = asked["redirect_uri"]
        """Where the response comes back to."""
        self._state = Secret(asked["state"])
        self._port = _loopback_port(self.redirect_uri)
        self._listener: LoopbackListener | None = None
        self._came = threading.Event()
        self._caught: CapturedResponse | None = None

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            LoginError: The port is in use. No other one helps: the response comes to this one.
        """
        parts = urlsplit(self.redirect_uri)
        try:
            self._listener = LoopbackListener(self._port, fallback=False, host=parts.hostname)
        except LoginError:
            raise LoginError(
                f"Port {self._port} of this machine cannot be listened on, and the answer comes to "
                "no other. Close what uses it and run this again, or begin the sign-in again with "
                "another port (mcpnb login SERVER --port N). If an ssh -L to where the sign-in "
                "waits uses it, no relay is needed: open the address in your browser."
            ) from None
        # A browser asks for "/" where an address has no path.
        self._listener.listen(parts._replace(path=parts.path or "/").geturl(), self._deliver)
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()

    def to_open(self) -> str:
        """Return an address for a browser's command line, which every user here can read."""
        # threat: authorization-url-in-a-process-list
        return self._listener.lead(self.url) if self._listener is not None else self.url

    def wait(self, timeout: float) -> CapturedResponse:
        """Wait for the response.

        Raises:
            LoginTimeout: None came in time.
        """
        deadline = time.monotonic() + timeout
        while self._caught is None and (left := deadline - time.monotonic()) > 0:
            self._came.wait(min(left, 0.5))  # in slices: on Windows no Ctrl-C interrupts one
        if self._caught is None:
            raise LoginTimeout(
                f"The browser brought no response within {timeout:g} s. Run this again, or begin "
                "the sign-in again where it no longer waits."
            )
        return self._caught

    def _deliver(self, answered: str) -> Reply:
        try:
            caught = self._checked(answered)
        except AnswerRefused as error:
            self._ignored(str(error))
            return Reply("refused", str(error))
        self._caught = self._caught or caught
        self._came.set()
        if caught.error:
            return Reply("failed", f"The sign-in was not approved. {_NEXT}")
        text = f"You are not signed in yet. {_NEXT}"
        return Reply("done", text, title="The answer was caught")

    def _checked(self, answered: str) -> CapturedResponse:
        """Check what can be checked here. The other machine checks the rest, such as ``iss``."""
        query = answered.partition("?")[2]
        line = f"{self.redirect_uri.partition('?')[0]}?{query}"
        try:
            params = _single(query, ("state", "code", "error"))
        except ValueError:
            params = {}
        # The terminal will show it. Browsers encode everything else.
        if not (params and line.isascii() and line.isprintable()):
            raise AnswerRefused("It is not the address of an answer.")
        given = params.get("state", "").encode()
        # threat: relayed-answer-of-another
        if not hmac.compare_digest(given, self._state.reveal().encode()):
            raise AnswerRefused("It belongs to another sign-in (its “state” is another one).")
        if not params.get("code") and not params.get("error"):
            raise AnswerRefused("It holds no code.")
        return CapturedResponse(Secret(line), params.get("error") or None)


def _single(query: str, names: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters with these names, each at most once (RFC 6749 section 3.1)."""
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    params = {name: value for name, value in pairs if name in names}
    if len(query) > _MAX_TEXT or len(params) != sum(name in names for name, _ in pairs):
        raise ValueError("too long, or a parameter stands there twice")
    return params


def _authorization(url: str) -> dict[str, str]:
    """Read an authorization URL. Errors do not repeat its text, because it holds ``state``."""
    if not url:
        raise ConfigError("No address was given. Give the one that the other machine printed.")
    try:
        scheme, host, _ = origin_of(url)
        parts = urlsplit(url)
        params = _single(parts.query, (*_NAMED, "code", "error"))
    except ValueError:
        raise ConfigError(
            "That is not a readable address. Copy the one that the other machine printed, whole "
            "and in one piece: with no space or line break in it."
        ) from None
    if scheme not in {"https", "http"} or not host or parts.username or parts.password:
        raise ConfigError(
            "That is no address to sign in at: give the one that the other machine printed."
        )
    if scheme == "http" and not is_loopback_host(host):
        raise ConfigError(
            f"The address leads to {quote(host)} by plain http: what you enter there could be "
            "read on the way. It has to be https (OAuth 2.1 section 1.5)."
        )
    if (problem := _incomplete(params)) is not None:
        raise ConfigError(problem)
    return params


def _incomplete(params: dict[str, str]) -> str | None:
    """Return why these are not the parameters of an authorization request, if they are not."""
    if "response_type" not in params and ("code" in params or "error" in params):
        return (
            "That is the answer already: paste it where the sign-in waits. What is relayed is the "
            "address where a sign-in begins."
        )
    missing = [name for name in _NAMED if not params.get(name)]
    if missing == list(_NAMED):
        return (
            "That is not the address of a sign-in that has begun. Begin it on the other machine "
            "(mcpnb login SERVER --no-browser), and give the long address that is printed there."
        )
    if missing:
        return (
            f"The address is not whole: {', '.join(missing)} missing. A shell ends it at the first "
            "“&”: put it in quotes, or run mcpnb relay - and paste it then."
        )
    if params["response_type"] != "code":
        return (
            f"The address asks for {quote(params['response_type'], 40)}. Only a code can be "
            "relayed (response_type=code)."
        )
    return None


def _loopback_port(redirect_uri: str) -> int:
    try:
        scheme, host, port = origin_of(redirect_uri)
        parts = urlsplit(redirect_uri)
    except ValueError:
        raise ConfigError(
            "No answer can come to the redirect_uri of that address. Begin the sign-in again."
        ) from None
    if not is_loopback_host(host):
        raise ConfigError(
            f"The answer to this sign-in goes to {quote(host or redirect_uri, 80)}, not to this "
            "machine: nothing needs to be relayed. Open the address in your browser."
        )
    plain = parts.port != 0 and redirect_uri.isascii() and not (parts.username or parts.fragment)
    if scheme != "http" or host not in _LISTENED_AT or not plain:
        raise ConfigError(
            f"The answer to this sign-in goes to {quote(redirect_uri, 80)}; relay listens at "
            "http://127.0.0.1:PORT only. Open the address in your browser, copy the one that it "
            "ends at from its address bar, and paste that where the sign-in waits."
        )
    return port
