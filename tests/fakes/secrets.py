"""Looking for what must show nowhere: in any bytes, and in any of the forms that it may take."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Self
from urllib.parse import quote, quote_plus

from tests import figures
from tests.fakes.server import FakeServer

_PIECE = 12
"""Characters of its beginning or its end that give away a longer one."""
_SHORTEST = 6
"""Characters of a secret: fewer stand in any text."""
_IN_FORMS = {
    "code": "code",
    "code_verifier": "verifier",
    "refresh_token": "refresh token",
    "token": "revoked token",
    "device_code": "device code",
    "client_secret": "client secret",
}
_IN_METADATA = ("client_secret", "registration_access_token")


class Secrets:
    """Secrets that were planted, and those that servers and sign-ins make meanwhile.

    A search counts what it is for: each secret once, every byte, and what it finds.
    """

    def __init__(self, *fakes: FakeServer, **planted: str) -> None:
        """Know secrets by what they are; those of the fakes as they come about."""
        self._fakes = fakes
        self._known = {value: what.replace("_", " ") for what, value in planted.items()}
        self._counted: set[str] = set()

    def add(self, what: str, *values: str) -> Self:
        """Know more of them."""
        self._known |= dict.fromkeys(values, what)
        return self

    def known(self) -> dict[str, str]:
        """Give every secret by now, and what it is."""
        found = dict(self._known)
        for fake in self._fakes:
            for value, what in _of(fake):
                found.setdefault(value, what)
        return {value: what for value, what in found.items() if len(value) >= _SHORTEST}

    def kinds(self) -> set[str]:
        """Say what there is to be found: a search for nothing finds nothing."""
        return set(self.known().values())

    def found_in(self, data: str | bytes, *, without: Iterable[str] = ()) -> list[str]:
        """Name what is in there and should not, and in which form.

        Args:
            data: What is searched.
            without: What may be in there all the same, such as an address that a person opens.
        """
        text = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        for allowed in without:
            for spelt in {allowed, json.dumps(allowed)[1:-1], html.escape(allowed)}:
                text = text.replace(spelt.encode(), b"")
        known = self.known()
        found = [
            f"{what} ({form}): {value}"
            for value, what in known.items()
            for form, spelt in forms(value)
            if spelt in text
        ]
        figures.add("secrets planted", len(set(known) - self._counted))
        figures.add("bytes searched", len(text))
        figures.add("secrets found", len(found))
        self._counted |= set(known)
        return found

    def absent_from(
        self, places: Mapping[str, str | bytes], *, without: Iterable[str] = ()
    ) -> None:
        """Search places, each by its name, and say where something is, with what is around it."""
        allowed = tuple(without)
        found = {where: self.found_in(data, without=allowed) for where, data in places.items()}
        leaks = {where: what for where, what in found.items() if what}
        assert not leaks, "\n".join(
            f"{what} in {where}: …{self._around(places[where], what)}…"
            for where, all_of_it in leaks.items()
            for what in all_of_it[:4]
        )

    def _around(self, data: str | bytes, what: str) -> str:
        """Give the words before a find: they tell whose it is."""
        text = data if isinstance(data, str) else data.decode("latin-1")
        value = what.partition("): ")[2]
        at = max(text.find(value[:_PIECE]), text.find(value[-_PIECE:]))
        return text[max(at - 300, 0) : at + 60] if at >= 0 else ""


def _of(fake: FakeServer) -> Iterator[tuple[str, str]]:
    """Give all that a fake has given out or was shown, and that signs somebody in."""
    yield from dict.fromkeys(list(fake.access), "access token").items()
    yield from dict.fromkeys([*fake.refresh, *fake.rotated], "refresh token").items()
    yield from dict.fromkeys(list(fake.codes), "code").items()
    for client in list(fake.clients.values()):
        for name in _IN_METADATA:
            yield str(client.get(name) or ""), name.replace("_", " ")
    for request in list(fake.requests):
        for name, what in _IN_FORMS.items():
            for value in request.form.get(name, ()):
                yield value, what
        for value in request.query.get("state", ()):
            yield value, "state"
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme in ("Basic", "Bearer"):
            yield given, f"{scheme} header"


@lru_cache(maxsize=4096)
def forms(value: str) -> tuple[tuple[str, bytes], ...]:
    """Give the forms in which somebody could read a secret, by their names.

    As it is, encoded as logs and files would, turned round, and its two ends: a text that was cut
    short still helps to guess.
    """
    raw = value.encode()
    found = {
        "as it is": raw,
        "reversed": raw[::-1],
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "percent-encoded": quote(value, safe="").encode(),
        "form-encoded": quote_plus(value).encode(),
        "all percent-encoded": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "in JSON": json.dumps(value)[1:-1].encode(),
        "repr": repr(value)[1:-1].encode(),
        "in HTML": html.escape(value).encode(),
        "UTF-16, little end first": value.encode("utf-16-le"),
        "UTF-16, big end first": value.encode("utf-16-be"),
    }
    for shift in range(3):
        found[f"base64, {shift} bytes on"] = _base64(raw, shift, base64.b64encode)
        found[f"base64url, {shift} bytes on"] = _base64(raw, shift, base64.urlsafe_b64encode)
    if len(raw) > _PIECE + 4:
        found |= {"its beginning": raw[:_PIECE], "its end": raw[-_PIECE:]}
    spelt = {form: text for form, text in found.items() if text}
    once = {text: form for form, text in reversed(spelt.items())}
    return tuple((form, text) for text, form in once.items())


def _base64(raw: bytes, shift: int, encode: object) -> bytes:
    """Encode it as it would be in the middle of something, but for what its neighbours change."""
    assert callable(encode)
    encoded: bytes = encode(b"\0" * shift + raw).rstrip(b"=")
    begin, end = (0, 2, 3)[shift], (len(raw) + shift) % 3
    cut = encoded[begin : len(encoded) - (1 if end else 0)]
    return cut if len(cut) >= _PIECE else b""


def files_in(*folders: Path) -> dict[str, bytes]:
    """Give every file beneath some folders, its name before its content; links are not followed."""
    found: dict[str, bytes] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
        with contextlib.suppress(FileNotFoundError):  # a thread that still writes has renamed it
            if stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK):
                found[str(path)] = f"{path.name}\n".encode() + path.read_bytes()
    return found
