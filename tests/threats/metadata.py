"""The rows of metadata: documents and challenges that lie, bend, or are too much."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "issuer-confusion",
        "Metadata that was fetched for one issuer is another's.",
        "The document's issuer is the one that its address was built from, or none of it is used.",
        "RFC 8414 section 3.3; OpenID Connect Discovery section 4.3",
    ),
    Threat(
        "issuer-that-looks-alike",
        "Issuers that differ in a slash after a path, a case or a port are taken for one.",
        "They are compared byte for byte, but for the slash after a bare origin.",
        "RFC 8414 section 3.3; measured",
    ),
    Threat(
        "issuer-with-a-query",
        "An issuer's query has its well-known address be any file of that origin.",
        "An issuer with a query or a fragment is refused.",
        "RFC 8414 section 2",
    ),
    Threat(
        "foreign-document-of-an-older-server",
        "A server without resource metadata serves another's document with an endpoint of its own.",
        "Its own origin is the issuer, and the document has to say so.",
        "RFC 8414 section 3.3; MCP 2025-03-26 authorization",
    ),
    Threat(
        "resource-confusion",
        "A server's metadata is for another resource, to get a token for that one.",
        "`resource` is this server, or a parent of it on the same origin.",
        "RFC 9728 sections 3.3 and 7.3",
    ),
    Threat(
        "resource-that-looks-alike",
        "A resource begins like this server's address and is another (`/mcp`, `/mcpx`).",
        "Whole segments of the path are compared, and the origin as a whole.",
        "RFC 9728 section 3.3; measured with the official SDKs",
    ),
    Threat(
        "resource-in-disguise",
        "A resource has a user name, a fragment or another query in it.",
        "It is not this server then.",
        "RFC 8707 section 2; RFC 9728 section 3.3; CWE-451",
    ),
    Threat(
        "metadata-in-the-clear",
        "A challenge or a document names metadata at plain http, which anybody on the way changes.",
        "It is https, or on this machine; else it is not asked for.",
        "RFC 9728 section 3; RFC 8414 section 3; OAuth 2.1 section 1.5",
    ),
    Threat(
        "metadata-led-elsewhere",
        "A metadata address redirects to another origin.",
        "A redirect is followed within the origin only.",
        "RFC 8414 section 6.1; MCP security best practices 2026-07-28; CWE-601",
    ),
    Threat(
        "metadata-leads-inside",
        "A public server's metadata leads to a private address, a loopback port or cloud metadata.",
        "Addresses are checked after the name is resolved, and the checked one is connected to.",
        "MCP security best practices 2026-07-28 (SSRF); RFC 9728 section 7.7; CWE-918",
    ),
    Threat(
        "browser-led-inside",
        "A public server's sign-in page is an address in the person's own network.",
        "A page is outside, too, in whatever way browsers may read its host.",
        "MCP security best practices 2026-07-28 (SSRF); WHATWG URL section 3.5",
    ),
    Threat(
        "address-that-reads-two-ways",
        "An address has white space, control characters or a backslash, which parsers read each "
        "in a way of their own.",
        "Such an address is none.",
        "WHATWG URL section 4.4; RFC 3986 section 2; CWE-436",
    ),
    Threat(
        "endpoint-without-end",
        "An endpoint has thousands of characters.",
        "More than 2,000 are none.",
        "RFC 9110 section 4.1; CWE-770",
    ),
    Threat(
        "metadata-without-end",
        "A document has megabytes.",
        "One is read, and no more.",
        "RFC 9700 section 2; CWE-770",
    ),
    Threat(
        "metadata-not-json",
        "A document is a page, a list, not JSON, or so deep that readers break.",
        "It is a clear error, and nothing is registered.",
        "RFC 8414 section 3.2; RFC 8259 section 9; CWE-674",
    ),
    Threat(
        "metadata-suppressed",
        "A server is kept busy, so that its metadata counts as absent and a guess takes its place.",
        "Busy is not absent: the sign-in ends, and may be tried again.",
        "RFC 8414 section 3.2; measured",
    ),
    Threat(
        "name-twice-in-a-document",
        "A document names a member twice, once for the check and once for the use.",
        "It is read once: the checked value is the one that is used.",
        "RFC 8259 section 4; CWE-436",
        marked=False,
    ),
    Threat(
        "challenge-injection",
        "Text in a challenge passes for another challenge, or for a second parameter.",
        "The grammar is followed; of a parameter given twice the first counts.",
        "RFC 9110 section 11.6.1",
    ),
    Threat(
        "flood-of-authorization-servers",
        "A document names hundreds of servers, so that clients flood one.",
        "Five are tried.",
        "RFC 9728 section 7.6; CWE-406",
    ),
    Threat(
        "flood-of-scopes",
        "Announced scopes are none, or make an address that nothing opens.",
        "Only what is a scope is asked for, and as much as an address carries.",
        "RFC 6749 section 3.3; RFC 9110 section 4.1",
    ),
)
