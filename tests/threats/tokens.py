"""The rows of tokens and client secrets: who gets them, and when they are of use."""

from __future__ import annotations

from tests.threats.row import Removed, Threat

__all__ = ["ROWS"]

_TOKEN = "mcpnb/protocol/token.py"
_RENEWING = "mcpnb/tokens/renewing.py"

ROWS = (
    Threat(
        "token-to-another-origin",
        "A request of a client that has the token goes, or is redirected, to another origin.",
        "The token is attached for the origin that it was got for, and for no other.",
        "RFC 9700 section 4.9.1; MCP 2026-07-28 token handling",
        (
            Removed(
                "mcpnb/auth.py",
                "return (url.scheme, url.raw_host, port) == self._origin",
                "return True",
            ),
        ),
    ),
    Threat(
        "token-in-the-address",
        "A token stands in an address, and so in logs and histories.",
        "Tokens go into headers and bodies only.",
        "OAuth 2.1 section 5.1.1; RFC 6750 section 5.3",
    ),
    Threat(
        "token-for-another-audience",
        "A token is got that another resource would take as well.",
        "`resource` goes with authorization, exchange and refresh.",
        "RFC 8707 section 2; RFC 9700 section 2.3",
        (
            Removed(
                _TOKEN,
                "code_verifier=request.verifier.reveal(),\n        resource=request.resource,\n",
                "code_verifier=request.verifier.reveal(),\n",
            ),
            Removed(_TOKEN, ", resource=record.resource\n", "\n"),
            Removed(
                "mcpnb/protocol/authorization.py",
                'code_challenge_method="S256",\n            resource=self.resource,\n',
                'code_challenge_method="S256",\n',
            ),
        ),
    ),
    Threat(
        "token-of-another-account",
        "A call of one account goes out with another account's token.",
        "Logins are kept per server and account.",
        "design.md section 3; CWE-639",
        (
            Removed(
                "mcpnb/tokens/stored.py",
                'return Key("login", f"{server}\\n{account}" if account else server)',
                'return Key("login", server)',
            ),
        ),
    ),
    Threat(
        "client-secret-to-a-new-issuer",
        "A server names another authorization server, which is then sent the client secret.",
        "Given credentials are bound to the issuer of their first use; another one is an error.",
        "MCP 2026-07-28 client registration (SEP-2352); RFC 9700 section 4.4",
        (
            Removed(
                "mcpnb/protocol/registration.py",
                "if bound is not None and not same_issuer(bound, server.issuer):",
                "if False:",
            ),
        ),
    ),
    Threat(
        "client-secret-at-refresh",
        "A secret that was configured for a new issuer goes to the old one at a refresh.",
        "A configured secret replaces the stored one only where the issuer is the same.",
        "MCP 2026-07-28 client registration (SEP-2352)",
        (
            Removed(
                _RENEWING,
                " or config.issuer not in (None, registration.issuer):",
                ":",
            ),
        ),
    ),
    Threat(
        "issuer-not-named",
        "Credentials are for one issuer, and the server names others only.",
        "Where the person gave an issuer, no other one is signed in at.",
        "RFC 9728 section 7.6; MCP 2026-07-28 client registration",
        (
            Removed(
                "mcpnb/discovery.py",
                "issuers = [i for i in issuers if same_issuer(i, wanted)]",
                "_ = wanted",
            ),
            Removed(
                "mcpnb/discovery.py",
                "if config.issuer is not None and not same_issuer(issuer, config.issuer):",
                "if False:",
            ),
        ),
    ),
    Threat(
        "secret-sent-another-way",
        "A secret is sent where it was agreed to send none, or in a second way.",
        "It is sent in the agreed way, and in that one only.",
        "RFC 6749 section 2.3; RFC 7591 section 2",
        (
            Removed(
                _TOKEN,
                'if registration.auth_method == "client_secret_post" and secret is not None:',
                "if secret is not None:",
            ),
        ),
    ),
    Threat(
        "secret-in-an-error",
        "A server repeats the code, verifier or secret in its error, which is shown and logged.",
        "What was sent is left out of what is told.",
        "RFC 9700 section 4.2; CWE-209",
        (
            Removed(
                _TOKEN,
                'code, said = code.replace(secret, "*****"), said.replace(secret, "*****")',
                "pass",
            ),
        ),
    ),
    Threat(
        "token-type",
        "A token of another type (DPoP, MAC) is sent as if whoever holds it might use it.",
        "Only bearer tokens are taken.",
        "RFC 6749 section 7.1; RFC 9449 section 5",
        (
            Removed(
                _TOKEN, 'if not isinstance(kind, str) or kind.lower() != "bearer":', "if False:"
            ),
        ),
    ),
    Threat(
        "token-that-adds-a-header",
        "An access token holds a line break and further headers.",
        "It is visible ASCII without spaces, or no token.",
        "RFC 6750 section 2.1; CWE-113",
        (
            Removed(
                _TOKEN,
                "if not isinstance(access, str) or not _HEADER_SAFE.fullmatch(access):",
                "if not isinstance(access, str):",
            ),
        ),
    ),
    Threat(
        "answer-without-a-token",
        "The token endpoint answers with something else, or nothing.",
        "The sign-in fails with an error, and nothing is stored.",
        "RFC 6749 section 5.1",
        (Removed(_TOKEN, "if not isinstance(document, dict):", "if document == 0:"),),
    ),
    Threat(
        "error-beside-a-token",
        "An answer holds both an error and a token.",
        "It counts as an error, whatever its status.",
        "RFC 6749 section 5.2",
        (
            Removed(
                "mcpnb/grants.py",
                'if reply.status != 200 or document is None or "error" in document:',
                "if reply.status != 200 or document is None:",
            ),
        ),
    ),
    Threat(
        "absurd-lifetime",
        "A lifetime is no number, negative, or longer than numbers of a clock.",
        "Nonsense counts as not said, and ten years are the most.",
        "RFC 6749 section 5.1; measured",
        (
            Removed(
                _TOKEN,
                "return min(seconds, _MAX_LIFETIME) if seconds > 0 else None",
                "return seconds",
            ),
        ),
    ),
    Threat(
        "refresh-token-unfit-to-send",
        "A refresh token is text that no request can carry.",
        "It counts as not given.",
        "RFC 6749 appendix A.17",
        (Removed(_TOKEN, " and _VISIBLE.fullmatch(refresh_token)", " and refresh_token"),),
    ),
    Threat(
        "refresh-token-lost",
        "An answer without a refresh token has the login forget the one that it has.",
        "The one before is kept.",
        "RFC 6749 section 6",
        (Removed(_TOKEN, "else (previous.refresh_token if previous else None),", "else None,"),),
    ),
    Threat(
        "refresh-led-elsewhere",
        "Metadata that changed later sends the refresh token to another server.",
        "A refresh goes to the endpoint that is stored with the login; nothing is discovered.",
        "RFC 9700 section 4.14; MCP 2026-07-28 authorization server discovery",
    ),
    Threat(
        "revocation-led-elsewhere",
        "Metadata that changed later sends both tokens to another server at sign-out.",
        "A sign-out goes to the endpoint that is stored with the login.",
        "RFC 7009 section 2.1",
    ),
    Threat(
        "refresh-token-theft-by-a-sibling",
        "Two kernels present one refresh token; the server takes it for stolen and ends the login.",
        "Under the lock the record is read again, and what a sibling got is adopted.",
        "RFC 9700 section 4.14.2",
        (Removed(_RENEWING, "if record.generation != seen and not expired(record):", "if False:"),),
    ),
    Threat(
        "refresh-token-replay",
        "The answer to a refresh is lost, and the spent refresh token is presented again.",
        "Not while the access token lives, by no process; once more after that.",
        "RFC 9700 section 4.14.2; design.md section 3",
        (
            Removed(
                _RENEWING,
                "return time.time() < max(setback.until, setback.at + pause)",
                "return False",
            ),
        ),
    ),
    Threat(
        "rejected-token-replay",
        "A server rejects everything, so that each call costs a refresh.",
        "A generation that was renewed and rejected all the same is not renewed again at once.",
        "design.md section 3; measured",
        (
            Removed(
                "mcpnb/tokens/source.py",
                "return 0.0 <= time.time() - moment < _DOUBT_LASTS",
                "return moment < 0",
            ),
        ),
    ),
    Threat(
        "late-refresh-after-a-sign-out",
        "A refresh that was under way brings back a login that somebody signed out of.",
        "A rotation is written in the place of just the record that it began with; else revoked.",
        "design.md section 3; RFC 7009 section 2",
        (
            Removed(
                "mcpnb/tokens/stored.py",
                "if found is None or _identity(found) != _identity(marked):",
                "if False:",
            ),
        ),
    ),
    Threat(
        "dead-refresh-token",
        "A refresh token that the server ended is presented for ever.",
        "`invalid_grant` ends the login, with any status, and nobody asks again.",
        "RFC 6749 section 5.2; RFC 9700 section 4.14.2",
        (Removed(_RENEWING, "tokens = replace(tokens, refresh_token=None)", "pass"),),
    ),
    Threat(
        "forged-end-of-a-login",
        "Any error, page or broken answer costs everybody the login.",
        "Only `invalid_grant` ends one.",
        "RFC 6749 section 5.2; design.md section 3",
        (Removed(_RENEWING, 'if error.error == "invalid_grant":', "if error.status:"),),
    ),
    Threat(
        "forgotten-client",
        "A server forgets a client, and the login is thrown away for it.",
        "`invalid_client` forgets the registration; the refresh token stays.",
        "RFC 6749 section 5.2",
        (
            Removed(
                _RENEWING,
                'if setback.error == "invalid_client" and marked.registration.method == "dcr":',
                "if False:",
            ),
        ),
    ),
    Threat(
        "scope-widening",
        "A server's challenge or metadata adds to the scopes that a person chose.",
        "Explicit scopes are asked for as they are.",
        "MCP 2026-07-28 scope selection; RFC 9700 section 2.3",
        (
            Removed(
                "mcpnb/protocol/scopes.py",
                "    if explicit is not None:\n        return explicit, False\n",
                "    challenged = union(explicit, challenged)\n",
            ),
        ),
    ),
    Threat(
        "scopes-that-are-none",
        "Granted scopes hold control characters, quotes or what no request can carry.",
        "What is no scope counts for nothing.",
        "RFC 6749 section 3.3",
        (Removed(_TOKEN, "scopes = named(scope)", "scopes = tuple(scope.split())"),),
    ),
    Threat(
        "scope-widening-at-refresh",
        "A refresh asks for more than was consented to.",
        "No `scope` is sent with a refresh; more needs a new consent.",
        "RFC 6749 section 6",
        (
            Removed(
                _TOKEN,
                ", resource=record.resource\n",
                ', resource=record.resource, scope="everything"\n',
            ),
        ),
    ),
    Threat(
        "step-up-without-end",
        "A server wants more permission after each sign-in, and the person is sent round.",
        "What was asked for already is refused for good the second time.",
        "MCP 2026-07-28 step-up authorization",
        (
            Removed(
                "mcpnb/tokens/refusals.py",
                "covers(record.requested_scopes, scopes)\n            if scopes",
                "False\n            if scopes",
            ),
        ),
    ),
)
