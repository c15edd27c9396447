"""The rows of registration: clients that are somebody else's, and answers that spoil ours."""

from __future__ import annotations

from tests.threats.row import Removed, Threat

__all__ = ["ROWS"]

_REGISTRATION = "mcpnb/protocol/registration.py"
_KEPT = "mcpnb/registrations.py"
_KEY = "f\"{server.issuer}\\n{redirect_uri or 'device'}\""

ROWS = (
    Threat(
        "registration-of-another-issuer",
        "A client id of one issuer is used at another, which may be somebody else's client.",
        "Registrations are kept per issuer; at another one a new client is registered.",
        "MCP 2026-07-28 client registration (SEP-2352)",
        (Removed(_KEPT, _KEY, "redirect_uri or 'device'"),),
    ),
    Threat(
        "registration-of-another-redirect",
        "A client that was registered for one redirect is used with another.",
        "Registrations are kept per redirect.",
        "RFC 9700 section 2.1; RFC 7591 section 2",
        (Removed(_KEPT, _KEY, "server.issuer"),),
    ),
    Threat(
        "registration-with-another-redirect",
        "The registration's answer names redirects elsewhere.",
        "The redirect is the one that was asked for, whatever the answer says.",
        "RFC 7591 section 3.2.1; RFC 9700 section 4.1",
        (
            Removed(
                "mcpnb/login/preparing.py",
                "        redirect_uri=redirect_uri,\n        resource=discovery.resource,",
                "        redirect_uri='https://evil.example/callback',\n"
                "        resource=discovery.resource,",
            ),
        ),
    ),
    Threat(
        "registration-with-an-unknown-method",
        "The answer assigns a way to authenticate that is not known here.",
        "With a secret a known way is taken, without one none; nothing goes into an address.",
        "RFC 7591 section 2",
        (
            Removed(
                _REGISTRATION,
                'if method not in ("none", "client_secret_basic", "client_secret_post"):',
                "if False:",
            ),
        ),
    ),
    Threat(
        "registration-with-an-unusable-client-id",
        "A client id is text that no request can carry, or a megabyte.",
        "It makes no client, and is not kept.",
        "RFC 6749 appendix A.1; CWE-20",
        (
            Removed(
                _REGISTRATION,
                "if status not in (200, 201) or not _is_visible(client_id):",
                "if status not in (200, 201) or not client_id:",
            ),
        ),
    ),
    Threat(
        "registration-with-an-absurd-end",
        "The end of a secret is no moment of any clock.",
        "It counts as not said.",
        "RFC 7591 section 3.2.1; CWE-20",
        (Removed(_REGISTRATION, "and 0 < expires < _NO_END", "and expires > 0"),),
    ),
    Threat(
        "expired-client-secret",
        "A secret ends between consent and exchange, and the code is lost.",
        "A client whose secret ends within minutes is not used again.",
        "RFC 7591 section 3.2.1; design.md section 3",
        (
            Removed(
                _KEPT,
                "return alive and covers(registration.scopes, wanted)",
                "return covers(registration.scopes, wanted)",
            ),
        ),
    ),
    Threat(
        "registration-led-elsewhere",
        "The registration endpoint redirects: another server would choose the client id.",
        "No redirect is followed for a registration.",
        "MCP security best practices 2026-07-28; CWE-601",
        (
            Removed(
                "mcpnb/http/conversation.py",
                '"follow_redirects": False,',
                '"follow_redirects": True,',
            ),
        ),
    ),
    Threat(
        "registration-without-end",
        "A server refuses each registration, to be asked again and again.",
        "Once more without scopes, and no further.",
        "RFC 7591 section 3.2.2; measured",
    ),
    Threat(
        "registration-access-token",
        "The token that manages a client is stolen from the store.",
        "It is not kept.",
        "RFC 7592 section 3",
    ),
    Threat(
        "client-metadata-document-address",
        "The address of the client metadata document reads as another one.",
        "It is https with a path, and has no user name, fragment or dots for a folder.",
        "MCP 2026-07-28 client registration (SEP-991); RFC 3986 section 6",
        (
            Removed(
                _REGISTRATION,
                '(parts.scheme != "https" and not local)\n'
                '        or not parts.path.strip("/")\n'
                "        or dots\n",
                "False\n",
            ),
            Removed(
                _REGISTRATION,
                '        or "@" in parts.netloc\n        or "#" in url\n',
                "",
            ),
        ),
    ),
    Threat(
        "client-metadata-document-unasked",
        "A server that reads no such documents is given its address for a client id.",
        "It is given to who announces that, or where the person says so.",
        "MCP 2026-07-28 client registration (SEP-991)",
        (
            Removed(
                _REGISTRATION,
                "metadata_ok = bool(config.client_metadata_url) and (\n"
                '        server.client_id_metadata or wanted == "cimd"\n'
                "    )\n",
                "metadata_ok = bool(config.client_metadata_url)\n",
            ),
        ),
    ),
)
