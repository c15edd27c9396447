"""Everything mcpnb raises on purpose.

::

    McpnbError
    ├── ConfigError (ValueError)             an argument, option or configuration file is wrong
    ├── ServerError                          reaching or understanding a server failed
    │   ├── ServerUnreachable (ConnectionError)   no answer: DNS, TCP, TLS, time-out
    │   ├── DiscoveryError                   not an MCP server, or its sign-in cannot be found out
    │   │   └── NoSignInNeeded               the server answers without a token: just call it
    │   └── ProtocolError                    a server broke a rule that protects the person
    ├── LoginError                           a sign-in did not end in a login
    │   ├── LoginRequired                    somebody has to sign in (again, or for more scopes)
    │   ├── LoginDenied                      the person or the authorization server said no
    │   ├── LoginTimeout (TimeoutError)      nothing came back in time
    │   ├── LoginCancelled                   cancelled here
    │   ├── AnswerRefused                    not the expected response; the wait goes on
    │   ├── ClientIdRequired                 no way to register: a client id has to be given
    │   └── GrantError                       the token endpoint refused; ``error`` has its code
    ├── StoreError                           logins cannot be read or written
    │   ├── StoreLocked                      they exist, but their key cannot be reached
    │   ├── StoreBusy                        another program holds one of them just now
    │   └── NewerFormat                      a newer mcpnb wrote them; they stay as they are
    └── CallError                            a call of a signed-in server failed
        ├── ToolError                        the tool itself reported an error
        ├── CallTimeout (TimeoutError)       no result in time
        └── ScopeRefused                     signed in for what was asked, and still refused

A message says what happened and what to do next. It never holds a token, code, verifier, state or
client secret, and text that came from a server is passed through `text.quote` first.
"""

from __future__ import annotations

from mcpnb.text import redact

__all__ = [
    "AnswerRefused",
    "CallError",
    "CallTimeout",
    "ClientIdRequired",
    "ConfigError",
    "DiscoveryError",
    "GrantError",
    "LoginCancelled",
    "LoginDenied",
    "LoginError",
    "LoginRequired",
    "LoginTimeout",
    "McpnbError",
    "NewerFormat",
    "NoSignInNeeded",
    "ProtocolError",
    "ScopeRefused",
    "ServerError",
    "ServerUnreachable",
    "StoreBusy",
    "StoreError",
    "StoreLocked",
    "ToolError",
    "detached",
]


def detached(error: Exception) -> Exception:
    """Take from an error of ours what led to it: it says all there is to say by itself.

    The chain behind it and its frames hold requests and answers, tokens included, for everybody who
    prints local variables; and a group in the chain makes IPython give up its friendly line
    (measured). Raise what this gives outside of any ``except``.
    """
    if isinstance(error, McpnbError):
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    return error


def _again(kind: type[McpnbError], args: tuple[object, ...]) -> McpnbError:
    """Make an error once more, as it was."""
    error = kind.__new__(kind)
    error.args = args
    return error


class McpnbError(Exception):
    """Base of everything mcpnb raises on purpose."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redact(arg) if isinstance(arg, str) else arg for arg in args))

    def __reduce__(self) -> tuple[object, ...]:
        # A pool of processes pickles what a worker raises. Exception's own way calls the class with
        # the message alone: that fails where it wants more, and the pool waits for ever (measured).
        # threat: error-pickled
        return _again, (type(self), self.args), vars(self)

    def _render_traceback_(self) -> list[str]:
        """Show one friendly line in a notebook instead of a traceback (IPython's own hook)."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(McpnbError, ValueError):
    """An argument, a command-line option or a configuration file is wrong."""


class ServerError(McpnbError):
    """Reaching or understanding a server failed."""


class ServerUnreachable(ServerError, ConnectionError):
    """No usable answer at all: name resolution, connection, TLS or time-out.

    Attributes:
        sent: Whether the request may have reached the server (then its outcome is unknown).
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class DiscoveryError(ServerError):
    """The address is not an MCP server's, or how to sign in to it cannot be found out."""


class NoSignInNeeded(DiscoveryError):
    """The server answers without a token: there is nothing to sign in to. Just call it."""


class ProtocolError(ServerError):
    """A server broke a rule that protects the person; nothing more was sent to it.

    Attributes:
        rule: The rule, as RFC or specification section.
    """

    def __init__(self, message: str, *, rule: str) -> None:
        super().__init__(f"{message} ({rule})")
        self.rule = rule


class LoginError(McpnbError):
    """A sign-in did not end in a login."""


class LoginRequired(LoginError):
    """Somebody has to sign in: for the first time, again, or for more scopes.

    Attributes:
        server: The MCP server's URL.
        scopes: The scopes the server asked for beyond those held (empty if it named none).
    """

    def __init__(
        self, message: str, *, server: str, scopes: tuple[str, ...] = (), advice: str = ""
    ) -> None:
        super().__init__(f"{message} {advice}" if advice else message)
        self._message = message
        self.server = server
        self.scopes = scopes

    def advise(self, advice: str) -> None:
        """Say what to do next in other words, where there is something nearer at hand."""
        self.args = (redact(f"{self._message} {advice}"),)


class LoginDenied(LoginError):
    """The person or the authorization server said no (RFC 6749 section 4.1.2.1).

    Attributes:
        error: The authorization server's error code.
    """

    def __init__(self, message: str, *, error: str) -> None:
        super().__init__(message)
        self.error = error


class LoginTimeout(LoginError, TimeoutError):
    """Nothing came back from the browser in time."""


class LoginCancelled(LoginError):
    """The sign-in was cancelled here."""


class AnswerRefused(LoginError):
    """It is not the expected response (other state, other address, bare code).

    The sign-in keeps waiting.
    """


class ClientIdRequired(LoginError):
    """The authorization server offers no way to register: a client id has to be given."""


class GrantError(LoginError):
    """The authorization server refused a request (RFC 6749 section 5.2, RFC 7591 section 3.2.2).

    Attributes:
        error: Its error code, such as ``invalid_grant``; empty where it sent none.
        status: The HTTP status.
        retry_after: Seconds it asked to wait, if it did.
    """

    def __init__(
        self, message: str, *, error: str = "", status: int = 0, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.error = error
        self.status = status
        self.retry_after = retry_after


class StoreError(McpnbError):
    """Stored logins cannot be read or written."""


class StoreLocked(StoreError):
    """A stored login exists, but the key that opens it cannot be reached."""


class StoreBusy(StoreError):
    """Another program holds it, and has for longer than one can wait."""


class NewerFormat(StoreError):
    """A newer mcpnb wrote it: it is left as it is, also by a new sign-in."""


class CallError(McpnbError):
    """A call of a signed-in server failed.

    Attributes:
        code: The JSON-RPC error code, if the server sent one.
    """

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class ToolError(CallError):
    """The tool itself reported an error (MCP's ``isError``).

    Attributes:
        result: The whole result, whose content says what went wrong.
    """

    def __init__(self, message: str, *, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class CallTimeout(CallError, TimeoutError):
    """No result in time. The call may still be running on the server."""


class ScopeRefused(CallError):
    """The server still refuses a call although the login was granted what it asked for.

    Attributes:
        scopes: The scopes it asks for.
    """

    def __init__(self, message: str, *, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.scopes = scopes
