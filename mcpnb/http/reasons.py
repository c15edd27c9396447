"""Why a connection could not be made, or broke, in words that people know from elsewhere."""

from __future__ import annotations

import os
import socket
import ssl

from mcpnb.errors import quoted

__all__ = ["reason"]

_DEEPEST = 8
_MOST = 160


def reason(error: Exception) -> str:
    """Say why, from what either HTTP library raised.

    What they say themselves is that all attempts failed, or has the number of an error in it
    (measured): the system's own words are at the bottom.
    """
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its TLS certificate is not trusted by this machine"
    cause: BaseException | None = error
    for _ in range(_DEEPEST):
        if isinstance(cause, ExceptionGroup):  # one for each address
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLError):  # its number is none of the system's
            return quoted(f"TLS failed: {cause.reason or cause}", _MOST)
        if isinstance(cause, socket.gaierror):
            return quoted(f"name resolution failed: {cause.strerror or cause}", _MOST)
        if isinstance(cause, OSError) and cause.errno is not None:
            return quoted(os.strerror(cause.errno), _MOST)
        cause = (cause.__cause__ or cause.__context__) if cause is not None else None
    return quoted(str(error) or type(error).__name__, _MOST)
