"""Take an authorization response: check it, claim it, exchange its code, store the login."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from mcpnb.errors import (
    AnswerRefused,
    GrantError,
    LoginCancelled,
    LoginDenied,
    LoginError,
    McpnbError,
    ProtocolError,
    StoreError,
    detached,
)
from mcpnb.login.loopback import Reply
from mcpnb.login.pending import PendingLogin, PendingRequest
from mcpnb.login.progress import Progress
from mcpnb.login.request import Deps
from mcpnb.oauth import client
from mcpnb.oauth.authorization import AuthorizationRequest, ValidatedResponse, validate_response
from mcpnb.oauth.credentials import Tokens

_MOST_IGNORED = 8
"""Reasons that are shown; they may quote the response."""


class Completion:
    """The last step of a sign-in: the tokens become the stored login."""

    def __init__(self, deps: Deps, progress: Progress) -> None:
        self._deps = deps
        self._progress = progress
        self._lock = threading.Lock()

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """Send a token request within: the connections stay open as long."""
        with self._lock:
            yield

    def close(self) -> None:
        """Close the connections, once a token request under way has ended."""
        with self._lock:
            self._deps.http.close()

    def store(self, request: PendingRequest, tokens: Tokens) -> None:
        """Store the login, unless nobody wants it any more: then revoke it.

        Raises:
            LoginCancelled: It was cancelled, or somebody signed out, during the exchange.
            StoreError: It could not be stored. It is revoked.
        """
        deps = self._deps
        record = client.login_record(request, tokens, deps.config)

        def wanted() -> bool:
            # threat: login-after-a-sign-out
            return not self._progress.over and deps.pending.is_claimed(request)

        try:
            # Asked under the lock of the record: a sign-out ends what is pending first.
            stored = deps.tokens.store_login(record, wanted)
        except StoreError:
            client.revoke(record, deps.http)  # nobody would have it, and the server would keep it
            raise
        if not stored:
            client.revoke(record, deps.http)
            raise self._cancelled()
        deps.clients.confirm(record.registration)
        deps.pending.drop(request)
        if not self._progress.finish("signed_in", None):  # cancelled at this very moment
            deps.tokens.forget()
            raise self._cancelled()

    def _cancelled(self) -> McpnbError:
        return self._progress.error or LoginCancelled("The sign-in was cancelled.")


class AnswerInbox:
    """Where authorization responses arrive: through the loopback listener, a panel, or pasted."""

    def __init__(self, deps: Deps, progress: Progress, completion: Completion) -> None:
        self._deps = deps
        self._progress = progress
        self._completion = completion
        self._heard = False
        self._ignored: set[str] = set()
        self._delivered: dict[bytes, Future[Reply]] = {}

    @property
    def heard(self) -> bool:
        """Whether the authorization server has responded, with a code or an error."""
        return self._heard

    def deliver(self, text: str) -> Reply:
        """Take a response, and return what became of it. Raises nothing.

        Args:
            text: The full address that the browser was sent to.
        """
        # Two views of a notebook deliver the same response, and each wants to know what became
        # of it.
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        outcome: Future[Reply] = Future()
        known = self._delivered.setdefault(digest, outcome)
        if known is not outcome:
            return known.result()
        try:
            outcome.set_result(self._reply(text))
        except BaseException as error:
            outcome.set_exception(error)
            raise
        if outcome.result().outcome == "refused":  # it may be awaited later
            del self._delivered[digest]
        return outcome.result()

    def _reply(self, text: str) -> Reply:
        try:
            location = self.receive(text)
        except AnswerRefused as error:
            self._note_ignored(str(error))
            return Reply("refused", str(error))
        except McpnbError as error:
            return Reply("failed", str(error))
        if location is not None:
            return Reply("again", location=location)
        return Reply("done", "You can close this tab and go back to your notebook or terminal.")

    def _note_ignored(self, why: str) -> None:
        """Say why a response was ignored, once: any page may send one a thousand times."""
        with self._progress.changed:
            # threat: flood-of-answers
            if why in self._ignored or len(self._ignored) >= _MOST_IGNORED:
                return
            self._ignored.add(why)
        self._progress.note(f"Ignored a response that is not the expected one: {why}")

    def receive(self, text: str) -> str | None:
        """Take a response through to the stored login.

        Return the address at which the browser has to ask again, if there is one.

        Raises:
            AnswerRefused: It is not the response to this sign-in; the wait goes on.
            McpnbError: The sign-in has failed with it.
        """
        with self._progress.changed:
            pending = self._progress.pending
            if self._progress.state != "waiting" or pending is None:
                raise AnswerRefused("This sign-in is not waiting for a response.")
            if not isinstance(pending.request, AuthorizationRequest):
                raise AnswerRefused(
                    "This sign-in needs no pasted address. Enter the code at the address that it "
                    "shows. The sign-in continues by itself."
                )
            response = self._validated(text, pending.request, pending)
            if response is None:
                return self._again_without_scopes(pending)
        # The claim is stored, so that no other process presents the same code.
        with self._deps.pending.claimed(pending.request) as mine:
            # threat: answer-replay
            if not mine:
                raise AnswerRefused("Another process is completing this sign-in, or it was ended.")
            self._exchange(response, pending)
        return None

    def _validated(
        self, text: str, request: AuthorizationRequest, pending: PendingLogin
    ) -> ValidatedResponse | None:
        """Return the valid response; `None` if the server refuses scopes that it announces."""
        observer = self._deps.observer
        try:
            response = validate_response(text, request)
        except (LoginDenied, ProtocolError) as error:
            observer.answered(text, request, error)
            if isinstance(error, LoginDenied):
                self._heard = True
                if error.error == "invalid_scope" and pending.retry_without_scopes:
                    return None
            self._fail(error, pending)
            raise
        except McpnbError as error:
            observer.answered(text, request, error)
            raise
        observer.answered(text, request, None)
        self._heard = True
        return response

    def _again_without_scopes(self, pending: PendingLogin) -> str:
        again = pending.without_scopes()
        if not self._deps.pending.replace(pending.request, again):
            raise AnswerRefused("Another process is completing this sign-in, or it was ended.")
        self._progress.show(again)
        self._deps.observer.asked(again.request)
        self._progress.note(
            "The server refused the scopes that it announces; asking once more without any."
        )
        return again.request.url

    def _exchange(self, response: ValidatedResponse, pending: PendingLogin) -> None:
        failure: McpnbError
        try:
            with self._completion.exchanging():
                self._progress.enter("exchanging")  # not if cancelled: the connections are closed
                tokens = client.exchange(response, self._deps.http)
                self._completion.store(response.request, tokens)
        except McpnbError as error:
            if isinstance(error, GrantError) and error.error == "invalid_client":
                self._deps.clients.drop_reused()  # the next sign-in registers a new client
            failure = error
        except Exception as error:  # noqa: BLE001  a foreign store's, for example
            failure = LoginError(f"Unexpected {type(error).__name__} while signing in.")
        except BaseException:  # interrupted: nobody else would end it
            self._fail(LoginCancelled("The sign-in was interrupted. Nothing was stored."), pending)
            raise
        else:
            return
        self._fail(failure, pending)
        raise detached(failure)

    def _fail(self, error: McpnbError, pending: PendingLogin) -> None:
        self._deps.pending.drop(pending.request)
        self._progress.finish("failed", error)
