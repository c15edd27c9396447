"""Names from a server, in a spelling that Python code can use."""

from __future__ import annotations

import keyword
import re
import unicodedata
from typing import TYPE_CHECKING

from mcpnb.errors import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["python_names"]

_LONGEST_NAME = 64


def python_names(
    names: Iterable[str], taken: Iterable[str] = (), *, public: bool = False
) -> dict[str, str]:
    """Give each name a spelling that Python code can use, and each spelling to one name only.

    Identifiers stay as they are; other characters, and invisible ones, become ``_``; a keyword or a
    name that is taken gets trailing underscores. With `public`, leading underscores go, so that a
    name can never pass for one of Python's or IPython's own hooks.
    """
    names = list(dict.fromkeys(names))
    used = set(taken)
    spelled = {
        name: name
        for name in names
        if _is_plain(name) and name not in used and not (public and name.startswith("_"))
    }
    used.update(spelled)
    for name in names:
        if name not in spelled:
            spelled[name] = _spelling(name, used, public=public)
            used.add(spelled[name])
    return spelled


def _spelling(name: str, used: set[str], *, public: bool) -> str:
    spelling = re.sub(r"\W", "_", plain(unicodedata.normalize("NFKC", name[:_LONGEST_NAME])))
    spelling = spelling.lstrip("_") if public else spelling
    if not spelling.isidentifier():
        spelling = f"_{spelling}"
    if not spelling.isidentifier():
        spelling = "_"
    # threat: tool-that-shadows-another
    while spelling in used or keyword.iskeyword(spelling):
        spelling += "_"
    return spelling


def _is_plain(name: str) -> bool:
    # Python reads source in NFKC (PEP 3131): another form of a name could never be typed.
    return (
        len(name) <= _LONGEST_NAME
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and unicodedata.is_normalized("NFKC", name)
        # threat: invisible-text
        and plain(name) == name  # some letters that Python takes are not to be seen
    )
