"""The rows of what travels: where to, by which way, and how much of it."""

from __future__ import annotations

from tests.threats.row import Removed, Threat

__all__ = ["ROWS"]

_ADDRESSES = "mcpnb/http/addresses.py"
_CONVERSATION = "mcpnb/http/conversation.py"
_LOOPBACK = "mcpnb/channels/loopback.py"
_CONNECTION = "mcpnb/calls/connection.py"
_BEST_PRACTICES = "MCP 2026-07-28 security best practices, server-side request forgery"

ROWS = (
    Threat(
        "ssrf-private-address",
        "A public server's metadata leads to services of the kernel's private network.",
        "What a public server names may only be at addresses that the world reaches.",
        _BEST_PRACTICES,
        (
            Removed(
                _ADDRESSES,
                "return private_ok or (real.is_global and given_out",
                "return True or (real.is_global and given_out",
            ),
        ),
    ),
    Threat(
        "ssrf-cloud-metadata",
        "Metadata leads to where cloud machines keep their credentials.",
        "Those addresses are never contacted, whoever names them and whatever is allowed.",
        f"{_BEST_PRACTICES}; design.md section 5",
        (
            Removed(_ADDRESSES, "real.is_link_local or real.is_multicast or", "False or"),
            Removed(_ADDRESSES, " or real in _NEVER:", ":"),
        ),
    ),
    Threat(
        "ssrf-ipv4-in-ipv6",
        "A private IPv4 address is written as an IPv6 one that embeds it.",
        "Mapped, 6to4, NAT64 and IPv4-compatible addresses are judged by the one inside.",
        "RFC 4291 section 2.5.5; RFC 3056; RFC 6052; RFC 8215",
        (
            Removed(
                _ADDRESSES,
                "return address.ipv4_mapped or address.sixtofour or address",
                "return address",
            ),
            Removed(
                _ADDRESSES,
                "if compatible or address in _NAT64 or address in _LOCAL_NAT64:",
                "if False:",
            ),
        ),
    ),
    Threat(
        "ssrf-unassigned-ipv6",
        "An IPv6 address outside of what is given out passes for a public one.",
        "Only 2000::/3 is public, and what embeds a public IPv4 address.",
        "RFC 4291 section 2.4; RFC 7915; measured: Python calls ::ffff:0:10.0.0.1 global",
        (Removed(_ADDRESSES, "real.is_global and given_out and", "real.is_global and"),),
    ),
    Threat(
        "ssrf-one-of-several",
        "A name has a public address and a private one, and the private one is taken.",
        "Each address of a name is judged by itself.",
        _BEST_PRACTICES,
        (
            Removed(
                _ADDRESSES,
                "allowed = [a for a in found if may_connect(a, private_ok=private_ok)]",
                "allowed = found if any(may_connect(a, private_ok=private_ok) for a in found) "
                "else []",
            ),
        ),
    ),
    Threat(
        "ssrf-by-proxy",
        "A private address goes to the proxy, which is on the private network.",
        "An address that is written as one is judged before the proxy is asked.",
        f"{_BEST_PRACTICES}; design.md section 5",
        (
            Removed(
                _CONVERSATION,
                "if address is not None and not may_connect(address, "
                "private_ok=own or self._allow_private):",
                "if False:",
            ),
        ),
    ),
    Threat(
        "ssrf-numeric-host",
        "A private address is spelled as a number, in hexadecimal or with parts left out.",
        "Every spelling that resolvers read is read as the address that it is.",
        "WHATWG URL section 3.5; measured: a proxy was asked for 2852039166",
        (
            Removed(
                _ADDRESSES, "return ipaddress.IPv4Address(socket.inet_aton(plain))", "return None"
            ),
            Removed(_ADDRESSES, 'plain = host.removesuffix(".")', "plain = host"),
        ),
    ),
    Threat(
        "private-server-locked-out",
        "The rules against SSRF lock people out of their own server, and are switched off for it.",
        "A server that the person named may be private, and so may what it names.",
        "design.md section 5",
        (
            Removed(
                _ADDRESSES,
                "private = not any(_unwrapped(a).is_global for a in found)",
                "private = False",
            ),
            Removed(_ADDRESSES, "if self._allow_private:", "if False:"),
        ),
    ),
    Threat(
        "dns-rebinding-at-connect",
        "A name is public when it is checked, and private when it is connected to.",
        "A name is resolved once, and the checked address is the one connected to.",
        f"{_BEST_PRACTICES} (check, then use)",
        (Removed(_ADDRESSES, "request.url.copy_with(host=str(address)),", "request.url,"),),
    ),
    Threat(
        "dns-rebinding-of-the-server",
        "The server's own name becomes private later, and opens the inside to its metadata.",
        "A server that had a public address once is public for good.",
        "design.md section 5",
        (Removed(_ADDRESSES, "private and self._own_is_private is not False", "private"),),
    ),
    Threat(
        "pinned-address-without-name",
        "With the address in the place of the name, any certificate of that address would do.",
        "TLS asks for the name and verifies it.",
        "RFC 9110 section 4.3.4; RFC 6066 section 3",
        (Removed(_ADDRESSES, '"sni_hostname": host}', "}"),),
    ),
    Threat(
        "idna-lookalike",
        "A name with letters of some language leads to the owner of another one.",
        "Names are encoded by IDNA 2008 and nothing else.",
        "RFC 5891 section 4.4",
        (Removed(_ADDRESSES, 'request.url.raw_host.decode("ascii")', "request.url.host"),),
    ),
    Threat(
        "plain-http",
        "An endpoint, or the server itself, is plain http: whoever is on the way reads the token.",
        "https only; http for this machine.",
        "OAuth 2.1 section 1.5",
        (
            Removed(
                "mcpnb/protocol/urls.py",
                'if scheme == "http" and not is_loopback_host(host):',
                "if False:",
            ),
            Removed(
                "mcpnb/protocol/urls.py",
                'secure = scheme == "https" or (scheme == "http" and is_loopback_host('
                "parts.hostname))",
                'secure = scheme in ("http", "https")',
            ),
        ),
    ),
    Threat(
        "redirect-with-a-secret",
        "The token, registration, revocation or device endpoint redirects the secret elsewhere.",
        "No redirect of theirs is followed, within the origin neither.",
        "RFC 9700 section 4.12; OAuth 2.1 section 7.5.3",
        (Removed(_CONVERSATION, '"follow_redirects": False,', '"follow_redirects": True,'),),
    ),
    Threat(
        "redirect-of-discovery",
        "A metadata document is fetched from another origin than the one it speaks for.",
        "A redirect is followed within the origin only.",
        "RFC 8414 section 3; MCP 2026-07-28 security best practices",
        (Removed(_CONVERSATION, "if not _same_origin(url, target):", "if False:"),),
    ),
    Threat(
        "redirect-loop",
        "Redirects lead round in a circle.",
        "Three are followed.",
        "RFC 9110 section 15.4",
        (Removed(_CONVERSATION, "_REDIRECTS = 3\n", "_REDIRECTS = 300\n"),),
    ),
    Threat(
        "redirect-of-calls",
        "The MCP endpoint redirects a call, and what it asks for, to another server.",
        "The SDK follows redirects within the origin only.",
        "RFC 9700 section 4.12; measured with the SDK's own rule",
    ),
    Threat(
        "sse-endpoint-elsewhere",
        "The older transport's stream names an endpoint of another origin, or has a call hang.",
        "The SDK refuses it; what it waits for then is bounded.",
        "MCP 2024-11-05 transports; measured: the SDK waits for ever",
        (Removed(_CONNECTION, "async with asyncio.timeout(_CONNECT):", "if True:"),),
    ),
    Threat(
        "header-forwarding",
        "A redirect takes configured headers, which are keys as often as not, to another origin.",
        "They are put on for the server's origin only, and taken off for every other one.",
        "design.md section 3; RFC 9110 section 15.4",
        (
            Removed(
                "mcpnb/calls/configured.py",
                "is_own = origin_of(str(request.url)) == own",
                "is_own = True",
            ),
        ),
    ),
    Threat(
        "proxy-sees-loopback",
        "A proxy of the environment is given what was meant for this machine, token and all.",
        "Loopback is always connected to directly, in calls too.",
        "RFC 8252 section 8.3; measured: HTTP libraries ask the proxy for 127.0.0.1",
        (
            Removed(_CONNECTION, "trust_env=not local,", "trust_env=True,"),
            Removed(
                _CONVERSATION,
                'if parts.host == "localhost" or (address is not None and address.is_loopback):',
                "if False:",
            ),
        ),
    ),
    Threat(
        "proxy-password-shown",
        "The password in a proxy's address shows in the error about it.",
        "Its address is not repeated.",
        "CWE-532; design.md section 3",
        (Removed(_CONVERSATION, "({type(error).__name__}): only", "({proxied}): only"),),
    ),
    Threat(
        "decompression-bomb",
        "A small answer unpacks to gigabytes, packed several times over.",
        "No more is unpacked than may be read, and one packing only.",
        "CWE-409; measured: 3 KB became 2 GB",
        (Removed("mcpnb/unpacking.py", ".decompress(chunk, _STEP)", ".decompress(chunk)"),),
    ),
    Threat(
        "huge-body",
        "A document of a gigabyte fills the memory.",
        "A megabyte of an answer is read.",
        "CWE-770; design.md section 5",
        (Removed(_CONVERSATION, "if len(body) > MAX_BODY:", "if False:"),),
    ),
    Threat(
        "huge-head",
        "Megabytes of headers, in one or in many.",
        "The library reads a hundred kilobytes of a head; what is said of it is short.",
        "CWE-770; measured: h11's limit",
    ),
    Threat(
        "slow-drip",
        "A server sends a byte now and then, in the head or in the body, and never ends.",
        "A request has thirty seconds as a whole; then its connection is ended.",
        "CWE-400; design.md section 5",
        (Removed(_CONVERSATION, "sockets.ended_in(_TOTAL),", "contextlib.nullcontext(),"),),
    ),
    Threat(
        "endless-stream",
        "An event stream is sent where a document was expected, and has no end.",
        "Of what is only looked at, the head is read.",
        "MCP 2026-07-28 transports",
        (Removed(_CONVERSATION, 'b"" if head_only else ', ""),),
    ),
    Threat(
        "response-splitting-request",
        "An address that a server names has line ends in it: a header, or a second request.",
        "An address with control characters is none.",
        "CWE-113; RFC 9112 section 11.1",
    ),
    Threat(
        "dns-rebinding-of-the-listener",
        "A page whose name was made to lead to 127.0.0.1 talks to the loopback listener.",
        "`Host` has to be this machine, or the callback's own.",
        "RFC 9110 section 7.2; design.md section 5",
        (
            Removed(
                _LOOPBACK,
                'if self.headers.get("Host", "").lower() not in self.server.hosts(redirect_uri):',
                "if False:",
            ),
        ),
    ),
    Threat(
        "cross-site-post-to-the-listener",
        "A hostile page posts to the loopback port, or sends what is half HTTP.",
        "Only a plain GET is answered; nothing of a request is repeated.",
        "RFC 8252 section 8.3; design.md section 5",
        (
            Removed(
                _LOOPBACK,
                "    def _reply(self, reply: Reply) -> None:\n",
                "    do_POST = do_GET\n\n    def _reply(self, reply: Reply) -> None:\n",
            ),
        ),
    ),
    Threat(
        "listener-held-up",
        "Connections that say nothing, or a byte at a time, keep the real answer out.",
        "Every connection has a thread and a time-out of its own, and there is a bound of them.",
        "CWE-400; design.md section 5",
        (
            Removed(
                "mcpnb/channels/connections.py",
                "from http.server import ThreadingHTTPServer\n",
                "from http.server import HTTPServer as ThreadingHTTPServer\n",
            ),
        ),
    ),
    Threat(
        "listener-open-to-the-network",
        "The callback's port can be reached by everybody on the same network.",
        "127.0.0.1 is bound, but for a callback address that the person configured.",
        "RFC 8252 section 8.3",
        (Removed(_LOOPBACK, 'if everywhere else "127.0.0.1"', 'if True else "127.0.0.1"'),),
    ),
)
