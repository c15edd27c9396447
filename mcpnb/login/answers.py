"""Taking an answer: checked, claimed, exchanged, stored."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import Future

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
from mcpnb.login.clients import Registrations
from mcpnb.login.loopback import Reply
from mcpnb.login.pending import PendingLogin, PendingLogins, PendingRequest
from mcpnb.login.progress import Observer, Progress
from mcpnb.oauth import client, token
from mcpnb.oauth.authorization import AuthorizationRequest, ValidatedResponse, validate_response
from mcpnb.oauth.credentials import Tokens
from mcpnb.oauth.http import Http
from mcpnb.oauth.models import ServerConfig
from mcpnb.tokens import TokenSource

__all__ = ["Answering"]

_MOST_IGNORED = 8
"""Reasons that are told; they may have words of the answer in them."""


class Answering(Progress):
    """The half of a sign-in that begins when an answer comes, from wherever it comes."""

    def __init__(self, config: ServerConfig, source: TokenSource, observer: Observer) -> None:
        super().__init__()
        self._config = config
        self._source = source
        self._observer = observer
        self._http = Http(
            config.url, allow_private=config.allow_private_network, seen=observer.exchanged
        )
        self._registrations = Registrations(config, source.store, self._http)
        self._pendings = PendingLogins(source.store, source.key)
        self._pending: PendingLogin | None = None
        self._heard = False
        self._ignored: set[str] = set()
        self._exchange_under_way = threading.Lock()
        self._delivered: dict[bytes, Future[Reply]] = {}

    def deliver(self, text: str) -> Reply:
        """Take an answer from whatever brought it, and say what became of it. Raises nothing.

        Args:
            text: The full address that the browser was sent to.
        """
        # Two views of a notebook hand over the same answer, and each is asked what became of it.
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        outcome: Future[Reply] = Future()
        known = self._delivered.setdefault(digest, outcome)
        if known is not outcome:
            return known.result()
        try:
            outcome.set_result(self._taken(text))
        except BaseException as error:
            outcome.set_exception(error)
            raise
        if outcome.result().outcome == "refused":  # it may be awaited later
            del self._delivered[digest]
        return outcome.result()

    def _taken(self, text: str) -> Reply:
        try:
            location = self._receive(text)
        except AnswerRefused as error:
            self._note_ignored(str(error))
            return Reply("refused", str(error))
        except McpnbError as error:
            return Reply("failed", str(error))
        if location is not None:
            return Reply("again", location=location)
        return Reply("done", "You can close this tab and go back to where you came from.")

    def _note_ignored(self, why: str) -> None:
        """Say why an answer was ignored, once: any page may send one a thousand times."""
        with self._changed:
            # threat: flood-of-answers
            if why in self._ignored or len(self._ignored) >= _MOST_IGNORED:
                return
            self._ignored.add(why)
        self._note(f"An answer that was not the awaited one was ignored: {why}")

    def _receive(self, text: str) -> str | None:
        """Take an answer through to its end. Gives an address where the browser has to go on."""
        with self._changed:
            pending = self._pending
            if self._state != "waiting" or pending is None:
                raise AnswerRefused("This sign-in is not waiting for an answer (any more).")
            if not isinstance(pending.request, AuthorizationRequest):
                raise AnswerRefused(
                    "Nothing is pasted in this sign-in: enter the code at the address that it "
                    "shows. It goes on by itself."
                )
            answer = self._checked(text, pending.request, pending)
            if answer is None:
                return self._again_without_scopes(pending)
        # Stored, so that no other process gives the same code away.
        with self._pendings.claimed(pending.request) as mine:
            # threat: answer-replay
            if not mine:
                raise AnswerRefused("This sign-in is being completed elsewhere, or was ended.")
            self._exchange(answer, pending)
        return None

    def _exchange(self, answer: ValidatedResponse, pending: PendingLogin) -> None:
        failure: McpnbError
        try:
            with self._exchange_under_way:
                self._enter("exchanging")  # unless cancelled: then the connections are closed
                self._keep(answer.request, client.exchange(answer, self._http))
        except McpnbError as error:
            if isinstance(error, GrantError) and error.error == "invalid_client":
                self._registrations.drop_reused()  # the next sign-in makes a new one
            failure = error
        except Exception as error:  # noqa: BLE001  a foreign store's, say
            failure = LoginError(f"Unexpected {type(error).__name__} while signing in.")
        except BaseException:  # interrupted: nobody else would end it
            self._fail(LoginCancelled("The sign-in was interrupted. Nothing was stored."), pending)
            raise
        else:
            return
        self._fail(failure, pending)
        raise detached(failure)

    def _checked(
        self, text: str, request: AuthorizationRequest, pending: PendingLogin
    ) -> ValidatedResponse | None:
        """Give the answer; `None` where the server shall be asked again without scopes."""
        try:
            answer = self._read(text, request)
        except LoginDenied as error:
            self._heard = True
            if error.error == "invalid_scope" and pending.retry_without_scopes:
                return None
            self._fail(error, pending)
            raise
        except ProtocolError as error:
            self._fail(error, pending)
            raise
        self._heard = True
        return answer

    def _read(self, text: str, request: AuthorizationRequest) -> ValidatedResponse:
        try:
            answer = validate_response(text, request)
        except McpnbError as error:
            self._observer.answered(text, request, error)
            raise
        self._observer.answered(text, request, None)
        return answer

    def _fail(self, error: McpnbError, pending: PendingLogin) -> None:
        self._pendings.drop(pending.request)
        self._finish("failed", error)

    def _again_without_scopes(self, pending: PendingLogin) -> str:
        again = pending.without_scopes()
        if not self._pendings.replace(pending.request, again):
            raise AnswerRefused("This sign-in is being completed elsewhere, or was ended.")
        self._pending = again
        self._observer.asked(again.request)
        self._note("The server refused the scopes that it announces; asking once more without any.")
        return again.request.url

    def _keep(self, request: PendingRequest, tokens: Tokens) -> None:
        record = token.login_record(request, tokens, self._config, now=time.time())

        def wanted() -> bool:
            # threat: login-after-a-sign-out
            return not self._over() and self._pendings.is_claimed(request)

        try:
            # Asked under the lock of the record: who signs out ends what is pending first.
            kept = self._source.store_login(record, wanted)
        except StoreError:
            client.revoke(record, self._http)  # nobody would have it, and the server would keep it
            raise
        if not kept:
            # Cancelled or signed out while the code was exchanged: nothing is kept, here or there.
            client.revoke(record, self._http)
            raise self._error or LoginCancelled("The sign-in was cancelled.")
        self._registrations.confirm(record.registration)
        self._pendings.drop(request)
        if not self._finish("signed_in", None):  # cancelled in this very moment
            self._source.forget()
            raise self._error or LoginCancelled("The sign-in was cancelled.")
