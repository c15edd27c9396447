"""What the contenders are asked. Each answer comes from a run, against a server of its own."""

from __future__ import annotations

import base64
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.bench.compare_contenders import Contender, NotOffered
from tests.bench.compare_driver import ANSWERED
from tests.bench.compare_lab import PATIENCE, Lab, Place, lab, place
from tests.bench.compare_process import NoAnswer

ELSEWHERE = "https://elsewhere.example"
CROWD = 8
SHORT = 1
"""Seconds that a token lives which is to expire: as few as can be said."""
GRANTED = ("POST /as/token", 200)
TOKEN_TAKES = 0.5
"""Seconds that a renewal takes where many meet: as over a network, and so that they do meet."""


@dataclass(frozen=True)
class Answer:
    """A cell, and what was seen."""

    value: str
    note: str = ""


@dataclass
class Candidate:
    """One contender under examination, and what of its secrets was seen on the way."""

    contender: Contender
    shown: Counter[str] = field(default_factory=Counter)
    lines: int = 0

    @contextmanager
    def place(self, server: Lab, *, keyed: bool = False) -> Iterator[Place]:
        """Have a home; what is written in there counts."""
        with place(server) as here:
            if keyed or self.contender.needs_key:
                self.give_key(here)
            yield here
            self.shown.update(here.shown())
            self.lines += len(here.said)

    def give_key(self, here: Place) -> None:
        """Let its processes in there have a key that is nowhere in its files."""
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        here.variables[self.contender.key_variable] = key

    @contextmanager
    def signed_in(self, lifetime: int | None = None, *, keyed: bool = False) -> Iterator[Place]:
        """Have a home with a login in it, and nothing counted yet."""
        with lab() as server, self.place(server, keyed=keyed) as here:
            server.lifetime = lifetime or self.contender.lives
            told = self.contender.sign_in(here)
            if not server.access:
                raise NoAnswer(f"the sign-in ended with: {told}")
            server.lifetime = self.contender.lives
            server.forget()
            yield here

    def call(self, here: Place) -> str:
        """Call a tool in a fresh process; give what came of it."""
        with self.contender.caller(here) as use:
            return _outcome(use)


def _outcome(use: Callable[[], str]) -> str:
    try:
        return use()
    except NoAnswer as silence:
        return f"no answer: {silence}"


@dataclass(frozen=True)
class Question:
    """One row."""

    title: str
    ask: Callable[[Candidate], Answer]
    wanted: str
    """The answer that mcpnb is meant to give."""
    of_a_hub: bool = False
    """Whether it can be asked of what signs in to one Hub only."""


def _requests(candidate: Candidate) -> Answer:
    with lab() as server, candidate.place(server) as here:
        candidate.contender.sign_in(here)
        seen = [(f"{request.method} {request.path}", status) for request, status in server.answered]
    if GRANTED not in seen:
        return Answer("did not sign in", here.said[-1] if here.said else "")
    asked = [request for request, _ in seen[: seen.index(GRANTED) + 1]]
    twice = {request: times for request, times in Counter(asked).items() if times > 1}
    repeated = sum(twice.values()) - len(twice)
    names = ", ".join(f"{request} {times}x" for request, times in twice.items())
    value = f"{len(asked)}, {repeated} repeated" if repeated else str(len(asked))
    return Answer(value, names or "none twice")


def _extra(server: Lab) -> list[str]:
    return [
        f"{request.method} {request.path}"
        for request, status in server.answered
        if request.path.startswith(("/.well-known/", "/as/", "/oauth/")) or status in {401, 403}
    ]


def _after_restart(candidate: Candidate) -> Answer:
    with candidate.signed_in(lifetime=SHORT) as here:
        time.sleep(SHORT + 0.2)
        here.server.forget()
        told = candidate.call(here)
        extra, browser = _extra(here.server), here.server.sign_ins
    value = f"{len(extra)} more, browser" if browser else f"{len(extra)} more"
    return Answer(value if told == ANSWERED else "error", f"{', '.join(extra)}; {told}")


def _rejected(candidate: Candidate) -> Answer:
    with candidate.signed_in() as here:
        here.server.expire()
        told = candidate.call(here)
        refreshed, browser = here.server.asked_to_refresh, here.server.sign_ins
    value = "browser" if browser else "refreshed" if refreshed else "error"
    return Answer(value if told == ANSWERED or browser else "error", told)


