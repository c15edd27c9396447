"""Tokens and headers that configuration names, or that a local command prints."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from mcpnb.concurrency import ForkSafeLock
from mcpnb.config.files import folder_of
from mcpnb.config.schema import header_can_be_set, helper_words
from mcpnb.errors import CallError, ConfigError, McpnbError, detached
from mcpnb.oauth.credentials import LoginRecord
from mcpnb.oauth.models import Header, Secret, ServerConfig
from mcpnb.storage import TokenStore
from mcpnb.text import quote, sanitize
from mcpnb.tokens import AccessToken, TokenSource

__all__ = [
    "HeadersHelper",
    "HelpedToken",
    "StaticToken",
    "first_word",
    "helper_of",
    "program_path",
    "source_of",
]

_WINDOWS = os.name == "nt"
_ENDINGS = ".COM;.EXE;.BAT;.CMD"


def first_word(command_line: str) -> str:
    """Give the program of a Windows command line, as Windows takes it apart.

    In quotation marks up to the next one, else up to the first space.
    """
    text = command_line.lstrip()
    if text.startswith('"'):
        return text[1:].partition('"')[0]
    return (text.split(maxsplit=1) or [""])[0]


def program_path(
    word: str, folder: Path, environ: Mapping[str, str] = os.environ, *, windows: bool = _WINDOWS
) -> Path | None:
    """Find a program: a path as it is or beneath `folder`, a bare name in the PATH's own folders.

    Args:
        word: What the command begins with.
        folder: What a relative path is relative to; the working folder has no say.
        environ: Has ``PATH``, on Windows ``PATHEXT`` and ``USERPROFILE``, too.
        windows: Whose rules hold.

    Returns:
        Its path, or `None` for a bare name that no absolute folder of the PATH has.
    """
    program = os.path.expanduser(word)  # noqa: PTH111  a bare name stays one
    marks = "/\\:" if windows else "/"
    if any(mark in program for mark in marks):
        return folder / program
    separator = ";" if windows else ":"
    path = environ.get("PATH", os.defpath)
    for place in path.split(separator):
        # An empty or relative one is the working folder, or lies beneath it.
        # threat: helper-of-the-working-folder
        if not os.path.isabs(place):  # noqa: PTH117  as it stands, a drive's letter included
            continue
        for ending in _endings(program, environ) if windows else ("",):
            found = Path(place, program + ending)
            if found.is_file() and os.access(found, os.X_OK):
                return found
    return None


def _endings(program: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    known = tuple(e for e in (environ.get("PATHEXT") or _ENDINGS).split(";") if e)
    has_one = program.lower().endswith(tuple(ending.lower() for ending in known))
    return ("",) if has_one else known


_LASTS = 10.0
_MOST = 64 * 1024
_QUOTED = 300
_IN_VAIN = 60.0
"""Seconds in which a command that printed the same again after a refusal is not run once more."""
# A helper may be a script around `mcpnb token`: that one signs in by itself, without a helper.
_WITHIN = "MCPNB_WITHIN_HEADERS_HELPER"


class HeadersHelper:
    """One entry's command, and what it printed. Thread-safe."""

    def __init__(self, config: ServerConfig) -> None:
        """Hold the command; nothing is run."""
        self.server = config.url
        self.where = f"http_headers_helper in {config.source}"
        self._command = config.headers_helper or ""
        self._folder = folder_of(Path(str(config.source)).absolute())
        self._lock = ForkSafeLock()
        self._given: Mapping[str, Secret] | None = None
        self._in_vain = 0.0

    @property
    def known(self) -> Mapping[str, Secret] | None:
        """What it printed, if it ran; nothing is run for it."""
        return self._given

    def headers(self) -> Mapping[str, Secret]:
        """Give the headers; the command is run if it was not.

        Raises:
            ConfigError: It cannot be run, fails, takes too long, or prints something else.
        """
        with self._lock:
            if self._given is None:
                self._given = self._ran()
            return self._given

    def authorization(self) -> Secret | None:
        """Give the whole ``Authorization`` header, if there is one among them.

        Raises:
            ConfigError: As `headers`.
        """
        found = (v for name, v in self.headers().items() if name.lower() == "authorization")
        return next(found, None)

    def renewed(self, refused: Mapping[str, Secret]) -> bool:
        """Run the command once more after the server refused what it had printed.

        Args:
            refused: What was sent; if somebody else has got other headers since, those are taken.

        Returns:
            Whether there are other headers now, with which it is worth asking again.

        Raises:
            ConfigError: As `headers`; the headers from before are kept.
        """
        with self._lock:
            if self._given != refused:
                return True
            if time.monotonic() < self._in_vain:
                return False
            self._in_vain = time.monotonic() + _IN_VAIN
            given = self._ran()
            if given == refused:
                return False
            self._given, self._in_vain = given, 0.0
            return True

    def _ran(self) -> Mapping[str, Secret]:
        try:
            return self._understood()
        except ConfigError as error:
            failure = error
        raise detached(failure)  # the frames it came from hold what was printed

    def _understood(self) -> Mapping[str, Secret]:
        code, out, err = self._printed()
        if code != 0:
            said = f": {quote(err.decode(errors='replace').strip(), _QUOTED)}" if err else ""
            raise self._failed(f"ended with exit code {code}{said}")
        if len(out) > _MOST:
            raise self._failed(f"printed more than {_MOST // 1024} KiB")
        try:
            found = json.loads(out)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._failed("did not print a JSON object of headers")
        for name, value in found.items():
            # What it printed is secret: of a value, nothing is said.
            if not header_can_be_set(name):
                raise self._failed(f"printed {quote(name, 80)}, which is no header that can be set")
            if not (isinstance(value, str) and value.isascii() and value.isprintable()):
                raise self._failed(f"printed a value for {name} that no header has")
        return {name: Secret(value) for name, value in found.items()}

    def _printed(self) -> tuple[int, bytes, bytes]:
        try:
            program, words = self._program_and_words()
            process = subprocess.Popen(  # noqa: S603  the person's own command, and no shell
                words,
                executable=program,
                cwd=self._folder,
                env=os.environ | {_WITHIN: "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise self._failed(f"cannot be run: {sanitize(error)}") from None
        deadline = time.monotonic() + _LASTS
        out = _Reading(process.stdout, _MOST + 1, process.kill)
        err = _Reading(process.stderr, _QUOTED * 4)
        ended = False
        try:
            if out.ended(deadline) and err.ended(deadline):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(deadline - time.monotonic(), 0.001))
                    ended = True
        finally:
            if not ended:
                _end(process)
        if not ended:
            raise self._failed(f"did not end within {_LASTS:g} seconds")
        # Cut off because of its size, it was us who ended it.
        code = 0 if len(out.content) > _MOST else process.returncode
        return code, out.content, err.content

    def _program_and_words(self) -> tuple[str, list[str] | str]:
        words = helper_words(self._command)
        # Windows takes a command line apart itself; which program it starts, it is told.
        whole = isinstance(words, str)
        word = first_word(words) if isinstance(words, str) else words[0]
        program = program_path(word, self._folder)
        if program is None:
            raise self._failed(f"cannot be run: {sanitize(word, 80)} is not on the PATH")
        return str(program), words if whole else [str(program), *words[1:]]

    def _failed(self, said: str) -> ConfigError:
        return ConfigError(f"The command of {self.where} {said}.")


class _Reading:
    """Reads one pipe to its end, keeping no more than so much."""

    def __init__(
        self, pipe: IO[bytes] | None, most: int, too_much: Callable[[], object] | None = None
    ) -> None:
        self.content = b""
        self._pipe, self._most, self._too_much = pipe, most, too_much
        self._thread = threading.Thread(target=self._read, name="mcpnb-helper", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        # Closed where it is read: from elsewhere that would wait for who still holds the other end.
        with self._pipe or contextlib.nullcontext() as pipe:
            while pipe and (piece := os.read(pipe.fileno(), 4096)):
                self.content += piece[: self._most - len(self.content)]
                if len(self.content) == self._most and self._too_much is not None:
                    self._too_much()
                    return

    def ended(self, deadline: float) -> bool:
        self._thread.join(max(deadline - time.monotonic(), 0.001))
        return not self._thread.is_alive()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command with all that it started: what holds its pipes would hold us."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


_known: dict[tuple[str, str | None, str], HeadersHelper] = {}
_lock = ForkSafeLock()


def helper_of(config: ServerConfig) -> HeadersHelper | None:
    """Give the helper of an entry; all who ask in this process share it.

    None where it is ``mcpnb token``, whoever's sake it is there for: that is this program, which
    signs in by itself.
    """
    if not config.headers_helper or os.environ.get(_WITHIN):
        return None
    if _is_ours(config.headers_helper):
        return None
    key = (config.headers_helper, config.source, config.url)
    with _lock:
        return _known.setdefault(key, HeadersHelper(config))


def _is_ours(command: str) -> bool:
    words = helper_words(command)
    words = words.split() if isinstance(words, str) else words
    names = [Path(word).name.lower().removesuffix(".exe") for word in words]
    return any(pair == ("mcpnb", "token") for pair in itertools.pairwise(names))


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

    def usable(self) -> AccessToken:
        """Give what is sent.

        Raises:
            ConfigError: There is none.
        """
        return AccessToken(self.authorization, 0)

    def get(self, *, eager: bool = False) -> AccessToken:
        """Give the same: it does not age."""
        del eager
        return self.usable()

    def refresh(self, generation: int | None = None) -> Future[AccessToken]:
        """Give the same again: there is nothing to renew it with."""
        del generation
        future: Future[AccessToken] = Future()
        try:
            future.set_result(self.usable())
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
