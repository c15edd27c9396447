"""The rows of a folder that somebody else wrote: before it is trusted, shown, and after."""

from __future__ import annotations

from tests.threats.row import Removed, Threat

__all__ = ["ROWS"]

_READING = "mcpnb/config/reading.py"
_REVIEW = "mcpnb/config/review.py"
_TRUST = "mcpnb/config/trust.py"
_PLACES = "mcpnb/config/places.py"
_PROGRAMS = "mcpnb/config/programs.py"
_ENTRIES = "mcpnb/config/entries.py"

_UNTRUSTED = Removed(
    _READING,
    'trusted = file.kind != "project" or is_trusted(file.path, content)',
    "trusted = True",
)

ROWS = (
    Threat(
        "project-untrusted",
        "A clone's configuration names servers, and has a notebook contact or use them.",
        "A project's file does nothing before its folder's owner agreed to it.",
        "CWE-829; design.md section 4",
        (_UNTRUSTED,),
    ),
    Threat(
        "project-shadows-a-name",
        "A project's entry takes the place of the person's own, by its name or by its address.",
        "Untrusted it shadows nothing; what it would shadow is shown first, however it is spelled.",
        "CWE-427; design.md section 4",
        (
            _UNTRUSTED,
            Removed(_REVIEW, "if other == name or _same(entry.url, url):", "if other == name:"),
        ),
    ),
    Threat(
        "audience-theft",
        "A file has a sign-in bring a token for the company's server, and send it to its own.",
        "Nothing before trust; and who is asked for it is told where such tokens go.",
        "RFC 8707 section 2; RFC 9700 section 4.10.1",
        (
            _UNTRUSTED,
            Removed(
                _REVIEW,
                "if isinstance(resource, str) and _plainly(resource)[:3] != "
                "_plainly(str(url))[:3]:",
                "if False:",
            ),
        ),
    ),
    Threat(
        "project-sends-the-answer-elsewhere",
        "A trusted file's callback address has the code come to another machine.",
        "A project's file, trusted or not, may name a loopback address only.",
        "RFC 9700 section 4.1; design.md section 4",
        (
            Removed(
                _ENTRIES,
                'if self._file.kind != "project" or _is_loopback(url):',
                "if True:",
            ),
        ),
    ),
    Threat(
        "callback-read-otherwise",
        "A callback address is loopback to a parser, and another host to browsers.",
        "A backslash, a user name or a broken host is refused.",
        "WHATWG URL section 4.4",
    ),
    Threat(
        "project-runs-a-helper",
        "A clone's headers helper runs a command as soon as somebody connects.",
        "It runs once its file is trusted, and shows the command before that.",
        "CWE-829; MCP 2026-07-28 security best practices, local servers",
        (_UNTRUSTED,),
    ),
    Threat(
        "helper-by-a-shell",
        "A helper's command has a shell's characters in it.",
        "It is split into words, and no shell runs.",
        "CWE-78",
    ),
    Threat(
        "helper-of-the-working-folder",
        "The folder somebody is in has a program of the helper's name.",
        "A name is looked for in the PATH's absolute folders only.",
        "CWE-426; CWE-427",
        (Removed(_PROGRAMS, "if not os.path.isabs(place):", "if False:"),),
    ),
    Threat(
        "project-named-by-a-variable",
        "`${VAR}` in a clone's address or header sends a secret of the environment away.",
        "Nothing is put in before trust, and nothing of it shows after.",
        "CWE-526; design.md section 4",
        (Removed(_ENTRIES, "expand=self._trusted)", "expand=True)"),),
    ),
    Threat(
        "project-changed-after-trust",
        "A file is changed after somebody agreed to it.",
        "Trust is for just this content.",
        "CWE-367; design.md section 4",
        (Removed(_TRUST, "return bool(said == _agreement(place, content))", "return bool(said)"),),
    ),
    Threat(
        "project-trusted-elsewhere",
        "A copy of a trusted file counts in a hostile folder.",
        "Trust is for just this place.",
        "design.md section 4",
        (
            Removed(
                _TRUST,
                "return folder.resolve() / path.relative_to(folder)",
                "return path.relative_to(folder)",
            ),
        ),
    ),
    Threat(
        "project-swapped-during-review",
        "The file is swapped between being shown and being agreed to.",
        "What was shown is what is trusted.",
        "CWE-367",
        (
            Removed(
                _REVIEW,
                "trust(self.path, self.content)",
                "trust(self.path, self.path.read_bytes())",
            ),
        ),
    ),
    Threat(
        "trust-by-symlink",
        "A hostile folder's link leads to a file that is trusted elsewhere.",
        "A link is trusted where it is, or not at all.",
        "CWE-59",
        (
            Removed(
                _TRUST,
                "return folder.resolve() / path.relative_to(folder)",
                "return path.resolve()",
            ),
        ),
    ),
    Threat(
        "review-hides-text",
        "What does harm stands behind two thousand spaces, or fifty other values.",
        "Beginning and end show, and how much is between them.",
        "CWE-451",
        (
            Removed(
                _REVIEW, "tail = text[: _MOST - _TAIL], text[-_TAIL:]", 'tail = text[:_MOST], ""'
            ),
        ),
    ),
    Threat(
        "project-paints-the-terminal",
        "Names and values of a file paint the terminal that asks whether to trust it.",
        "They are made plain.",
        "CWE-150",
    ),
    Threat(
        "project-bomb",
        "A file that nobody trusts stops every command: too deep, too long, or no text.",
        "What cannot be read is left out, in bounded time.",
        "CWE-400; CWE-674",
        (
            Removed(
                "mcpnb/config/places.py",
                "_MOST_OF_A_PROJECT = 64 * 1024",
                "_MOST_OF_A_PROJECT = 1024 * 1024",
            ),
            Removed(
                "mcpnb/config/keys.py",
                "        if self._quiet:\n            return  # looking",
                "        if False:\n            return  # looking",
            ),
            Removed(
                "mcpnb/config/entries.py",
                'deep = kind == "TOML" and _TOO_DEEP.search(text) is not None',
                "deep = False",
            ),
            Removed("mcpnb/config/reading.py", "if isinstance(error, TooLarge):", "if False:"),
        ),
    ),
    Threat(
        "project-file-is-a-pipe",
        "A pipe or a device in a file's place has everybody wait.",
        "Only files are read, and without waiting.",
        "CWE-400",
    ),
    Threat(
        "project-above-home",
        "A file in the home folder, or above it, counts as a project's everywhere.",
        "The home folder is no project, and nothing above it is looked at.",
        "design.md section 4",
        (Removed(_PLACES, "        if folder == stop:\n            break\n", ""),),
    ),
    Threat(
        "repository-root-planted",
        "Somebody makes a repository of a shared folder above, with a configuration in it.",
        "It is a project like any other: untrusted.",
        "CWE-427; compare CVE-2022-24765, measured",
        (_UNTRUSTED,),
    ),
    Threat(
        "relative-codex-home",
        "CODEX_HOME is relative: each project brings a folder of its own for it.",
        "A relative one is none of the person's.",
        "CWE-427; measured: Codex resolves it in the working folder",
        (Removed(_PLACES, "return folder if folder.is_absolute() else None", "return folder"),),
    ),
    Threat(
        "denied-tool-called",
        "A tool that configuration denies is called by way of the SDK's own session.",
        "It is out of reach there, too.",
        "design.md section 4",
    ),
)
