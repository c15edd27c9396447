"""The rows of tokens and client secrets: who gets them, and when they are of use."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "token-to-another-origin",
        "A request of a client that has the token goes, or is redirected, to another origin.",
        "The token is attached for the origin that it was got for, and for no other.",
        "RFC 9700 section 4.9.1; MCP 2026-07-28 token handling",
    ),
    Threat(
        "token-in-the-address",
        "A token stands in an address, and so in logs and histories.",
        "Tokens go into headers and bodies only.",
        "OAuth 2.1 section 5.1.1; RFC 6750 section 5.3",
        marked=False,
    ),
    Threat(
        "token-for-another-audience",
        "A token is got that another resource would take as well.",
        "`resource` goes with authorization, exchange and refresh.",
        "RFC 8707 section 2; RFC 9700 section 2.3",
    ),
    Threat(
        "token-of-another-account",
        "A call of one account goes out with another account's token.",
        "Logins are kept per server and account.",
        "design.md section 3; CWE-639",
    ),
    Threat(
        "client-secret-to-a-new-issuer",
        "A server names another authorization server, which is then sent the client secret.",
        "Given credentials are bound to the issuer of their first use; another one is an error.",
        "MCP 2026-07-28 client registration (SEP-2352); RFC 9700 section 4.4",
    ),
    Threat(
        "client-secret-at-refresh",
        "A secret that was configured for a new issuer goes to the old one at a refresh.",
        "A configured secret replaces the stored one only where the issuer is the same.",
        "MCP 2026-07-28 client registration (SEP-2352)",
    ),
    Threat(
        "issuer-not-named",
        "Credentials are for one issuer, and the server names others only.",
        "Where the person gave an issuer, no other one is signed in at.",
        "RFC 9728 section 7.6; MCP 2026-07-28 client registration",
    ),
    Threat(
        "secret-sent-another-way",
        "A secret is sent where it was agreed to send none, or in a second way.",
        "It is sent in the agreed way, and in that one only.",
        "RFC 6749 section 2.3; RFC 7591 section 2",
    ),
    Threat(
        "secret-in-an-error",
        "A server repeats the code, verifier or secret in its error, which is shown and logged.",
        "What was sent is left out of what is told.",
        "RFC 9700 section 4.2; CWE-209",
    ),
    Threat(
        "token-type",
        "A token of another type (DPoP, MAC) is sent as if whoever holds it might use it.",
        "Only bearer tokens are taken.",
        "RFC 6749 section 7.1; RFC 9449 section 5",
    ),
    Threat(
        "token-that-adds-a-header",
        "An access token holds a line break and further headers.",
        "It is visible ASCII without spaces, or no token.",
        "RFC 6750 section 2.1; CWE-113",
    ),
    Threat(
        "answer-without-a-token",
        "The token endpoint answers with something else, or nothing.",
        "The sign-in fails with an error, and nothing is stored.",
        "RFC 6749 section 5.1",
    ),
    Threat(
        "error-beside-a-token",
        "An answer holds both an error and a token.",
        "It counts as an error, whatever its status.",
        "RFC 6749 section 5.2",
    ),
    Threat(
        "absurd-lifetime",
        "A lifetime is no number, negative, or longer than numbers of a clock.",
        "Nonsense counts as not said, and ten years are the most.",
        "RFC 6749 section 5.1; measured",
    ),
    Threat(
        "refresh-token-unfit-to-send",
        "A refresh token is text that no request can carry.",
        "It counts as not given.",
        "RFC 6749 appendix A.17",
    ),
    Threat(
        "refresh-token-lost",
        "An answer without a refresh token has the login forget the one that it has.",
        "The one before is kept.",
        "RFC 6749 section 6",
    ),
    Threat(
        "refresh-led-elsewhere",
        "Metadata that changed later sends the refresh token to another server.",
        "A refresh goes to the endpoint that is stored with the login; nothing is discovered.",
        "RFC 9700 section 4.14; MCP 2026-07-28 authorization server discovery",
        marked=False,
    ),
    Threat(
        "revocation-led-elsewhere",
        "Metadata that changed later sends both tokens to another server at sign-out.",
        "A sign-out goes to the endpoint that is stored with the login.",
        "RFC 7009 section 2.1",
        marked=False,
    ),
    Threat(
        "refresh-token-theft-by-a-sibling",
        "Two kernels present one refresh token; the server takes it for stolen and ends the login.",
        "Under the lock the record is read again, and what a sibling got is adopted.",
        "RFC 9700 section 4.14.2",
    ),
    Threat(
        "refresh-token-replay",
        "The answer to a refresh is lost, and the spent refresh token is presented again.",
        "Not while the access token lives, by no process; once more after that.",
        "RFC 9700 section 4.14.2; design.md section 3",
    ),
    Threat(
        "rejected-token-replay",
        "A server rejects everything, so that each call costs a refresh.",
        "A generation that was renewed and rejected all the same is not renewed again at once.",
        "design.md section 3; measured",
    ),
    Threat(
        "late-refresh-after-a-sign-out",
        "A refresh that was under way brings back a login that somebody signed out of.",
        "A rotation is written in the place of just the record that it began with; else revoked.",
        "design.md section 3; RFC 7009 section 2",
    ),
    Threat(
        "dead-refresh-token",
        "A refresh token that the server ended is presented for ever.",
        "`invalid_grant` ends the login, with any status, and nobody asks again.",
        "RFC 6749 section 5.2; RFC 9700 section 4.14.2",
    ),
    Threat(
        "forged-end-of-a-login",
        "Any error, page or broken answer costs everybody the login.",
        "Only `invalid_grant` ends one.",
        "RFC 6749 section 5.2; design.md section 3",
    ),
    Threat(
        "forgotten-client",
        "A server forgets a client, and the login is thrown away for it.",
        "`invalid_client` forgets the registration; the refresh token stays.",
        "RFC 6749 section 5.2",
    ),
    Threat(
        "scope-widening",
        "A server's challenge or metadata adds to the scopes that a person chose.",
        "Explicit scopes are asked for as they are.",
        "MCP 2026-07-28 scope selection; RFC 9700 section 2.3",
    ),
    Threat(
        "scopes-that-are-none",
        "Granted scopes hold control characters, quotes or what no request can carry.",
        "What is no scope counts for nothing.",
        "RFC 6749 section 3.3",
    ),
    Threat(
        "scope-widening-at-refresh",
        "A refresh asks for more than was consented to.",
        "No `scope` is sent with a refresh; more needs a new consent.",
        "RFC 6749 section 6",
    ),
    Threat(
        "step-up-without-end",
        "A server wants more permission after each sign-in, and the person is sent round.",
        "What was asked for already is refused for good the second time.",
        "MCP 2026-07-28 step-up authorization",
    ),
)
