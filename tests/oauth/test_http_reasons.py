"""Why a connection failed: the same words for a sign-in and a call, and none of a library's own."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import httpx2
import pytest

from mcpnb.oauth.http import reason


def raised(error: Exception, *causes: Exception) -> Exception:
    """Give an error as it comes out of a library: each cause is that of the one before."""
    for outer, inner in zip((error, *causes), causes, strict=False):
        outer.__cause__ = inner
    return error


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "whatever"), "“Connection refused”"),
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "“name resolution failed: Name or service not known”",
        ),
        (
            ExceptionGroup("", [OSError(errno.ENETUNREACH, ""), OSError(errno.EPERM, "")]),
            "“Network is unreachable”",
        ),
        (TimeoutError("timed out"), "“all attempts failed”"),
    ],
    ids=["refused", "no such name", "several addresses", "no number"],
)
def test_the_systems_own_words_are_said(library: object, cause: Exception, said: str) -> None:
    error = raised(library.ConnectError("all attempts failed"), OSError("wrapped"), cause)  # type: ignore[attr-defined]

    assert reason(error) == said


def test_an_error_of_tls_is_not_looked_up_among_those_of_the_system() -> None:
    """Its number is 1, which there means “Operation not permitted”."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as plain,
        server.accept()[0] as other,
    ):
        other.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ssl.SSLError) as caught:
            ssl._create_unverified_context().wrap_socket(plain)  # noqa: SLF001, S323
    error = raised(httpx.ConnectError("[SSL] whatever"), caught.value)

    assert reason(error) == f"“TLS failed: {caught.value.reason}”"


def test_an_untrusted_certificate_is_named_as_such() -> None:
    error = httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

    assert reason(error) == "its TLS certificate is not trusted by this machine"


def test_an_error_without_words_is_named_by_its_kind() -> None:
    assert reason(httpx.ReadError("")) == "“ReadError”"
