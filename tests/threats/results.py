"""The rows of what a server answers to calls, and of the folder that logins are kept in."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "endless-schema",
        "A server announces an output schema whose checking takes for ever, and stops the kernel.",
        "Results are checked only against schemas whose work is bounded by what was sent.",
        "CWE-1333; measured: a pattern and 27 letters hold the interpreter for eight seconds",
    ),
    Threat(
        "endless-answer",
        "A server's answer, packed small, fills the memory.",
        "An answer is unpacked in small steps, and given up beyond 64 MiB.",
        "CWE-409; measured: 200 KiB of gzip made the process a gigabyte larger",
    ),
    Threat(
        "unknown-packing",
        "A server packs its answer in a way whose unpacking has no limit.",
        "Only what was asked for is unpacked: gzip, here, and in steps.",
        "CWE-409; RFC 9110 section 12.5.3",
    ),
    Threat(
        "shared-store-folder",
        "One of the group takes a login out of the folder and puts it back after the sign-out.",
        "A folder that others may write to is not used.",
        "CWE-732; measured: the login was there again",
    ),
)
