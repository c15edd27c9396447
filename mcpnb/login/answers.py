"""Take an authorization response: check it, claim it, exchange its code, store the login."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from concurrent.futures import Future
from dataclasses import replace

from mcpnb.errors import (
    AnswerRefused,
    GrantError,
    LoginCancelled,
    LoginDenied,
    LoginError,
    McpnbError,
    NewerFormat,
    ProtocolError,
    StoreBusy,
    StoreError,
    detached,
)
from mcpnb.login.loopback import Reply
from mcpnb.login.pending import PendingLogin, PendingRequest
from mcpnb.login.progress import Progress
from mcpnb.login.request import Deps, SignInRequest
from mcpnb.oauth import client
from mcpnb.oauth.authorization import AuthorizationRequest, ValidatedResponse, validate_response
from mcpnb.oauth.credentials import Tokens
from mcpnb.text import quote
from mcpnb.tokens import TokenSource

_MOST_IGNORED = 8
"""Reasons that are shown; they may quote the response."""
_LOCK_TIMEOUT = 1.0


class AnswerInbox:
    """Where authorization responses arrive: through the loopback listener, a panel, or pasted."""

    def __init__(self, deps: Deps, progress: Progress) -> None:
        self.heard = False
        """Whether the authorization server has responded, with a login or an error."""
        self.exchanging = threading.Lock()
        """Held while a token request is sent: the connections stay open as long."""
        self._deps = deps
        self._progress = progress
        self._ignored: set[str] = set()
        self._delivered: dict[bytes, Future[Reply]] = {}

    def close(self) -> None:
        """Close the connections, once a token request under way has ended."""
        with self.exchanging:
            self._deps.http.close()

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

    def submit(self, text: str | None) -> None:
        """Complete the sign-in with a response from a person; see `Login.submit`."""
        if (location := self.receive(_asked_for() if text is None else text)) is not None:
            raise AnswerRefused(
                f"The server refused the scopes. Open this address instead: {location}"
            )

    def receive(self, text: str) -> str | None:
        """Take a response through to the stored login.

        Return the address at which the browser has to ask again, if there is one.

        Raises:
            AnswerRefused: It is not the response to this sign-in; the wait goes on.
            McpnbError: The sign-in has failed with it.
        """
        with self._progress.changed:
            pending = self._progress.now.pending
            if self._progress.now.state != "waiting" or pending is None:
                raise AnswerRefused("This sign-in is not waiting for a response.")
            if not isinstance(pending.request, AuthorizationRequest):
                raise AnswerRefused(
                    "This sign-in needs no pasted address. Enter the code at the address that it "
                    "shows. The sign-in continues by itself."
                )
            response = self._validated(text, pending.request, pending)
            if response is None:
                return self._again_without_scopes(pending.request, pending)
        # The claim is stored, so that no other process presents the same code.
        with self._deps.pending.claimed(pending.request) as mine:
            # threat: answer-replay
            if not mine:
                raise AnswerRefused("Another process is completing this sign-in, or it was ended.")
            self._exchange(response)
        return None

    def _validated(
        self, text: str, request: AuthorizationRequest, pending: PendingLogin
    ) -> ValidatedResponse | None:
        """Return the valid response; `None` if the server refuses scopes that it announces."""
        observer = self._deps.observer
        try:
            response = validate_response(text, request)
        except McpnbError as error:
            observer.answered(text, request, error)
            if isinstance(error, LoginDenied):
                self.heard = True
                if error.error == "invalid_scope" and pending.retry_without_scopes:
                    return None
            if isinstance(error, LoginDenied | ProtocolError):
                self._fail(error, request)
            raise
        observer.answered(text, request, None)
        self.heard = True
        return response

    def _again_without_scopes(self, request: AuthorizationRequest, pending: PendingLogin) -> str:
        again = replace(pending, request=request.without_scopes(), retry_without_scopes=False)
        if not self._deps.pending.replace(request, again):
            raise AnswerRefused("Another process is completing this sign-in, or it was ended.")
        self._progress.update(pending=again)
        self._deps.observer.asked(again.request)
        self._progress.note(
            "The server refused the scopes that it announces; asking once more without any."
        )
        return again.request.url

    def _exchange(self, response: ValidatedResponse) -> None:
        failure: McpnbError
        try:
            with self.exchanging:
                self._progress.enter("exchanging")  # not if cancelled: the connections are closed
                self.store(response.request, client.exchange(response, self._deps.http))
        except McpnbError as error:
            if isinstance(error, GrantError) and error.error == "invalid_client":
                self._deps.clients.drop_reused()  # the next sign-in registers a new client
            failure = error
        except Exception as error:  # noqa: BLE001  a foreign store's, for example
            failure = LoginError(f"Unexpected {type(error).__name__} while signing in.")
        except BaseException:  # interrupted: nobody else would end it
            interrupted = LoginCancelled("The sign-in was interrupted. Nothing was stored.")
            self._fail(interrupted, response.request)
            raise
        else:
            return
        self._fail(failure, response.request)
        raise detached(failure)

    def _fail(self, error: McpnbError, request: PendingRequest) -> None:
        self._deps.pending.drop(request)
        self._progress.finish("failed", error)

    def store(self, request: PendingRequest, tokens: Tokens) -> None:
        """Store the login, unless nobody wants it any more: then revoke it.

        Raises:
            LoginCancelled: It was cancelled, or somebody signed out, during the exchange.
            StoreError: It could not be stored. It is revoked.
        """
        deps, progress = self._deps, self._progress
        record = client.login_record(request, tokens, deps.config)

        def wanted() -> bool:
            # threat: login-after-a-sign-out
            return not progress.over and deps.pending.is_claimed(request)

        try:
            # Asked under the lock of the record: a sign-out ends what is pending first.
            stored = deps.tokens.store_login(record, wanted)
        except StoreError:
            client.revoke(record, deps.http)  # nobody would have it, and the server would keep it
            raise
        if stored:
            deps.clients.confirm(record.registration)
            deps.pending.drop(request)
            if progress.finish("signed_in"):
                return
            deps.tokens.forget()  # cancelled at this very moment
        else:
            client.revoke(record, deps.http)
        raise progress.now.error or LoginCancelled("The sign-in was cancelled.")


def complete(deps: Deps, text: str | None) -> None:
    """Complete the pending sign-in here, wherever it was begun, as `mcpnb.Session.finish` does.

    Raises:
        LoginError: None is pending, or this is not its response (`AnswerRefused`: try again).
    """
    progress = Progress()
    inbox = AnswerInbox(deps, progress)
    try:
        pending = _to_complete(deps)
        if text is None:
            text = _asked_for()
            # The prompt may have been open for hours. Another process may have ended the sign-in
            # meanwhile, or prolonged it.
            # threat: late-answer
            pending = _to_complete(deps)
        progress.update(pending=pending, state="waiting")
        inbox.submit(text)
    finally:
        inbox.close()
        progress.close()


def _asked_for() -> str:
    import getpass

    # Not input(): JupyterLab saves its echo in the notebook (measured).
    return getpass.getpass("Address the browser ended at: ")


def _to_complete(deps: Deps) -> PendingLogin:
    require_writable(deps.tokens)
    config, pending = deps.config, deps.pending.current()
    if pending is None:
        raise LoginError(
            f"No sign-in to {config.url} is pending: it was completed, was cancelled, or took too "
            "long. Start again."
        )
    if not SignInRequest(scopes=deps.tokens.wanted).fits(pending, config):
        raise LoginError(
            f"The pending sign-in to {config.url} was begun with other settings: "
            f"at {quote(pending.request.server.issuer)}, for the client "
            f"{quote(pending.request.registration.client_id)}. Complete it with the same ones."
        )
    return pending


def require_writable(tokens: TokenSource) -> None:
    """Find out before the browser opens whether a login could be stored.

    Raises:
        StoreError: The stored one is a newer mcpnb's, or the store has no locks.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(StoreBusy):  # a slow refresh is no reason not to sign in
            stack.enter_context(tokens.store.lock(tokens.key, _LOCK_TIMEOUT))
        try:
            tokens.record()
        except NewerFormat:
            raise
        except StoreError:
            pass  # what cannot be read is replaced
