"""The `Login` state machine: one sign-in, from the address of a server to a stored login."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Literal, TypeVar, get_args

from mcpnb import grants, redirects
from mcpnb.channels import LoopbackListener, Reply
from mcpnb.discovery import discover
from mcpnb.errors import (
    AnswerRefused,
    GrantError,
    LoginCancelled,
    LoginDenied,
    LoginError,
    LoginTimeout,
    McpnbError,
    ProtocolError,
    bare,
)
from mcpnb.http import Http
from mcpnb.listeners import Listeners
from mcpnb.models import AuthorizationServer, Discovery, ServerConfig, Tokens
from mcpnb.protocol import registration as registering
from mcpnb.protocol import token
from mcpnb.protocol.authorization import AuthorizationRequest, ValidatedAnswer, read_answer
from mcpnb.protocol.scopes import chosen, union
from mcpnb.registrations import Registrations
from mcpnb.tokens import TokenSource

__all__ = ["Login", "State"]

State = Literal[
    "discovering", "registering", "waiting", "exchanging", "signed_in", "failed", "cancelled"
]
_ENDED: tuple[State, ...] = ("signed_in", "failed", "cancelled")
OwnerT = TypeVar("OwnerT")

# Servers that refuse a request show a page of their own and never send the browser back (measured).
_HINT_AFTER = 20.0
_HINT = (
    "If the browser shows an error page of the server, it will not come back by itself: cancel, "
    "and sign in again."
)
_LOCK_TIMEOUT = 10.0
_LAST_PAGE = 3.0


class Login(Generic[OwnerT]):
    """One sign-in. It runs in a thread of its own; a panel and a terminal are views of it.

    `url` is the address to open once `state` is ``waiting``. An answer arrives through the loopback
    listener or through `submit`, whichever is first; a wrong or forged one is refused and the wait
    goes on.
    """

    def __init__(  # noqa: PLR0913  what a sign-in depends on
        self,
        owner: OwnerT,
        config: ServerConfig,
        source: TokenSource,
        *,
        scopes: tuple[str, ...] | None = None,
        open_browser: bool = False,
        timeout: float = 300,
        after: Login[OwnerT] | None = None,
    ) -> None:
        """Start it; returns at once.

        Args:
            owner: What `wait` returns.
            config: The server and how to sign in to it.
            source: Where the login goes.
            scopes: Scopes to add to those asked for before (step-up, SEP-2350).
            open_browser: Open `url` in a browser on this machine.
            timeout: Seconds to wait for the person.
            after: An earlier one of the same session: it is cancelled, and gives its port back.
        """
        self._after = after
        self._owner = owner
        self._config = config
        self._source = source
        self._added = scopes
        self._open_browser = open_browser
        self._timeout = timeout
        self._changed = threading.Condition(threading.RLock())
        self._state: State = "discovering"
        self._error: McpnbError | None = None
        self._request: AuthorizationRequest | None = None
        self._retry_without_scopes = False
        self._heard = False
        self._exchange_under_way = threading.Lock()
        self._notes: list[str] = []
        self._listeners = Listeners()
        self._discovery: Discovery | None = None
        self._http = Http(config.url, allow_private=config.allow_private_network)
        self._registrations = Registrations(config, self._source.store, self._http)
        self._thread = threading.Thread(target=self._run, name="mcpnb-login", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        line = f"<Login to {self._config.url}, {self._state.replace('_', ' ')}>"
        # The address has to be seen by a person; it holds `state`, and nothing that signs in.
        return f"{line}\nopen: {self.url}" if self._state == "waiting" else line

    # What a view shows

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def url(self) -> str | None:
        """The authorization URL, `None` until it is known. It may change: see `notes`."""
        return self._request.url if self._request else None

    @property
    def error(self) -> McpnbError | None:
        """Why it failed or was cancelled."""
        return self._error

    @property
    def notes(self) -> tuple[str, ...]:
        """What the person should know, in the order in which it happened."""
        return tuple(self._notes)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that are asked for; empty until known, or where the server decides."""
        return self._request.scopes if self._request else ()

    @property
    def redirect_uri(self) -> str | None:
        """Where the browser will be sent at the end."""
        return self._request.redirect_uri if self._request else None

    @property
    def issuer(self) -> str | None:
        """The authorization server, once it is known."""
        found = self._discovery.authorization_server if self._discovery else None
        return found.issuer if found else None

    def on_change(self, listener: Callable[[Login[OwnerT]], object]) -> None:
        """Call `listener(login)` after every change, from any thread."""
        self._listeners.add(lambda: listener(self))

    # What a person does

    def submit(self, text: str | None = None) -> None:
        """Give the address that the browser ended at. Returns after the exchange.

        Args:
            text: The full redirected URL; asked for without echo when left out.

        Raises:
            AnswerRefused: It is not this sign-in's answer; the wait goes on.
            LoginDenied: The authorization server reports an error.
            ProtocolError: It came from the wrong issuer.
            GrantError: The code was not accepted.
        """
        if text is None:
            import getpass

            # Not input(): JupyterLab saves its echo in the notebook (measured).
            text = getpass.getpass("Address the browser ended at: ")
        if (location := self._receive(text)) is not None:
            raise AnswerRefused(
                f"The server refused the scopes. Open this address instead: {location}"
            )

    def cancel(self) -> None:
        """End it, unless it has ended. Its port is free afterwards, for the next one."""
        self._finish("cancelled", LoginCancelled("The sign-in was cancelled. Nothing was stored."))
        if self._request is not None and threading.current_thread() is not self._thread:
            self._thread.join(_LAST_PAGE)

    def wait(self, timeout: float | None = None) -> OwnerT:
        """Wait for the end.

        Args:
            timeout: Seconds to wait here; the sign-in itself has its own time-out.

        Raises:
            LoginTimeout: It has not ended in time.
            LoginError: It failed; see the subclasses.
            ServerError: A server could not be reached, understood or trusted.
        """
        with self._changed:
            if not self._changed.wait_for(self._over, timeout):
                raise LoginTimeout(
                    f"Not signed in to {self._config.url} within {timeout:g} s; it goes on. "
                    f"Open: {self.url or '(the address is not known yet)'}"
                )
        if self._state != "cancelled":
            # A program that ends now would take the browser's last page with it.
            self._thread.join(_LAST_PAGE)
        if self._error is not None:
            raise self._error
        return self._owner

    def until(self, state: State, timeout: float | None = None) -> None:
        """Wait until `state` is reached, or passed on the way to a login.

        Raises:
            LoginTimeout: It was not, in time.
            McpnbError: It ended without.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over() or _passed(self._state, state), timeout)
            reached, error = _passed(self._state, state), self._error
        if reached:
            return
        raise error or LoginTimeout(f"The sign-in is {self._state}, not {state}.")

    def _run(self) -> None:
        listener: LoopbackListener | None = None
        try:
            # Whether a login could be kept is found out before the browser opens.
            with self._source.store.lock(self._source.key, _LOCK_TIMEOUT):
                self._source.readable()
            self._discovery = discovery = discover(self._config, self._http)
            self._enter("registering")
            if self._after is not None:
                self._after.cancel()
            listener = redirects.listen(self._config, self._note)
            self._prepare(discovery, discovery.sign_in_at, listener)
            self._await_answer()
        except McpnbError as error:
            self._finish("failed", error)
        except Exception as error:  # noqa: BLE001  a fault of ours ends the wait, too
            self._finish(
                "failed", LoginError(f"Unexpected {type(error).__name__} while signing in.")
            )
        finally:
            if not self._heard and self._state != "signed_in":
                self._registrations.drop_reused()
            if listener is not None:
                listener.close()
            with self._exchange_under_way:
                self._http.close()
            self._listeners.close()

    def _prepare(
        self, discovery: Discovery, server: AuthorizationServer, listener: LoopbackListener
    ) -> None:
        scopes, discovered = self._scopes(discovery, server)
        method = registering.choose(self._config, server, default_redirect=not listener.fell_back)
        redirect_uri = redirects.address(self._config, listener.port, server, method)
        registration = self._registrations.obtain(
            method,
            server,
            redirect_uri,
            wanted=scopes,
            bound=union(scopes, discovery.scopes_supported),
            keep=not listener.fell_back and self._config.callback_port != 0,
        )
        request = AuthorizationRequest.new(
            server,
            registration,
            redirect_uri=redirect_uri,
            resource=discovery.resource,
            scopes=scopes,
        )
        self._retry_without_scopes = discovered and bool(scopes)
        listener.listen(redirect_uri, self._deliver)
        self._request = request
        self._enter("waiting")
        if self._open_browser and not redirects.open_browser(request.url):
            self._note("No browser could be opened here: open the address yourself.")

    def _scopes(
        self, discovery: Discovery, server: AuthorizationServer
    ) -> tuple[tuple[str, ...], bool]:
        if self._added is None:
            explicit, challenged = self._config.scopes, discovery.challenged_scopes
            return chosen(explicit, challenged, discovery.scopes_supported, server)
        # Step-up (SEP-2350); where the challenge named none, all that the resource announces.
        record = self._source.readable()
        held = record.requested_scopes if record else self._config.scopes
        return union(held, self._added or discovery.scopes_supported), False

    def _await_answer(self) -> None:
        deadline = time.monotonic() + self._timeout
        with self._changed:
            long = self._timeout > _HINT_AFTER
            if long and not self._changed.wait_for(self._over, _HINT_AFTER):
                self._note(_HINT)
            # An exchange that has begun is waited for: it ends by its own time-outs.
            while not self._over():
                left = deadline - time.monotonic()
                if left <= 0 and self._state == "waiting":
                    raise LoginTimeout(
                        f"No answer came from the browser within {self._timeout:g} s. "
                        "Where a server shows an error page of its own, none ever comes."
                    )
                self._changed.wait(max(left, 0.1))

    def _over(self) -> bool:
        return self._state in _ENDED

    def _deliver(self, text: str) -> Reply:
        try:
            location = self._receive(text)
        except AnswerRefused as error:
            self._note(f"An answer that was not the awaited one was ignored: {error}")
            return Reply("refused", str(error))
        except McpnbError as error:
            return Reply("failed", str(error))
        if location is not None:
            return Reply("again", location=location)
        return Reply("done", "You can close this tab and go back to where you came from.")

    def _receive(self, text: str) -> str | None:
        """Take an answer through to its end. Gives an address where the browser has to go on."""
        with self._changed:
            request = self._request
            if self._state != "waiting" or request is None:
                raise AnswerRefused("This sign-in is not waiting for an answer (any more).")
            try:
                answer = read_answer(text, request)
                self._heard = True
            except LoginDenied as error:
                self._heard = True
                if error.error == "invalid_scope" and self._retry_without_scopes:
                    return self._again_without_scopes(request)
                self._finish("failed", error)
                raise
            except ProtocolError as error:
                self._finish("failed", error)
                raise
            self._enter("exchanging")
        failure: McpnbError
        try:
            with self._exchange_under_way:
                self._keep(answer, grants.exchange(answer, self._http))
        except McpnbError as error:
            if isinstance(error, GrantError) and error.error == "invalid_client":
                self._registrations.drop_reused()  # the next sign-in makes a new one
            failure = error
        except Exception as error:  # noqa: BLE001  a foreign store's, say
            failure = LoginError(f"Unexpected {type(error).__name__} while signing in.")
        except BaseException:  # interrupted: nobody else would end it
            self.cancel()
            raise
        else:
            return None
        self._finish("failed", failure)
        raise bare(failure)

    def _again_without_scopes(self, request: AuthorizationRequest) -> str:
        self._retry_without_scopes = False
        self._request = request.without_scopes()
        self._note("The server refused the scopes that it announces; asking once more without any.")
        return self._request.url

    def _keep(self, answer: ValidatedAnswer, tokens: Tokens) -> None:
        record = token.login_record(answer, tokens, self._config, now=time.time())
        with self._changed:
            kept = not self._over()
            if kept:
                self._source.store_login(record)
                self._registrations.confirm(record.registration)
                self._finish("signed_in", None)
        if not kept:
            # Cancelled while the code was exchanged: nothing is kept, here or there.
            grants.revoke(record, self._http)
            raise self._error or LoginCancelled("The sign-in was cancelled.")

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._listeners.tell()

    def _enter(self, state: State) -> None:
        with self._changed:
            if self._over():
                raise self._error or LoginCancelled("The sign-in was cancelled.")
            self._state = state
            self._changed.notify_all()
        self._listeners.tell()

    def _finish(self, state: State, error: McpnbError | None) -> None:
        with self._changed:
            if self._over():
                return
            self._state, self._error = state, error
            self._changed.notify_all()
        self._listeners.tell()


def _passed(now: State, wanted: State) -> bool:
    order = get_args(State)
    return now == wanted or (
        now not in ("failed", "cancelled") and order.index(now) > order.index(wanted)
    )
