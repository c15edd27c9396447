"""The rows of what travels: where to, by which way, and how much of it."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


_BEST_PRACTICES = "MCP 2026-07-28 security best practices, server-side request forgery"

ROWS = (
    Threat(
        "ssrf-private-address",
        "A public server's metadata leads to services of the kernel's private network.",
        "What a public server names may only be at addresses that the world reaches.",
        _BEST_PRACTICES,
    ),
    Threat(
        "ssrf-cloud-metadata",
        "Metadata leads to where cloud machines keep their credentials.",
        "Those addresses are never contacted, whoever names them and whatever is allowed.",
        f"{_BEST_PRACTICES}; design.md section 5",
    ),
    Threat(
        "ssrf-ipv4-in-ipv6",
        "A private IPv4 address is written as an IPv6 one that embeds it.",
        "Mapped, 6to4, NAT64 and IPv4-compatible addresses are judged by the one inside.",
        "RFC 4291 section 2.5.5; RFC 3056; RFC 6052; RFC 8215",
    ),
    Threat(
        "ssrf-unassigned-ipv6",
        "An IPv6 address outside of what is given out passes for a public one.",
        "Only 2000::/3 is public, and what embeds a public IPv4 address.",
        "RFC 4291 section 2.4; RFC 7915; measured: Python calls ::ffff:0:10.0.0.1 global",
    ),
    Threat(
        "ssrf-one-of-several",
        "A name has a public address and a private one, and the private one is taken.",
        "Each address of a name is judged by itself.",
        _BEST_PRACTICES,
    ),
    Threat(
        "ssrf-by-proxy",
        "A private address goes to the proxy, which is on the private network.",
        "An address that is written as one is judged before the proxy is asked.",
        f"{_BEST_PRACTICES}; design.md section 5",
    ),
    Threat(
        "ssrf-numeric-host",
        "A private address is spelled as a number, in hexadecimal or with parts left out.",
        "Every spelling that resolvers read is read as the address that it is.",
        "WHATWG URL section 3.5; measured: a proxy was asked for 2852039166",
    ),
    Threat(
        "private-server-locked-out",
        "The rules against SSRF lock people out of their own server, and are switched off for it.",
        "A server that the person named may be private, and so may what it names.",
        "design.md section 5",
    ),
    Threat(
        "dns-rebinding-at-connect",
        "A name is public when it is checked, and private when it is connected to.",
        "A name is resolved once, and the checked address is the one connected to.",
        f"{_BEST_PRACTICES} (check, then use)",
    ),
    Threat(
        "dns-rebinding-of-the-server",
        "The server's own name becomes private later, and opens the inside to its metadata.",
        "A server that had a public address once is public for good.",
        "design.md section 5",
    ),
    Threat(
        "pinned-address-without-name",
        "With the address in the place of the name, any certificate of that address would do.",
        "TLS asks for the name and verifies it.",
        "RFC 9110 section 4.3.4; RFC 6066 section 3",
    ),
    Threat(
        "idna-lookalike",
        "A name with letters of some language leads to the owner of another one.",
        "Names are encoded by IDNA 2008 and nothing else.",
        "RFC 5891 section 4.4",
    ),
    Threat(
        "plain-http",
        "An endpoint, or the server itself, is plain http: whoever is on the way reads the token.",
        "https only; http for this machine.",
        "OAuth 2.1 section 1.5",
    ),
    Threat(
        "redirect-with-a-secret",
        "The token, registration, revocation or device endpoint redirects the secret elsewhere.",
        "No redirect of theirs is followed, within the origin neither.",
        "RFC 9700 section 4.12; OAuth 2.1 section 7.5.3",
    ),
    Threat(
        "redirect-of-discovery",
        "A metadata document is fetched from another origin than the one it speaks for.",
        "A redirect is followed within the origin only.",
        "RFC 8414 section 3; MCP 2026-07-28 security best practices",
    ),
    Threat(
        "redirect-loop",
        "Redirects lead round in a circle.",
        "Three are followed.",
        "RFC 9110 section 15.4",
    ),
    Threat(
        "redirect-of-calls",
        "The MCP endpoint redirects a call, and what it asks for, to another server.",
        "The SDK follows redirects within the origin only.",
        "RFC 9700 section 4.12; measured with the SDK's own rule",
        marked=False,
    ),
    Threat(
        "sse-endpoint-elsewhere",
        "The older transport's stream names an endpoint of another origin, or has a call hang.",
        "The SDK refuses it; what it waits for then is bounded.",
        "MCP 2024-11-05 transports; measured: the SDK waits for ever",
    ),
    Threat(
        "header-forwarding",
        "A redirect takes configured headers, which are keys as often as not, to another origin.",
        "They are put on for the server's origin only, and taken off for every other one.",
        "design.md section 3; RFC 9110 section 15.4",
    ),
    Threat(
        "proxy-sees-loopback",
        "A proxy of the environment is given what was meant for this machine, token and all.",
        "Loopback is always connected to directly, in calls too.",
        "RFC 8252 section 8.3; measured: HTTP libraries ask the proxy for 127.0.0.1",
    ),
    Threat(
        "proxy-password-shown",
        "The password in a proxy's address shows in the error about it.",
        "Its address is not repeated.",
        "CWE-532; design.md section 3",
    ),
    Threat(
        "decompression-bomb",
        "A small answer unpacks to gigabytes, packed several times over.",
        "No more is unpacked than may be read, and one packing only.",
        "CWE-409; measured: 3 KB became 2 GB",
    ),
    Threat(
        "huge-body",
        "A document of a gigabyte fills the memory.",
        "A megabyte of an answer is read.",
        "CWE-770; design.md section 5",
    ),
    Threat(
        "huge-head",
        "Megabytes of headers, in one or in many.",
        "The library reads a hundred kilobytes of a head; what is said of it is short.",
        "CWE-770; measured: h11's limit",
        marked=False,
    ),
    Threat(
        "slow-drip",
        "A server sends a byte now and then, in the head or in the body, and never ends.",
        "A request has thirty seconds as a whole; then its connection is ended.",
        "CWE-400; design.md section 5",
    ),
    Threat(
        "endless-stream",
        "An event stream is sent where a document was expected, and has no end.",
        "Of what is only looked at, the head is read.",
        "MCP 2026-07-28 transports",
    ),
    Threat(
        "response-splitting-request",
        "An address that a server names has line ends in it: a header, or a second request.",
        "An address with control characters is none.",
        "CWE-113; RFC 9112 section 11.1",
        marked=False,
    ),
    Threat(
        "dns-rebinding-of-the-listener",
        "A page whose name was made to lead to 127.0.0.1 talks to the loopback listener.",
        "`Host` has to be this machine, or the callback's own.",
        "RFC 9110 section 7.2; design.md section 5",
    ),
    Threat(
        "cross-site-post-to-the-listener",
        "A hostile page posts to the loopback port, or sends what is half HTTP.",
        "Only a plain GET is answered; nothing of a request is repeated.",
        "RFC 8252 section 8.3; design.md section 5",
    ),
    Threat(
        "listener-held-up",
        "Connections that say nothing, or a byte at a time, keep the real answer out.",
        "Every connection has a thread and a time-out of its own, and there is a bound of them.",
        "CWE-400; design.md section 5",
    ),
    Threat(
        "listener-open-to-the-network",
        "The callback's port can be reached by everybody on the same network.",
        "127.0.0.1 is bound, but for a callback address that the person configured.",
        "RFC 8252 section 8.3",
    ),
)
