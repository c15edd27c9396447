"""The rows of the answers that come back: whose they are, and how often they count."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "mix-up",
        "A hostile authorization server sends people to an honest one's page, to have the code.",
        "The answer's `iss` is the issuer of the request, or nothing of the answer is used.",
        "RFC 9207 section 2.4; RFC 9700 section 4.4",
    ),
    Threat(
        "mix-up-missing-iss",
        "The answer of another server comes without the `iss` that was announced.",
        "Who announces `iss` has to send it.",
        "RFC 9207 section 2.4; MCP 2026-07-28 authorization",
    ),
    Threat(
        "mix-up-without-iss",
        "Neither of two servers says who it is, and one borrows the other's page.",
        "Where no `iss` is announced, a redirect registered here has a part per issuer.",
        "RFC 9700 section 4.4.2.2",
    ),
    Threat(
        "iss-that-looks-alike",
        "An `iss` differs only in a slash, a port, a case or an escape.",
        "It is compared as received; nothing is normalised.",
        "RFC 9207 section 2.4; RFC 3986 section 6.2.1",
    ),
    Threat(
        "error-of-another-issuer",
        "An error answer of another server puts its words before the person.",
        "The issuer is checked before anything of an error answer is used or shown.",
        "MCP 2026-07-28 authorization response; RFC 9207 section 2.4",
    ),
    Threat(
        "code-injection",
        "A code stolen from somebody else is put into an answer of one's own sign-in.",
        "Each exchange sends the verifier of its own request, which the stolen code does not fit.",
        "RFC 9700 section 4.5; RFC 7636 section 4.5",
    ),
    Threat(
        "csrf",
        "A page in the person's browser requests the callback with a forged answer.",
        "An answer without this request's `state` is refused, and the wait goes on.",
        "RFC 9700 section 4.7; OAuth 2.1 section 7.12",
    ),
    Threat(
        "login-fixation",
        "Somebody's own, whole, genuine answer is slipped in, so that the person works in their "
        "account.",
        "An answer without this request's `state` is refused, whoever delivers it.",
        "RFC 6749 section 10.12; RFC 9700 section 4.7",
    ),
    Threat(
        "forged-error",
        "Whoever reaches the port ends a sign-in with an error answer.",
        "Error answers, too, have to show `state` before they count.",
        "RFC 6749 section 4.1.2.1",
    ),
    Threat(
        "answer-to-an-earlier-sign-in",
        "The tab of a cancelled sign-in still answers, at the same port.",
        "Each sign-in has a `state` of its own.",
        "OAuth 2.1 section 7.12",
    ),
    Threat(
        "open-redirect-at-the-callback",
        "A link to the callback makes it send the browser on.",
        "It sends on to the second request of this sign-in only, after `state` and `iss`.",
        "RFC 9700 section 4.11.1",
    ),
    Threat(
        "answer-replay",
        "One answer comes twice, to two tabs or two kernels, or is kept and used later.",
        "A code is claimed in the store before it is exchanged, and exchanged once.",
        "RFC 6749 section 4.1.2; RFC 9700 section 4.2.4",
    ),
    Threat(
        "late-answer",
        "An answer is used long after the person has given up.",
        "A pending sign-in has an end, in the store as well.",
        "RFC 9700 section 4.2.4; design.md section 3",
    ),
    Threat(
        "login-after-a-sign-out",
        "Somebody signs out while a code is exchanged; the login comes afterwards.",
        "It is asked under the record's lock whether the login is still wanted; else it is "
        "revoked.",
        "design.md section 3, one record; measured",
    ),
    Threat(
        "answer-to-another-account",
        "The answer for one account completes the sign-in of another.",
        "Pending sign-ins and logins are kept per account.",
        "design.md section 3; CWE-287",
    ),
    Threat(
        "answer-to-other-credentials",
        "A sign-in that was begun with other settings is completed under one's own.",
        "What is pending has to fit client id, issuer, resource, scopes and callback.",
        "MCP 2026-07-28 client registration (credentials bound to the issuer)",
    ),
    Threat(
        "answer-at-another-address",
        "An answer that was sent to another host, port or path is pasted.",
        "Its address is the redirect of the request, component by component.",
        "RFC 9700 section 4.1.3; RFC 8252 section 8.10",
    ),
    Threat(
        "parameters-twice",
        "A second `code`, `state` or `iss` is added to a good answer.",
        "An answer that holds one of them twice is refused.",
        "RFC 6749 section 3.1",
    ),
    Threat(
        "bare-code",
        "Somebody is talked into pasting a code alone, with nothing to check it by.",
        "Only the whole address is taken.",
        "design.md section 3; RFC 9700 section 4.5",
    ),
    Threat(
        "error-beside-a-code",
        "An answer holds both an error and a code.",
        "It counts as an error.",
        "RFC 6749 section 4.1.2.1",
    ),
    Threat(
        "implicit-answer",
        "An answer carries an access token, of somebody else's account or for another client.",
        "Only `response_type=code` is asked for, and only a code is taken.",
        "RFC 9700 section 2.1.2; OAuth 2.1 section 10.1",
    ),
    Threat(
        "relayed-answer-of-another",
        "`mcpnb relay` is made to print an answer that is not the awaited one.",
        "It checks `state`, too, before anything is printed.",
        "RFC 9700 section 4.7; design.md section 2",
    ),
    Threat(
        "code-led-elsewhere",
        "The token endpoint redirects the request, code and verifier included.",
        "No redirect is followed for anything that carries a secret.",
        "RFC 9700 section 4.12; MCP security best practices 2026-07-28; CWE-601",
    ),
)
