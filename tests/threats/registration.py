"""The rows of registration: clients that are somebody else's, and answers that spoil ours."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


_KEY = "f\"{server.issuer}\\n{redirect_uri or 'device'}\""

ROWS = (
    Threat(
        "registration-of-another-issuer",
        "A client id of one issuer is used at another, which may be somebody else's client.",
        "Registrations are kept per issuer; at another one a new client is registered.",
        "MCP 2026-07-28 client registration (SEP-2352)",
    ),
    Threat(
        "registration-of-another-redirect",
        "A client that was registered for one redirect is used with another.",
        "Registrations are kept per redirect.",
        "RFC 9700 section 2.1; RFC 7591 section 2",
    ),
    Threat(
        "registration-with-another-redirect",
        "The registration's answer names redirects elsewhere.",
        "The redirect is the one that was asked for, whatever the answer says.",
        "RFC 7591 section 3.2.1; RFC 9700 section 4.1",
    ),
    Threat(
        "registration-with-an-unknown-method",
        "The answer assigns a way to authenticate that is not known here.",
        "With a secret a known way is taken, without one none; nothing goes into an address.",
        "RFC 7591 section 2",
    ),
    Threat(
        "registration-with-an-unusable-client-id",
        "A client id is text that no request can carry, or a megabyte.",
        "It makes no client, and is not kept.",
        "RFC 6749 appendix A.1; CWE-20",
    ),
    Threat(
        "registration-with-an-absurd-end",
        "The end of a secret is no moment of any clock.",
        "It counts as not said.",
        "RFC 7591 section 3.2.1; CWE-20",
    ),
    Threat(
        "expired-client-secret",
        "A secret ends between consent and exchange, and the code is lost.",
        "A client whose secret ends within minutes is not used again.",
        "RFC 7591 section 3.2.1; design.md section 3",
    ),
    Threat(
        "registration-led-elsewhere",
        "The registration endpoint redirects: another server would choose the client id.",
        "No redirect is followed for a registration.",
        "MCP security best practices 2026-07-28; CWE-601",
    ),
    Threat(
        "registration-without-end",
        "A server refuses each registration, to be asked again and again.",
        "Once more without scopes, and no further.",
        "RFC 7591 section 3.2.2; measured",
        marked=False,
    ),
    Threat(
        "registration-access-token",
        "The token that manages a client is stolen from the store.",
        "It is not kept.",
        "RFC 7592 section 3",
        marked=False,
    ),
    Threat(
        "client-metadata-document-address",
        "The address of the client metadata document reads as another one.",
        "It is https with a path, and has no user name, fragment or dots for a folder.",
        "MCP 2026-07-28 client registration (SEP-991); RFC 3986 section 6",
    ),
    Threat(
        "client-metadata-document-unasked",
        "A server that reads no such documents is given its address for a client id.",
        "It is given to who announces that, or where the person says so.",
        "MCP 2026-07-28 client registration (SEP-991)",
    ),
)
