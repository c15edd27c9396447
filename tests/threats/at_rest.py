"""The rows of what lies on disk, and of who else can put something there."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "symlink-in-the-store",
        "A link in the place of a record, the key or a lock leads to a file of somebody's choice.",
        "No link is followed, to read or to write.",
        "CWE-59",
    ),
    Threat(
        "pipe-in-the-store",
        "A pipe in the place of a record has every reader wait for ever.",
        "Files are opened without waiting.",
        "CWE-400",
        marked=False,
    ),
    Threat(
        "file-of-another-user",
        "Another user's record or key lies in the folder: they know what is in it.",
        "What belongs to another user is not read.",
        "CWE-282; design.md section 3",
    ),
    Threat(
        "readable-by-others",
        "Other users of the machine read the records, the key or the names in the folder.",
        "Folder 0700, files 0600, at every instant and whatever the umask.",
        "CWE-732; RFC 9700 section 4.15",
    ),
    Threat(
        "key-file-open-to-others",
        "The key file was made readable to others, by a backup say.",
        "Such a key is refused, with the command that mends it.",
        "CWE-732",
    ),
    Threat(
        "store-key-shown",
        "A malformed MCPNB_STORE_KEY is repeated by the error about it.",
        "The error says how to make one, and nothing of what was there.",
        "CWE-532; design.md section 3",
    ),
    Threat(
        "record-moved",
        "A record is put in the place of another server's or account's, for its token to go there.",
        "A record opens under its own kind and name only.",
        "design.md section 3 (associated data); NIST SP 800-38D, measured",
    ),
    Threat(
        "head-tampered",
        "The readable head of a record is changed: its name, its kind, where its key is.",
        "The head is authenticated with the record.",
        "design.md section 3 (associated data)",
    ),
    Threat(
        "ciphertext-tampered",
        "A bit of a sealed record is turned over.",
        "AES-GCM notices every one; the record is left as it is.",
        "CWE-353; design.md section 3",
    ),
    Threat(
        "nonce-reuse",
        "Two records under one nonce give away AES-GCM's authentication key.",
        "Every write has a fresh random nonce.",
        "RFC 5116 section 5.1.1",
    ),
    Threat(
        "plain-text-at-rest",
        "A thief of the disk, or a backup, reads tokens in some file.",
        "Records are sealed; there is no plain-text mode.",
        "RFC 9700 section 4.15; OAuth 2.1 section 7.1",
    ),
    Threat(
        "temporary-file-left",
        "What was written on the way to a record stays behind, for whoever cleans up last.",
        "A temporary file takes the record's place, or goes.",
        "CWE-459",
    ),
    Threat(
        "half-written-record",
        "A full disk or a kill leaves half a record: the login is lost.",
        "The earlier record is there until the new one is whole.",
        "CWE-367; design.md section 3",
        marked=False,
    ),
    Threat(
        "store-rolled-back",
        "An old copy of the folder, from before a sign-out or a rotation, is put back.",
        "What it holds was revoked or spent at the server; it ends in a sign-in, tried once.",
        "RFC 7009 section 2.1; RFC 9700 section 4.14.2",
    ),
    Threat(
        "pending-sign-in-poisoned",
        "A pending sign-in with somebody else's endpoints waits in the place of one's own.",
        "Pending sign-ins are sealed as logins are; one that does not open is begun anew.",
        "RFC 9700 section 4.4; design.md section 3",
    ),
    Threat(
        "keyring-plug-in",
        "A plug-in of the keyring library, chosen by a file or a variable, is given the key.",
        "Only the keyrings of the systems themselves are used, named one by one.",
        "measured: keyrings.alt writes plain text; design.md section 3",
    ),
)
