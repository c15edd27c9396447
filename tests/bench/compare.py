"""How mcpnb compares with what else there is: the same questions, answered by runs.

What is compared and not a dependency of the tests is looked for in the folder that `MCPNB_PEERS`
names; without it those columns say how to get it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.compare_contenders import CONTENDERS, Contender
from tests.bench.compare_driver import ANSWERED
from tests.bench.compare_lab import Lab, NoAnswer, Place, place

ELSEWHERE = "https://elsewhere.example"
CROWD = 8
SHORT = 1
"""Seconds that a token lives which is to expire: as few as can be said."""
GRANTED = ("POST /as/token", 200)
TOKEN_TAKES = 0.5
"""Seconds that a refresh takes where many meet: as over a network, and so that they do meet."""


@dataclass(frozen=True)
class Answer:
    """A cell, and what was seen."""

    value: str
    note: str = ""


YOURS = Answer("yours to write")


@dataclass(frozen=True)
class Question:
    """One row."""

    title: str
    ask: Callable[[Contender], Answer]
    wanted: str
    """The answer that mcpnb is meant to give."""
    of_a_hub: bool = True
    """Whether it can be asked of what signs in to one Hub only."""


def side_by_side() -> str:
    """Ask everybody everything; return a table for a README, and what was seen below it."""
    here = [each for each in CONTENDERS if each.version]
    lines = [["", *(f"{each.name} {each.version or ''}".strip() for each in CONTENDERS)]]
    lines.append(["---"] * len(lines[0]))
    notes = []
    for question in QUESTIONS:
        answers = {each.name: asked(question, each) for each in here}
        cells = [answers.get(each.name, Answer("not installed")) for each in CONTENDERS]
        lines.append([question.title, *(answer.value for answer in cells)])
        notes += [f"{question.title}, {who}: {told.note}" for who, told in answers.items()]
    notes += [f"{each.name}: {each.install}" for each in CONTENDERS if each not in here]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join(["side by side", "", *table, "", *notes])


def asked(question: Question, contender: Contender) -> Answer:
    """Ask one; what goes wrong on the way is the answer."""
    if contender.only and not question.of_a_hub:
        return Answer(contender.only)
    try:
        return question.ask(contender)
    except NoAnswer as silence:
        return Answer("error", str(silence))


def _call(contender: Contender, here: Place) -> str:
    """Call a tool in a fresh process; return what came of it."""
    with contender.caller(here) as use:
        return _outcome(use)


def _outcome(use: Callable[[], str]) -> str:
    try:
        return use()
    except NoAnswer as silence:
        return f"no answer: {silence}"


def _requests(contender: Contender) -> Answer:
    with place(contender) as here:
        contender.sign_in(here)
        answered = here.server.answered
        seen = [(f"{request.method} {request.path}", status) for request, status in answered]
    if GRANTED not in seen:
        return Answer("did not sign in", here.said[-1] if here.said else "")
    asked_for = [request for request, _ in seen[: seen.index(GRANTED) + 1]]
    twice = {request: times for request, times in Counter(asked_for).items() if times > 1}
    repeated = sum(twice.values()) - len(twice)
    names = ", ".join(f"{request} {times}x" for request, times in twice.items())
    value = f"{len(asked_for)}, {repeated} repeated" if repeated else str(len(asked_for))
    return Answer(value, names or "none twice")


def _extra(server: Lab) -> list[str]:
    return [
        f"{request.method} {request.path}"
        for request, status in server.answered
        if request.path.startswith(("/.well-known/", "/as/", "/oauth/")) or status in {401, 403}
    ]


def _after_restart(contender: Contender) -> Answer:
    with contender.signed_in(lifetime=SHORT) as here:
        time.sleep(SHORT + 0.2)
        here.server.forget()
        told = _call(contender, here)
        extra, browser = _extra(here.server), here.server.sign_ins
    value = f"{len(extra)} more, browser" if browser else f"{len(extra)} more"
    return Answer(value if told == ANSWERED else "error", f"{', '.join(extra)}; {told}")


def _crowd_expired(contender: Contender) -> Answer:
    with contender.signed_in(lifetime=SHORT) as here:
        time.sleep(SHORT + 0.2)
        return _crowd(contender, here)


def _crowd_rejected(contender: Contender) -> Answer:
    with contender.signed_in() as here:
        here.server.expire()
        # They are let go only when all of them have been told.
        here.server.wait_for_refused = CROWD
        return _crowd(contender, here)


def _crowd(contender: Contender, here: Place) -> Answer:
    server = here.server
    server.forget()
    server.token_takes = TOKEN_TAKES
    with ExitStack() as stack:
        uses = [stack.enter_context(contender.caller(here)) for _ in range(CROWD)]
        with ThreadPoolExecutor(CROWD) as pool:
            told = list(pool.map(_outcome, uses))
    refreshes, browsers = server.asked_to_refresh, server.sign_ins
    server.wait_for_refused = 0
    here.browse(agrees=False)
    server.forget()
    afterwards = _call(contender, here)
    lost = CROWD - told.count(ANSWERED)
    parts = [str(refreshes)]
    parts += [f"{browsers} browsers"] * bool(browsers)
    parts += [f"{lost} calls fail"] * bool(lost)
    parts += ["later ones, too"] * (afterwards != ANSWERED or server.sign_ins > 0)
    others = ", ".join(sorted({outcome for outcome in told if outcome != ANSWERED}))
    return Answer(", ".join(parts), others or f"{CROWD} of {CROWD} calls answered")


def _signs_in_at(contender: Contender, breaks: Callable[[Lab], object]) -> tuple[bool, str]:
    with place(contender) as here:
        breaks(here.server)
        told = _outcome(lambda: contender.sign_in(here))
        if here.server.access:
            return True, told
        when = "after the browser" if here.server.sign_ins else "before the browser"
        return False, f"{when}: {told}"


FORGED: dict[str, Callable[[Lab], object]] = {
    "answer": lambda server: setattr(server, "iss", ELSEWHERE),
    "issuer": lambda server: server.announce(issuer=ELSEWHERE),
    "resource": lambda server: server.describe(resource=f"{ELSEWHERE}/mcp"),
}


def _forged(contender: Contender) -> Answer:
    tried = {name: _signs_in_at(contender, breaks) for name, breaks in FORGED.items()}
    taken = [name for name, (signed_in, _) in tried.items() if signed_in]
    notes = "; ".join(f"{name}, {told}" for name, (_, told) in tried.items())
    return Answer(f"takes another {', '.join(taken)}" if taken else "refused", notes)


def _without_pkce(contender: Contender) -> Answer:
    signed_in, told = _signs_in_at(
        contender, lambda server: server.announce(code_challenge_methods_supported=None)
    )
    return Answer("signs in" if signed_in else "refused", told)


def _at_rest(contender: Contender) -> Answer:
    if contender.storage_is_yours:
        return YOURS
    with contender.signed_in() as here:
        clear = here.holding(*here.server.tokens)
        kept = clear or [path for path in here.files() if path.suffix != ".lock"]
        modes = "/".join(sorted({f"{path.stat().st_mode & 0o777:04o}" for path in kept}))
        names = ", ".join(str(path.relative_to(here.home)) for path in kept)
    return Answer(f"{'in clear' if clear else 'not in clear'}, {modes}", names)


def _files_alone(contender: Contender) -> Answer:
    if contender.storage_is_yours:
        return YOURS
    keyed = _outcome(lambda: _alone(contender, keyed=True)) if contender.key_variable else ""
    if contender.needs_key:
        return Answer("yes" if keyed == ANSWERED else "no, its key is yours to keep", keyed)
    plain = _outcome(lambda: _alone(contender, keyed=False))
    value = "yes" if plain == ANSWERED else "no"
    if keyed:
        value += f"; {'yes' if keyed == ANSWERED else 'no'} with {contender.key_variable}"
    return Answer(value, "; ".join(filter(None, (plain, keyed))))


def _alone(contender: Contender, *, keyed: bool) -> str:
    with contender.signed_in(keyed=keyed) as here:
        here.variables.clear()
        if contender.needs_key:
            contender.give_key(here)  # another one: without any it does not start
        here.browse(agrees=False)
        told = _call(contender, here)
        return "wants the browser" if here.server.sign_ins else told


def _elsewhere(contender: Contender) -> Answer:
    if contender.storage_is_yours:
        return YOURS
    worked, notes = [], []
    for name, way in contender.ways().items():
        with place(contender) as here:
            here.browse(agrees=False)
            try:
                way(here)
            except NoAnswer as silence:
                notes.append(f"{name}: {silence}")
                continue
            here.server.forget()
            if (told := _call(contender, here)) == ANSWERED and not here.server.sign_ins:
                worked.append(name)
            else:
                notes.append(f"{name}: {told}")
    if contender.ways():
        return Answer(", ".join(worked) or "error", "; ".join(notes))
    with place(contender) as here:
        here.browse(agrees=False)
        return Answer("none found", _call(contender, here))


def _sign_out(contender: Contender) -> Answer:
    if contender.storage_is_yours:
        return Answer("none")
    with contender.signed_in() as here:
        tokens = here.server.tokens
        contender.sign_out(here)
        parts = ["revoked" if here.server.asked("/as/revoke") else "not revoked"]
        parts += ["still in its files"] * bool(here.holding(*tokens))
    asked_for = ", ".join(_extra(here.server)) or "nothing asked of the server"
    return Answer(", ".join(parts), asked_for)


QUESTIONS = (
    Question("requests from URL to signed in", _requests, "6", of_a_hub=False),
    Question("after a restart, token expired", _after_restart, "1 more"),
    Question("refreshes, 8 processes, expired", _crowd_expired, "1"),
    Question("refreshes, 8 processes, 401", _crowd_rejected, "1"),
    Question(
        "forged answer, issuer, resource (RFC 9207, 8414, 9728)",
        _forged,
        "refused",
        of_a_hub=False,
    ),
    Question("server that does not announce PKCE", _without_pkce, "refused", of_a_hub=False),
    Question("token at rest, no keyring there", _at_rest, "not in clear, 0600"),
    Question(
        "whoever has its files is signed in, no keyring there",
        _files_alone,
        "yes; no with MCPNB_STORE_KEY",
    ),
    Question("browser on another machine", _elsewhere, "paste, device, relay"),
    Question("sign-out, at the server", _sign_out, "revoked"),
)
