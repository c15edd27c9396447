"""``http_headers_helper``: a local command that prints headers, as Codex and Claude Code have it.

No shell is involved: the command is split into words, on POSIX as a shell would, and started. Its
program is an absolute path, a name on the PATH, or a path beneath the folder that the configuration
file belongs to, where it also runs: the folder somebody happens to be in has no say. It prints one
JSON object, names to values, within ten seconds and 64 KiB. What it printed is kept by this process
until the server refuses it.
"""

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
from pathlib import Path
from typing import IO

from mcpnb.config.keys import header_can_be_set, helper_words
from mcpnb.config.places import folder_of
from mcpnb.config.programs import first_word, program_path
from mcpnb.errors import ConfigError, bare, plain, quoted
from mcpnb.locks import ForkSafeLock
from mcpnb.models import Secret, ServerConfig

__all__ = ["HeadersHelper", "helper_of"]

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
        raise bare(failure)  # the frames it came from hold what was printed

    def _understood(self) -> Mapping[str, Secret]:
        code, out, err = self._printed()
        if code != 0:
            said = f": {quoted(err.decode(errors='replace').strip(), _QUOTED)}" if err else ""
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
                raise self._failed(
                    f"printed {quoted(name, 80)}, which is no header that can be set"
                )
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
            raise self._failed(f"cannot be run: {plain(error)}") from None
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
            raise self._failed(f"cannot be run: {plain(word, 80)} is not on the PATH")
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