def _crowd_expired(candidate: Candidate) -> Answer:
    with candidate.signed_in(lifetime=SHORT) as here:
        time.sleep(SHORT + 0.2)
        return _crowd(candidate, here)


def _crowd_rejected(candidate: Candidate) -> Answer:
    with candidate.signed_in() as here:
        here.server.expire()
        # They are let go only when all of them have been told.
        here.server.wait_for_refused = CROWD
        return _crowd(candidate, here)


def _crowd(candidate: Candidate, here: Place) -> Answer:
    server = here.server
    server.forget()
    server.token_takes = TOKEN_TAKES
    with ExitStack() as stack:
        uses = [stack.enter_context(candidate.contender.caller(here)) for _ in range(CROWD)]
        with ThreadPoolExecutor(CROWD) as pool:
            told = list(pool.map(_outcome, uses))
    refreshes, browsers = server.asked_to_refresh, server.sign_ins
    server.wait_for_refused = 0
    here.browse(agrees=False)
    server.forget()
    afterwards = candidate.call(here)
    lost = CROWD - told.count(ANSWERED)
    parts = [str(refreshes)]
    parts += [f"{browsers} browsers"] * bool(browsers)
    parts += [f"{lost} calls fail"] * bool(lost)
    parts += ["later ones, too"] * (afterwards != ANSWERED or server.sign_ins > 0)
    others = ", ".join(sorted({outcome for outcome in told if outcome != ANSWERED}))
    return Answer(", ".join(parts), others or f"{CROWD} of {CROWD} calls answered")


def _signs_in_at(candidate: Candidate, breaks: Callable[[Lab], object]) -> tuple[bool, str]:
    with lab() as server, candidate.place(server) as here:
        breaks(server)
        told = _outcome(lambda: candidate.contender.sign_in(here))
        if server.access:
            return True, told
        when = "after the browser" if server.sign_ins else "before the browser"
        return False, f"{when}: {told}"


def _another_iss(server: Lab) -> None:
    server.iss = ELSEWHERE


FORGED: dict[str, Callable[[Lab], object]] = {
    "answer": _another_iss,
    "issuer": lambda server: server.announce(issuer=ELSEWHERE),
    "resource": lambda server: server.describe(resource=f"{ELSEWHERE}/mcp"),
}


def _forged(candidate: Candidate) -> Answer:
    tried = {name: _signs_in_at(candidate, breaks) for name, breaks in FORGED.items()}
    taken = [name for name, (signed_in, _) in tried.items() if signed_in]
    notes = "; ".join(f"{name}, {told}" for name, (_, told) in tried.items())
    return Answer(f"takes another {', '.join(taken)}" if taken else "refused", notes)


def _without_pkce(candidate: Candidate) -> Answer:
    signed_in, told = _signs_in_at(
        candidate, lambda server: server.announce(code_challenge_methods_supported=None)
    )
    return Answer("signs in" if signed_in else "refused", told)


def _at_rest(candidate: Candidate) -> Answer:
    if candidate.contender.name == "MCP SDK":
        return Answer("yours to write")
    with candidate.signed_in() as here:
        tokens = [s for s, what in here.server.secrets().items() if what.endswith(" token")]
        clear = here.holding(*tokens)
        kept = clear or [path for path in here.files() if path.suffix != ".lock"]
        modes = "/".join(sorted({f"{path.stat().st_mode & 0o777:04o}" for path in kept}))
        names = ", ".join(str(path.relative_to(here.home)) for path in kept)
    return Answer(f"{'in clear' if clear else 'not in clear'}, {modes}", names)


def _files_alone(candidate: Candidate) -> Answer:
    contender = candidate.contender
    if contender.name == "MCP SDK":
        return Answer("yours to write")
    keyed = _outcome(lambda: _alone(candidate, keyed=True)) if contender.key_variable else ""
    if contender.needs_key:
        return Answer("yes" if keyed == ANSWERED else "no, its key is yours to keep", keyed)
    plain = _outcome(lambda: _alone(candidate, keyed=False))
    value = "yes" if plain == ANSWERED else "no"
    if keyed:
        value += f"; {'yes' if keyed == ANSWERED else 'no'} with {contender.key_variable}"
    return Answer(value, "; ".join(filter(None, (plain, keyed))))


