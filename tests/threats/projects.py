"""The rows of a folder that somebody else wrote: before it is trusted, shown, and after."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "project-untrusted",
        "A clone's configuration names servers, and has a notebook contact or use them.",
        "A project's file does nothing before its folder's owner agreed to it.",
        "CWE-829; design.md section 4",
    ),
    Threat(
        "project-shadows-a-name",
        "A project's entry takes the place of the person's own, by its name or by its address.",
        "Untrusted it shadows nothing; what it would shadow is shown first, however it is spelled.",
        "CWE-427; design.md section 4",
    ),
    Threat(
        "audience-theft",
        "A file has a sign-in bring a token for the company's server, and send it to its own.",
        "Nothing before trust; and who is asked for it is told where such tokens go.",
        "RFC 8707 section 2; RFC 9700 section 4.10.1",
    ),
    Threat(
        "project-sends-the-answer-elsewhere",
        "A trusted file's callback address has the code come to another machine.",
        "A project's file, trusted or not, may name a loopback address only.",
        "RFC 9700 section 4.1; design.md section 4",
    ),
    Threat(
        "callback-read-otherwise",
        "A callback address is loopback to a parser, and another host to browsers.",
        "A backslash, a user name or a broken host is refused.",
        "WHATWG URL section 4.4",
        marked=False,
    ),
    Threat(
        "project-runs-a-helper",
        "A clone's headers helper runs a command as soon as somebody connects.",
        "It runs once its file is trusted, and shows the command before that.",
        "CWE-829; MCP 2026-07-28 security best practices, local servers",
    ),
    Threat(
        "helper-by-a-shell",
        "A helper's command has a shell's characters in it.",
        "It is split into words, and no shell runs.",
        "CWE-78",
        marked=False,
    ),
    Threat(
        "helper-of-the-working-folder",
        "The folder somebody is in has a program of the helper's name.",
        "A name is looked for in the PATH's absolute folders only.",
        "CWE-426; CWE-427",
    ),
    Threat(
        "project-named-by-a-variable",
        "`${VAR}` in a clone's address or header sends a secret of the environment away.",
        "Nothing is put in before trust, and nothing of it shows after.",
        "CWE-526; design.md section 4",
    ),
    Threat(
        "project-changed-after-trust",
        "A file is changed after somebody agreed to it.",
        "Trust is for just this content.",
        "CWE-367; design.md section 4",
    ),
    Threat(
        "project-trusted-elsewhere",
        "A copy of a trusted file counts in a hostile folder.",
        "Trust is for just this place.",
        "design.md section 4",
    ),
    Threat(
        "project-swapped-during-review",
        "The file is swapped between being shown and being agreed to.",
        "What was shown is what is trusted.",
        "CWE-367",
    ),
    Threat(
        "trust-by-symlink",
        "A hostile folder's link leads to a file that is trusted elsewhere.",
        "A link is trusted where it is, or not at all.",
        "CWE-59",
    ),
    Threat(
        "review-hides-text",
        "What does harm stands behind two thousand spaces, or fifty other values.",
        "Beginning and end show, and how much is between them.",
        "CWE-451",
    ),
    Threat(
        "project-paints-the-terminal",
        "Names and values of a file paint the terminal that asks whether to trust it.",
        "They are made plain.",
        "CWE-150",
        marked=False,
    ),
    Threat(
        "project-bomb",
        "A file that nobody trusts stops every command: too deep, too long, or no text.",
        "What cannot be read is left out, in bounded time.",
        "CWE-400; CWE-674",
    ),
    Threat(
        "project-file-is-a-pipe",
        "A pipe or a device in a file's place has everybody wait.",
        "Only files are read, and without waiting.",
        "CWE-400",
        marked=False,
    ),
    Threat(
        "project-above-home",
        "A file in the home folder, or above it, counts as a project's everywhere.",
        "The home folder is no project, and nothing above it is looked at.",
        "design.md section 4",
    ),
    Threat(
        "repository-root-planted",
        "Somebody makes a repository of a shared folder above, with a configuration in it.",
        "It is a project like any other: untrusted.",
        "CWE-427; compare CVE-2022-24765, measured",
    ),
    Threat(
        "relative-codex-home",
        "CODEX_HOME is relative: each project brings a folder of its own for it.",
        "A relative one is none of the person's.",
        "CWE-427; measured: Codex resolves it in the working folder",
    ),
    Threat(
        "denied-tool-called",
        "A tool that configuration denies is called by way of the SDK's own session.",
        "It is out of reach there, too.",
        "design.md section 4",
        marked=False,
    ),
)
