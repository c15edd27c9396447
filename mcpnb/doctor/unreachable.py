"""Why there was no answer: DNS, TCP, TLS or time, and whose side that is on."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

from mcpnb.doctor.report import Side
from mcpnb.errors import ServerUnreachable
from mcpnb.text import quote

__all__ = ["CHECK_ADDRESS", "Why", "why_unreachable"]

CHECK_ADDRESS = (
    "Check the address: it is the one of the MCP endpoint, and often ends in /mcp or /sse."
)


class Why(NamedTuple):
    """What failed, whose side it is on, and what to do."""

    what: str
    side: Side
    fix: str


_DNS = Why(
    "DNS: the name is not known here",
    "your configuration",
    "Check the address for a typing error. If it is right, this machine's DNS or VPN does not "
    "know the name.",
)
_TLS = Why(
    "TLS: no secure connection could be made",
    "your configuration",
    "Check the port: it seems not to speak TLS. Else the server's TLS is too old or broken, or a "
    "proxy is in the way.",
)
_WRONG_CERTIFICATE = Why(
    "TLS: the server's certificate has ended, or is for another name",
    "server operator",
    "The certificate has to be renewed, or made for this name. Check the clock of this machine, "
    "too.",
)
_UNTRUSTED = Why(
    "TLS: the server's certificate is not trusted by this machine",
    "this machine",
    "If a company's proxy or authority made it, add that authority to the system's trusted "
    "certificates, or name its file in SSL_CERT_FILE. Else the operator has to send the whole "
    "chain of a public authority.",
)
_REFUSED = Why(
    "TCP: the connection was refused, nothing listens there",
    "server operator",
    "Check host and port; if they are right, the server is not running.",
)
_SILENT = Why(
    "Time-out: no answer in time",
    "this machine",
    "Check the network: a firewall, a VPN that is needed, or a proxy. Else the server is down.",
)
_PROXY = Why(
    "Proxy: the one that is set cannot be used",
    "this machine",
    "See “Proxy and TLS”; correct HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY.",
)
_CLOSED = Why(
    "The connection was closed before an answer came",
    "server operator",
    "Try again; if it stays like this, the server or a proxy before it is broken.",
)
_NO_WAY = Why(
    "TCP: no connection",
    "this machine",
    "Check the network of this machine: VPN, firewall, proxy.",
)
# The first that fits: a refused certificate is a TLS error, too, and all are OSErrors.
_BENEATH: tuple[tuple[type[Exception], Why], ...] = (
    (socket.gaierror, _DNS),
    (ssl.SSLError, _TLS),
    (ConnectionRefusedError, _REFUSED),
    (TimeoutError, _SILENT),
    (ImportError, _PROXY),
    (ValueError, _PROXY),
)
# OpenSSL's words for X509_V_ERR_CERT_HAS_EXPIRED, _CERT_NOT_YET_VALID and _HOSTNAME_MISMATCH.
_WRONG = ("expired", "not yet valid", "mismatch", "not valid for")


def why_unreachable(error: Exception | None) -> Why:
    """Name what failed, from the errors beneath ours."""
    if not isinstance(error, ServerUnreachable):
        return Why(str(error), "your configuration", CHECK_ADDRESS)
    why = _why(error)
    return why._replace(what=f"{why.what}. {error}")


def _why(error: ServerUnreachable) -> Why:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = str(getattr(cause, "verify_message", "")) or str(cause)
            wrong = any(word in why.lower() for word in _WRONG)
            found = _WRONG_CERTIFICATE if wrong else _UNTRUSTED
            return found._replace(what=f"{found.what}: {quote(why, 120)}")
        for kind, explained in _BENEATH:
            if isinstance(cause, kind):
                return explained
    return _CLOSED if error.sent else _NO_WAY


def _causes(error: ServerUnreachable) -> Iterator[BaseException]:
    """Give the errors that led to it; ours hide them from a person, and keep them."""
    seen: set[int] = set()
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