def _alone(candidate: Candidate, *, keyed: bool) -> str:
    with candidate.signed_in(keyed=keyed) as here:
        here.variables.clear()
        if candidate.contender.needs_key:
            candidate.give_key(here)  # another one: without any it does not start
        here.browse(agrees=False)
        told = candidate.call(here)
        return "wants the browser" if here.server.sign_ins else told


def _elsewhere(candidate: Candidate) -> Answer:
    if candidate.contender.name == "MCP SDK":
        return Answer("yours to write")
    worked, notes = [], []
    for name, way in candidate.contender.ways().items():
        with lab() as server, candidate.place(server) as here:
            server.lifetime = candidate.contender.lives
            here.browse(agrees=False)
            try:
                way(here)
            except NoAnswer as silence:
                notes.append(f"{name}: {silence}")
                continue
            server.forget()
            if (told := candidate.call(here)) == ANSWERED and not server.sign_ins:
                worked.append(name)
            else:
                notes.append(f"{name}: {told}")
    if candidate.contender.ways():
        return Answer(", ".join(worked) or "error", "; ".join(notes))
    with lab() as server, candidate.place(server) as here:
        here.browse(agrees=False)
        told = candidate.call(here)
    return Answer("none found", told)


def _sign_out(candidate: Candidate) -> Answer:
    with candidate.signed_in() as here:
        tokens = [s for s, what in here.server.secrets().items() if what.endswith(" token")]
        candidate.contender.sign_out(here)
        revoked = bool(here.server.asked("/as/revoke"))
        left = here.holding(*tokens)
    parts = ["revoked" if revoked else "not revoked"]
    parts += ["still in its files"] * bool(left)
    asked = ", ".join(_extra(here.server)) or "nothing asked of the server"
    return Answer(", ".join(parts), asked)


def _token(candidate: Candidate) -> Answer:
    with candidate.signed_in() as here:
        command = candidate.contender.token(here)
        done = subprocess.run(
            command,
            env=here.environment({"PATH": "/usr/bin:/bin"}),
            cwd=here.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        given = done.stdout.strip() in here.server.access
    return Answer("yes" if given else "error", "" if given else done.stderr.strip()[:200])


def _shown(candidate: Candidate) -> Answer:
    found = ", ".join(f"{what}" for what in sorted(candidate.shown))
    return Answer(found or "none", f"in {candidate.lines} lines")


def asked(question: Question, candidate: Candidate) -> Answer:
    """Ask one; what goes wrong on the way is the answer."""
    if candidate.contender.only and not question.of_a_hub:
        return Answer(candidate.contender.only)
    try:
        return question.ask(candidate)
    except NotOffered as nothing:
        return Answer("none", str(nothing))
    except NoAnswer as silence:
        return Answer("error", str(silence))


QUESTIONS = (
    Question("requests from URL to signed in", _requests, "6"),
    Question("after a restart, token expired", _after_restart, "1 more", of_a_hub=True),
    Question("after a restart, token refused (401)", _rejected, "refreshed", of_a_hub=True),
    Question("refreshes, 8 processes, expired", _crowd_expired, "1", of_a_hub=True),
    Question("refreshes, 8 processes, 401", _crowd_rejected, "1", of_a_hub=True),
    Question("forged answer, issuer, resource (RFC 9207, 8414, 9728)", _forged, "refused"),
    Question("server that does not announce PKCE", _without_pkce, "refused"),
    Question("token at rest, no keyring there", _at_rest, "not in clear, 0600", of_a_hub=True),
    Question(
        "whoever has its files is signed in, no keyring there",
        _files_alone,
        "yes; no with MCPNB_STORE_KEY",
        of_a_hub=True,
    ),
    Question("browser on another machine", _elsewhere, "paste, device, relay", of_a_hub=True),
    Question("sign-out, at the server", _sign_out, "revoked", of_a_hub=True),
    Question("command that prints the token", _token, "yes", of_a_hub=True),
    Question("secrets in what it printed above", _shown, "none", of_a_hub=True),
)
