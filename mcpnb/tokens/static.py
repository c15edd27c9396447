"""Tokens and headers that configuration gives, or that a local command prints."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from mcpnb.concurrency import ForkSafeLock, ProcessBound, in_background
from mcpnb.config.files import folder_of
from mcpnb.config.parse import header_can_be_set, helper_words
from mcpnb.errors import CallError, ConfigError, McpnbError, detached
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.storage import TokenStore
from mcpnb.text import quote, redact, sanitize
from mcpnb.tokens.record import AccessToken, login_key
from mcpnb.tokens.source import UNAUTHORIZED, Refusal, TokenSource

_WINDOWS = os.name == "nt"
_ENDINGS = ".COM;.EXE;.BAT;.CMD"


def first_word(command_line: str) -> str:
    """Return the program of a command line as Windows does: quoted, or up to the first space."""
    text = command_line.lstrip()
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    return (text.split(maxsplit=1) or [""])[0]


def program_path(
    word: str, folder: Path, environ: Mapping[str, str] = os.environ, *, windows: bool = _WINDOWS
) -> Path | None:
    """Find a program: a path as it is or below `folder`, a bare name in the folders of the PATH.

    The working folder has no say. `None` for a bare name that no absolute folder of the PATH has.

    Args:
        word: What the command begins with.
        folder: What a relative path is relative to.
        environ: Has ``PATH``, and on Windows ``PATHEXT``.
        windows: Whether to use the rules of Windows.
    """
    program = os.path.expanduser(word)  # noqa: PTH111  a bare name stays one
    if any(mark in program for mark in ("/\\:" if windows else "/")):
        return folder / program
    endings: tuple[str, ...] = ("",)
    if windows:
        known = tuple(e for e in (environ.get("PATHEXT") or _ENDINGS).split(";") if e)
        if not program.lower().endswith(tuple(ending.lower() for ending in known)):
            endings = known
    for place in environ.get("PATH", os.defpath).split(";" if windows else ":"):
        # An empty or relative one is the working folder, or lies below it.
        # threat: helper-of-the-working-folder
        if not os.path.isabs(place):  # noqa: PTH117  as it stands, a drive's letter included
            continue
        for ending in endings:
            found = Path(place, program + ending)
            if found.is_file() and os.access(found, os.X_OK):
                return found
    return None


_LASTS = 10.0
_MOST = 64 * 1024
_QUOTED = 300
_IN_VAIN = 60.0
"""Seconds in which a command that printed the same after a refusal is not run again."""
# A helper may be a script around `mcpnb token`: that one signs in by itself, without a helper.
_WITHIN = "MCPNB_WITHIN_HEADERS_HELPER"


@dataclass(frozen=True, slots=True)
class Printed:
    """The headers that a command printed."""

    headers: Mapping[str, Secret]
    generation: int
    """How often it has printed other headers than before, from 1."""

    @property
    def authorization(self) -> Secret | None:
        """The ``Authorization`` header, if there is one."""
        found = (v for name, v in self.headers.items() if name.lower() == "authorization")
        return next(found, None)


class HeadersHelper:
    """The command of one configured server, and what it printed. Thread-safe."""

    def __init__(self, config: ServerConfig) -> None:
        """Take the command; nothing is run."""
        self.where = f"http_headers_helper in {config.source}"
        self.known: Printed | None = None
        """What it printed last, if it ran. Replaced as a whole: its parts belong together."""
        self._command = config.headers_helper or ""
        self._folder = folder_of(Path(str(config.source)).absolute())
        self._lock = ForkSafeLock()
        self._in_vain = 0.0

    def printed(self) -> Printed:
        """Return what it prints; the command is run unless it has.

        Raises:
            ConfigError: It cannot be run, fails, takes too long, or prints something else.
        """
        if (known := self.known) is not None:
            return known
        with self._lock:
            if self.known is None:
                self.known = Printed(self._run(), 1)
            return self.known

    def rerun(self, refused: int) -> bool:
        """Run the command once more, unless it has printed others since the refused generation.

        Return whether there are other headers now, which are worth another try. Errors are those of
        `printed`; the earlier headers are kept.
        """
        with self._lock:
            if self.known is None or self.known.generation != refused:
                return True
            if time.monotonic() < self._in_vain:
                return False
            self._in_vain = time.monotonic() + _IN_VAIN
            headers = self._run()
            if headers == self.known.headers:
                return False
            self.known = Printed(headers, refused + 1)
            self._in_vain = 0.0
            return True

    def _run(self) -> Mapping[str, Secret]:
        try:
            return _headers_in(*self._output())
        except ValueError as error:
            failure = ConfigError(f"The command of {self.where} {error}.")
        raise detached(failure)  # the frames of its cause hold what was printed

    def _output(self) -> tuple[int, bytes, bytes]:
        """Return exit code, output and complaint; a `ValueError` if it cannot be run, or hangs."""
        try:
            words = helper_words(self._command)
            # Windows splits a command line itself; which program it starts is decided here.
            word = first_word(words) if isinstance(words, str) else words[0]
            # A folder on the PATH that may not be entered raises, too.
            program = program_path(word, self._folder)
            if program is None:
                raise ValueError(f"{sanitize(word, 80)} is not on the PATH")  # noqa: TRY301
            process = subprocess.Popen(  # noqa: S603  the person's own command, and no shell
                words if isinstance(words, str) else [str(program), *words[1:]],
                executable=str(program),
                cwd=self._folder,
                env=os.environ | {_WITHIN: "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot be run: {sanitize(error)}") from None
        deadline, ended = time.monotonic() + _LASTS, False
        pipes = (_read(process.stdout, _MOST + 1), _read(process.stderr, _QUOTED * 4, rest=True))
        try:
            out = pipes[0].result(deadline - time.monotonic())
            if len(out) > _MOST:
                return 0, out, b""  # too much: `finally` ends it
            err = pipes[1].result(deadline - time.monotonic())
            code = process.wait(deadline - time.monotonic())
            ended = True
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ValueError(f"did not end within {_LASTS:g} seconds") from None
        finally:
            if not ended:  # also if only what it started still writes
                _end(process)
        return code, out, err


def _headers_in(code: int, out: bytes, err: bytes) -> Mapping[str, Secret]:
    """Return the printed headers; else a `ValueError` that repeats no value: they are secret."""
    if code != 0:
        complaint = f": {quote(err.decode(errors='replace').strip(), _QUOTED)}" if err else ""
        raise ValueError(f"ended with exit code {code}{complaint}")
    if len(out) > _MOST:
        raise ValueError(f"printed more than {_MOST // 1024} KiB")
    try:
        found = json.loads(out)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("did not print a JSON object of headers")  # noqa: TRY004
    for name, value in found.items():
        if not header_can_be_set(name):
            raise ValueError(f"printed {quote(name, 80)}, which is no header that can be set")
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ValueError(f"printed a value for {name} that no header has")
    return {name: Secret(value) for name, value in found.items()}


def _read(pipe: IO[bytes] | None, most: int, *, rest: bool = False) -> Future[bytes]:
    """Read so many bytes, in a thread that holds up no exit; then read on, or close the pipe."""
    content: Future[bytes] = Future()

    def read() -> None:
        found = b""
        try:
            # Closed where it is read: elsewhere, closing would wait for whoever has the other end.
            with cast("IO[bytes]", pipe) as open_pipe:
                found = open_pipe.read(most)
                while rest and open_pipe.read(_MOST):
                    pass
        finally:
            content.set_result(found)

    threading.Thread(target=read, name="mcpnb-helper", daemon=True).start()
    return content


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command with all that it started: what holds its pipes would hold us."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


_helpers: dict[tuple[str, str | None, str], HeadersHelper] = {}
_lock = ForkSafeLock()


def helper_of(config: ServerConfig) -> HeadersHelper | None:
    """Return the headers helper of a configured server, which all in this process share.

    Nothing is run. `None` without one, and where it is ``mcpnb token`` for whatever server: that is
    this program, which signs in by itself.
    """
    if not config.headers_helper or os.environ.get(_WITHIN) or _is_mcpnb(config.headers_helper):
        return None
    key = (config.headers_helper, config.source, config.url)
    with _lock:
        return _helpers.setdefault(key, HeadersHelper(config))


def _is_mcpnb(command: str) -> bool:
    words = helper_words(command)
    words = words.split() if isinstance(words, str) else words
    names = [Path(word).name.lower().removesuffix(".exe") for word in words]
    return any(pair == ("mcpnb", "token") for pair in itertools.pairwise(names))


class StaticToken(ProcessBound):
    """A token that configuration gives, or that a headers helper prints.

    It is neither stored nor refreshed. The environment is read each time: a token that is set
    later, or changed, is used. A helper is run once more when the server refuses what it printed.
    """

    wanted = None

    def __init__(
        self, config: ServerConfig, store: TokenStore, origin: Header | HeadersHelper
    ) -> None:
        """Serve the configured header, or the one that the helper prints."""
        self.server = config.url
        self.key = login_key(config.name_in_store, config.account)
        self._config = config
        self._store = store
        self._helper = origin if isinstance(origin, HeadersHelper) else None
        self._header = origin if isinstance(origin, Header) else Header("Authorization")

    def __repr__(self) -> str:
        return f"<StaticToken {redact(self.server)}>"

    @property
    def configured(self) -> str:
        """What gives the token, in a few words."""
        if self._helper is not None:
            return f"the command of {self._helper.where}"
        if self._header.variable:
            return f"the environment variable {self._header.variable}"
        return f"the Authorization header in {self._config.source}"

    def cached(self) -> AccessToken | None:
        """Return the token, if it is there and a helper has run."""
        try:
            return self.get() if self._helper is None or self._helper.known else None
        except ConfigError:
            return None

    def get(self, *, eager: bool = False) -> AccessToken:
        """Return what is sent: it has no expiry.

        Raises:
            ConfigError: There is none.
        """
        del eager
        value, generation = self._value()
        value = value.strip()
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"{self.configured} has characters that no token has.")
        if self._config.bearer_token_env_var is not None:
            return AccessToken(Secret(value), generation)
        scheme, _, token = value.partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        # Sent as it is written, spaces included; a scheme of its own is no bearer token.
        return AccessToken(Secret(token or value), generation, value.removesuffix(token or value))

    def _value(self) -> tuple[str, int]:
        header, variable, generation = self._header, self._header.variable, 0
        if self._helper is not None:
            printed = self._helper.printed()
            secret, generation = printed.authorization, printed.generation
            problem = f"{self.configured} no longer prints an Authorization header."
        else:
            secret = header.value or Secret(os.environ.get(variable or "", ""))
            problem = (
                f"The environment variable {variable} is not set: {self._config.source} takes the "
                f"token for {self.server} from it."
            )
        value = secret.reveal() if secret else ""
        if not value.strip():
            raise ConfigError(problem)
        return value, generation

    def lookup_async(self) -> Future[AccessToken | Future[AccessToken]]:
        """Return the same, from another thread: a helper may have to run."""
        return in_background(self.get)

    async def require(self) -> None:
        """Do nothing: what is missing is told before a call begins."""

    def record(self) -> None:
        """Return `None`: a stored login is not used."""

    def forget(self) -> bool:
        """Forget the login that is stored all the same, from before the token was configured.

        Raises:
            ConfigError: There is none.
        """
        login = TokenSource(self._config, self._store)
        if login.key not in self._store.keys("login"):
            raise ConfigError(
                f"There is no login at {self.server} to end: {self.configured} is used instead. "
                f"To stop that, remove it from {self._config.source}."
            )
        return login.forget()

    def after(self, sent: AccessToken, refusal: Refusal) -> AccessToken:
        """Return what the helper prints when it is run once more; a `ConfigError` if it fails."""
        if self._helper is None or not refusal.replayable:
            return sent
        self._helper.rerun(sent.generation)
        return self.get()

    def accepted(self, generation: int) -> None:
        """Do nothing: a configured token needs no record of that."""

    def verdict(self, generation: int | None, refusal: Refusal) -> McpnbError | None:
        """Return what to tell of a refusal that is final."""
        del generation
        if refusal.status != UNAUTHORIZED:
            return None
        if self._helper is not None:  # a second run included
            what = f"does not accept the token that {self.configured} prints."
        else:
            what = f"does not accept what {self.configured} holds: set a new one."
        return CallError(f"{self.server} {what}")


Tokens = TokenSource | StaticToken
"""What the ``Authorization`` header for one server comes from: a login, or configuration.

On an event loop, use only `cached`, `lookup_async`, `require` and `accepted`. Others may run a
command, or read the store, which takes seconds where a system keyring has to be unlocked.
"""


def source_of(config: ServerConfig, store: TokenStore, helper: HeadersHelper | None) -> Tokens:
    """Return what the tokens for a server come from; the helper is run to see if it gives one.

    Raises:
        ConfigError: The helper failed.
    """
    header = config.authorization
    if helper and not config.bearer_token_env_var and helper.printed().authorization:
        return StaticToken(config, store, helper)
    return StaticToken(config, store, header) if header else TokenSource(config, store)
