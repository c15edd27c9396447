"""The rows of metadata: documents and challenges that lie, bend, or are too much."""

from __future__ import annotations

from tests.threats.row import Removed, Threat

__all__ = ["ROWS"]

_METADATA = "mcpnb/protocol/metadata.py"
_URLS = "mcpnb/protocol/urls.py"
_DISCOVERY = "mcpnb/discovery.py"
_SCOPES = "mcpnb/protocol/scopes.py"

ROWS = (
    Threat(
        "issuer-confusion",
        "Metadata that was fetched for one issuer is another's.",
        "The document's issuer is the one that its address was built from, or none of it is used.",
        "RFC 8414 section 3.3; OpenID Connect Discovery section 4.3",
        (
            Removed(
                _METADATA,
                "if not isinstance(said, str) or not same_issuer(said, issuer):",
                "if not isinstance(said, str):",
            ),
        ),
    ),
    Threat(
        "issuer-that-looks-alike",
        "Issuers that differ in a slash after a path, a case or a port are taken for one.",
        "They are compared byte for byte, but for the slash after a bare origin.",
        "RFC 8414 section 3.3; measured",
        (
            Removed(
                _URLS,
                'return bare_left == bare_right and bare_left.count("/") == 2',
                "return bare_left.lower() == bare_right.lower()",
            ),
        ),
    ),
    Threat(
        "issuer-with-a-query",
        "An issuer's query has its well-known address be any file of that origin.",
        "An issuer with a query or a fragment is refused.",
        "RFC 8414 section 2",
        (Removed(_DISCOVERY, 'if "?" in issuer or "#" in issuer:', "if False:"),),
    ),
    Threat(
        "foreign-document-of-an-older-server",
        "A server without resource metadata serves another's document with an endpoint of its own.",
        "Its own origin is the issuer, and the document has to say so.",
        "RFC 8414 section 3.3; MCP 2025-03-26 authorization",
        (
            Removed(
                _METADATA,
                "not isinstance(said, str) or not same_issuer(said, issuer)",
                "not isinstance(said, str)",
            ),
        ),
    ),
    Threat(
        "resource-confusion",
        "A server's metadata is for another resource, to get a token for that one.",
        "`resource` is this server, or a parent of it on the same origin.",
        "RFC 9728 sections 3.3 and 7.3",
        (Removed(_METADATA, "if not resource_covers(resource, server):", "if False:"),),
    ),
    Threat(
        "resource-that-looks-alike",
        "A resource begins like this server's address and is another (`/mcp`, `/mcpx`).",
        "Whole segments of the path are compared, and the origin as a whole.",
        "RFC 9728 section 3.3; measured with the official SDKs",
        (
            Removed(
                _URLS,
                'return path == base or path.startswith(base + "/")',
                "return path.startswith(base)",
            ),
            Removed(_URLS, " or origin_of(resource) != origin_of(server):", ":"),
        ),
    ),
    Threat(
        "resource-in-disguise",
        "A resource has a user name, a fragment or another query in it.",
        "It is not this server then.",
        "RFC 8707 section 2; RFC 9728 section 3.3; CWE-451",
        (
            Removed(
                _URLS,
                'if "@" in named.netloc or "#" in resource or '
                '(own.query and named.query not in ("", own.query)):',
                "if False:",
            ),
            Removed(_URLS, "if len(resource) > _LONGEST or ", "if "),
        ),
    ),
    Threat(
        "metadata-in-the-clear",
        "A challenge or a document names metadata at plain http, which anybody on the way changes.",
        "It is https, or on this machine; else it is not asked for.",
        "RFC 9728 section 3; RFC 8414 section 3; OAuth 2.1 section 1.5",
        (
            Removed(_DISCOVERY, '        require_endpoint(named, "resource_metadata")\n', ""),
            Removed(_DISCOVERY, '    require_endpoint(issuer, "authorization server")\n', ""),
        ),
    ),
    Threat(
        "metadata-led-elsewhere",
        "A metadata address redirects to another origin.",
        "A redirect is followed within the origin only.",
        "RFC 8414 section 6.1; MCP security best practices 2026-07-28; CWE-601",
        (
            Removed(
                "mcpnb/http/conversation.py",
                "            if not _same_origin(url, target):\n",
                "            if False:\n",
            ),
        ),
    ),
    Threat(
        "metadata-leads-inside",
        "A public server's metadata leads to a private address, a loopback port or cloud metadata.",
        "Addresses are checked after the name is resolved, and the checked one is connected to.",
        "MCP security best practices 2026-07-28 (SSRF); RFC 9728 section 7.7; CWE-918",
        (
            Removed(
                "mcpnb/http/addresses.py",
                "allowed = [a for a in found if may_connect(a, private_ok=private_ok)]",
                "_, allowed = private_ok, found",
            ),
        ),
    ),
    Threat(
        "browser-led-inside",
        "A public server's sign-in page is an address in the person's own network.",
        "A page is outside, too, in whatever way browsers may read its host.",
        "MCP security best practices 2026-07-28 (SSRF); WHATWG URL section 3.5",
        (
            Removed(
                _URLS,
                "if allow_private or _is_private(server) or not _is_private(url):",
                "if True:",
            ),
            Removed(
                "mcpnb/login/preparing.py",
                '"authorization_endpoint",\n        server=config.url,\n'
                "        allow_private=config.allow_private_network,\n",
                '"authorization_endpoint",\n        server=config.url,\n'
                "        allow_private=True,\n",
            ),
            Removed(
                "mcpnb/login/preparing.py",
                '"verification_uri",\n        server=config.url,\n'
                "        allow_private=config.allow_private_network,\n",
                '"verification_uri",\n        server=config.url,\n        allow_private=True,\n',
            ),
        ),
    ),
    Threat(
        "address-that-reads-two-ways",
        "An address has white space, control characters or a backslash, which parsers read each "
        "in a way of their own.",
        "Such an address is none.",
        "WHATWG URL section 4.4; RFC 3986 section 2; CWE-436",
        (
            Removed(
                _URLS,
                'if any(c.isspace() or not c.isprintable() or c == "\\\\" for c in url):',
                "if False:",
            ),
        ),
    ),
    Threat(
        "endpoint-without-end",
        "An endpoint has thousands of characters.",
        "More than 2,000 are none.",
        "RFC 9110 section 4.1; CWE-770",
        (Removed(_URLS, "or not 0 < len(url) <= _LONGEST:", "or not url:"),),
    ),
    Threat(
        "metadata-without-end",
        "A document has megabytes.",
        "One is read, and no more.",
        "RFC 9700 section 2; CWE-770",
        (
            Removed(
                "mcpnb/http/conversation.py",
                "        if len(body) > MAX_BODY:\n",
                "        if False:\n",
            ),
        ),
    ),
    Threat(
        "metadata-not-json",
        "A document is a page, a list, not JSON, or so deep that readers break.",
        "It is a clear error, and nothing is registered.",
        "RFC 8414 section 3.2; RFC 8259 section 9; CWE-674",
        (
            Removed(
                "mcpnb/http/answers.py",
                "except (ValueError, RecursionError):",
                "except UnicodeError:",
            ),
        ),
    ),
    Threat(
        "metadata-suppressed",
        "A server is kept busy, so that its metadata counts as absent and a guess takes its place.",
        "Busy is not absent: the sign-in ends, and may be tried again.",
        "RFC 8414 section 3.2; measured",
        (Removed(_DISCOVERY, "if answer.status in _BUSY:", "if False:"),),
    ),
    Threat(
        "name-twice-in-a-document",
        "A document names a member twice, once for the check and once for the use.",
        "It is read once: the checked value is the one that is used.",
        "RFC 8259 section 4; CWE-436",
    ),
    Threat(
        "challenge-injection",
        "Text in a challenge passes for another challenge, or for a second parameter.",
        "The grammar is followed; of a parameter given twice the first counts.",
        "RFC 9110 section 11.6.1",
        (
            Removed(
                "mcpnb/protocol/challenge.py",
                "current.params.setdefault(name.lower(), value)",
                "current.params[name.lower()] = value",
            ),
            Removed(
                "mcpnb/protocol/challenge.py",
                'bearers = [c for c in parse_challenges(fields) if c.scheme == "bearer"]',
                "bearers = parse_challenges(fields)",
            ),
        ),
    ),
    Threat(
        "flood-of-authorization-servers",
        "A document names hundreds of servers, so that clients flood one.",
        "Five are tried.",
        "RFC 9728 section 7.6; CWE-406",
        (Removed(_DISCOVERY, "for issuer in issuers[:5]:", "for issuer in issuers:"),),
    ),
    Threat(
        "flood-of-scopes",
        "Announced scopes are none, or make an address that nothing opens.",
        "Only what is a scope is asked for, and as much as an address carries.",
        "RFC 6749 section 3.3; RFC 9110 section 4.1",
        (
            Removed(_SCOPES, "if len(kept) == _MOST:", "if False:"),
            Removed(_SCOPES, "if len(scope) < room:", "if True:"),
            Removed(_SCOPES, "filter(_SCOPE.fullmatch, text.split())", "text.split()"),
        ),
    ),
)
