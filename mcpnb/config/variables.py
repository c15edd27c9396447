"""``${VAR}`` in ``.mcp.json``, as Claude Code has it: put in, and hidden in texts for people."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote

from mcpnb.oauth.models import Expanded, Secret, ServerConfig
from mcpnb.oauth.urls import host_of, host_span
from mcpnb.text import add_secret

# Claude Code's own grammar: ${VAR}, and ${VAR:-default}.
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

_LONG = 8
"""Characters. A shorter value is hidden within its address only: other texts would lose letters."""
_SECRET_NAME = re.compile(
    r"auth|cookie|cred|key|pass|pwd|secret|session|signature|token", re.IGNORECASE
)
_SECRET_WORD = re.compile(r"(?<![a-z])(?:key|pass|password|secret|token)(?![a-z])", re.IGNORECASE)
_WORD = r"(?:[A-Z]?[a-z]{1,15}|[A-Z]{1,15})?[0-9]{0,6}"
_WORDS = re.compile(rf"{_WORD}(?:[-_./: ]{_WORD}){{0,3}}")
"""What names a stage, a region or a tenant: ``production``, ``us-central1``, ``acme/team_2``."""


class Unset(Exception):
    """A value needs a variable that is not set."""

    def __init__(self, variable: str, *place: str) -> None:
        super().__init__(variable)
        self.variable = variable
        self.place = place
        """The keys under which the value stands: ``url``, or ``headers`` and the header's name."""


def names_in(text: str) -> list[str]:
    """Return the names of the environment variables that a value refers to."""
    return [match[1] for match in _variables(text)]


def with_defaults(text: str) -> str:
    """Return the value that results where none of its variables is set."""
    return _replaced(text, lambda match: match[2] or "")[0]


def put_in(
    url: str, headers: Mapping[str, str]
) -> tuple[str, dict[str, str], tuple[Expanded, ...]]:
    """Put the environment's values into an address and its headers, and hide them from now on.

    Returns:
        The address, the headers, and the parts of the address that may be secret: all but the host.
        DNS and TLS tell the host to everybody, and a person has to see it.

    Raises:
        Unset: A variable has neither a value nor a default.
    """
    url, spans = _expanded(url, "url")
    expanded = {name: _expanded(text, "headers", name) for name, text in headers.items()}
    scheme, (before_host, behind_host) = url.find("://") + 3, host_span(url)
    hidden = tuple(
        Expanded(variable, Secret(piece))
        for variable, begin, end in spans
        for piece in (
            url[max(begin, scheme) : min(end, before_host)],
            url[max(begin, behind_host) : end].lstrip("/"),
        )
        if piece
    )
    hosts = _hosts(url)
    if hidden:
        _hide_address(url, hidden, hosts)
    for name, (text, spans) in expanded.items():
        for variable, begin, end in spans:
            _hide(Expanded(variable, Secret(text[begin:end])), hosts, name)
    return url, {name: text for name, (text, _) in expanded.items()}, hidden


Spans = list[tuple[str, int, int]]
"""Variable, begin and end of each part that the environment gave."""


def _variables(text: str) -> Iterator[re.Match[str]]:
    # Up to the last bracket only: behind it, each opening would be searched to the end of the text
    # (measured: 6 s for 32 KiB of "${a:-").
    # threat: project-bomb
    return _VARIABLE.finditer(text, 0, text.rfind("}") + 1)


def _replaced(text: str, value: Callable[[re.Match[str]], str]) -> tuple[str, Spans]:
    found, end = "", 0
    spans: Spans = []
    for match in _variables(text):
        found += text[end : match.start()]
        begin, end = len(found), match.end()
        found += value(match)
        spans.append((match[1], begin, len(found)))
    return found + text[end:], spans


def _expanded(text: str, *place: str) -> tuple[str, Spans]:
    given = {name: os.environ.get(name) for name in names_in(text)}

    def value(match: re.Match[str]) -> str:
        found = given[match[1]] if given[match[1]] is not None else match[2]
        if found is None:
            raise Unset(match[1], *place)
        return found

    found, spans = _replaced(text, value)
    # A default stands in the file for everybody to read.
    return found, [span for span in spans if given[span[0]] is not None]


def _hide_address(url: str, hidden: tuple[Expanded, ...], hosts: tuple[str, ...]) -> None:
    """Hide the parts of an address: by themselves, and within it however short they are."""
    shown = ServerConfig(url=url, hidden=hidden).shown
    (first, last), (begin, end) = host_span(url), host_span(shown)
    person = url[:first].partition("://")[2]
    any_secret = False
    for part in hidden:
        # A user name or password is a secret, whatever it looks like.
        any_secret |= _hide(part, hosts, "password" if part.value.reveal() in person else "")
    of = None if any_secret else hosts
    for spelled in (url[first:last], url[first:last].lower()):
        add_secret(person + spelled + url[last:], shown.partition("://")[2], hosts=of)
        add_secret(spelled + url[last:], shown[begin:], hosts=of)
    if len(url) - last >= _LONG:
        add_secret(url[last:], shown[end:], hosts=of)


def _hide(part: Expanded, hosts: tuple[str, ...], used_as: str) -> bool:
    """Hide what a variable gave; return whether it is a secret, rather than a word.

    A secret is hidden wherever it turns up: no message can tell which server it came from. A word
    (``STAGE=production``) stands in texts that have nothing to do with this server.
    """
    value = part.value.reveal()
    secret = (
        _SECRET_NAME.search(f"{part.variable} {used_as}") is not None
        or _SECRET_WORD.search(value) is not None
        or _WORDS.fullmatch(value) is None
    )
    for text in {value, _encoded(value)}:
        if len(text) >= _LONG:
            add_secret(text, part.shown, hosts=None if secret else hosts)
    return secret


def _hosts(url: str) -> tuple[str, ...]:
    """Return what messages about a server call it: host and port, in any of their spellings."""
    begin, end = host_span(url)
    found = {url[begin:end].lower()}
    with suppress(ValueError):
        found.add(host_of(url))
    port = ":443" if url.lower().startswith("https:") else ":80"
    found = {host.removesuffix(port) for host in found if host}
    return (*found, *(_encoded(host).lower() for host in found))


def _encoded(text: str) -> str:
    # An environment may hold bytes that are no text, and on Windows half characters.
    try:
        return quote(text, safe="", errors="surrogateescape")
    except UnicodeEncodeError:
        return text
