"""The rows of a sign-in until the browser leaves: PKCE, addresses, ports."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "guessable-state",
        "`state` or the verifier can be guessed, or is used again.",
        "Both are made anew for each request, of at least 256 random bits.",
        "RFC 6749 section 10.10; RFC 7636 section 7.1",
    ),
    Threat(
        "port-taken-by-another",
        "Another program of the machine holds the registered port, and would get the code.",
        "The port is bound before anything is shown; where no other can be registered, it ends.",
        "RFC 8252 section 8.1; design.md section 3",
    ),
    Threat(
        "listening-everywhere",
        "A stored sign-in makes another process listen on all interfaces.",
        "It does so for a callback address of its own configuration only.",
        "RFC 8252 section 8.3; design.md section 5",
    ),
    Threat(
        "dangerous-address",
        "The page to open, or an endpoint, is `javascript:`, `file:` or plain http.",
        "Endpoints are https, or http on this machine; else nothing is opened or contacted.",
        "OAuth 2.1 section 1.5; MCP security best practices 2026-07-28; CWE-939",
    ),
    Threat(
        "credentials-in-an-endpoint",
        "An endpoint shows one host and leads to another (`https://good@evil`).",
        "An endpoint with a user name or password is refused.",
        "RFC 3986 section 7.5; CWE-451",
    ),
    Threat(
        "dangerous-device-page",
        "The page for the device code is no page.",
        "It is held to the rule for endpoints.",
        "RFC 8628 section 5.3; MCP security best practices 2026-07-28",
    ),
    Threat(
        "injected-request-parameters",
        "The authorization endpoint has parameters of the request in it, or a client id adds some.",
        "Such an endpoint is refused, and values are encoded.",
        "RFC 6749 section 3.1; RFC 9101 section 6.3; CWE-88",
    ),
    Threat(
        "pkce-downgrade",
        "A server does not announce PKCE, so that a stolen code could be used.",
        "Without announced S256 there is no sign-in, unless the person allows it for one server.",
        "MCP 2026-07-28 authorization code protection; RFC 9700 section 4.8.2",
    ),
    Threat(
        "pkce-plain",
        "A server announces only `plain`, which shows the verifier in the request.",
        "Only S256 is sent, and who does not announce it is refused.",
        "RFC 7636 section 7.2; MCP 2026-07-28 authorization code protection",
    ),
    Threat(
        "pkce-downgrade-to-an-older-server",
        "Leaving resource metadata out makes a server one of 2025-03-26, with easier rules.",
        "Its document is held to PKCE as any other.",
        "MCP 2025-03-26 and MCP 2026-07-28, authorization code protection",
    ),
)
