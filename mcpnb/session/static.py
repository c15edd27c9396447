"""A token that configuration names, in the place of a sign-in."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mcpnb.errors import CallError, ConfigError, McpnbError
from mcpnb.models import Header, LoginRecord, Secret, ServerConfig
from mcpnb.store import TokenStore
from mcpnb.tokens import Held, TokenSource

if TYPE_CHECKING:
    from mcpnb.headers_helper import HeadersHelper

__all__ = ["HelpedToken", "StaticToken", "source_of"]

_BEARER = "bearer "


class StaticToken(TokenSource):
    """Stands where a login's tokens would; it is neither stored nor renewed.

    The environment is read each time: a token set later, or anew, is used.
    """

    def __init__(self, config: ServerConfig, store: TokenStore, header: Header) -> None:
        """Serve the configured header."""
        super().__init__(config, store)
        self._header = header

    @property
    def authorization(self) -> Secret:
        """The whole ``Authorization`` header.

        Raises:
            ConfigError: Its environment variable is not set.
        """
        value = self._value().strip()
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"{self.where} has characters that no token has.")
        named = self._config.bearer_token_env_var is not None
        return Secret(f"Bearer {value}" if named else value)

    def _value(self) -> str:
        header, variable = self._header, self._header.variable
        value = header.value.reveal() if header.value else os.environ.get(variable or "", "")
        if not value.strip():
            raise ConfigError(
                f"The environment variable {variable} is not set: {self._config.source} has the "
                f"token for {self.server} in it."
            )
        return value

    @property
    def token(self) -> str:
        """The bearer token.

        Raises:
            ConfigError: Its environment variable is not set, or the header has another scheme.
        """
        whole = self.authorization.reveal()
        if whole[: len(_BEARER)].lower() != _BEARER:
            raise ConfigError(
                f"The configured Authorization header for {self.server} is no bearer token: use "
                "headers()."
            )
        return whole[len(_BEARER) :].strip()

    def peek(self) -> Held:
        """Give what is sent.

        Raises:
            ConfigError: There is none.
        """
        return Held(self.authorization, 0)

    def fresh(self, *, eager: bool = False) -> Held:
        """Give the same: it does not age."""
        del eager
        return self.peek()

    def renewal(self, generation: int | None = None) -> Future[Held]:
        """Give the same again: there is nothing to renew it with."""
        del generation
        future: Future[Held] = Future()
        try:
            future.set_result(self.peek())
        except McpnbError as error:
            future.set_exception(error)
        return future

    def record(self) -> LoginRecord | None:
        """Give none: a stored login is not used."""
        return None

    def refused(self) -> McpnbError:
        """Say that the server does not take the token."""
        return CallError(f"{self.server} does not accept what {self.where} holds: set a new one.")

    def forget(self) -> bool:
        """Forget the login that is stored all the same, from before the token was configured.

        Raises:
            ConfigError: There is none.
        """
        login = TokenSource(self._config, self.store)
        if login.key not in self.store.keys("login"):
            raise ConfigError(
                f"There is no login at {self.server} to end: {self.where} is used instead. "
                f"To stop that, take it out of {self._config.source}."
            )
        return login.forget()

    @property
    def where(self) -> str:
        """What has the token, in a few words."""
        if self._header.variable:
            return f"the environment variable {self._header.variable}"
        return f"the Authorization header in {self._config.source}"


class HelpedToken(StaticToken):
    """The same, where ``http_headers_helper`` prints the header."""

    def __init__(self, config: ServerConfig, store: TokenStore, helper: HeadersHelper) -> None:
        """Serve what the helper prints."""
        super().__init__(config, store, Header("Authorization"))
        self._helper = helper

    def _value(self) -> str:
        given = self._helper.authorization()
        if given is None or not given.reveal().strip():
            raise ConfigError(f"{self.where} has no Authorization header any more.")
        return given.reveal()

    def refused(self) -> McpnbError:
        """Say that the server does not take the token, the one of a second run included."""
        return CallError(f"{self.server} does not accept the token that {self.where} prints.")

    @property
    def where(self) -> str:
        """What prints the token, in a few words."""
        return f"the command of {self._helper.where}"


def source_of(config: ServerConfig, store: TokenStore, helper: HeadersHelper | None) -> TokenSource:
    """Give what the tokens for a server come from; the helper is run to see if it gives one.

    Raises:
        ConfigError: The helper failed.
    """
    header = config.authorization
    if helper and not config.bearer_token_env_var and helper.authorization():
        return HelpedToken(config, store, helper)
    return StaticToken(config, store, header) if header else TokenSource(config, store)
