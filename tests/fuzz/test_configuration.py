"""Configuration files and what a headers helper prints: any bytes, any shape."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

import mcpnb
from mcpnb.config import read_configuration, review
from mcpnb.config.files import File
from mcpnb.config.parse import parse
from mcpnb.config.trust import Review
from mcpnb.oauth.models import ServerConfig
from mcpnb.tokens.static import HeadersHelper
from tests.fuzz.running import fit_to_show, fuzzed, only_ours
from tests.fuzz.strategies import ANY_BYTES, JSON, JSON_TEXT, SCALARS, TEXT, documents, objects
from tests.fuzz.values import URL

_ENTRY: dict[str, Any] = {
    "url": URL,
    "scopes": ["read"],
    "oauth_resource": URL,
    "bearer_token_env_var": "EXAMPLE_TOKEN",
    "http_headers": {"X-Team": "a"},
    "env_http_headers": {"X-Key": "EXAMPLE_KEY"},
    "http_headers_helper": "print-headers --now",
    "enabled": True,
    "required": False,
    "startup_timeout_sec": 10,
    "startup_timeout_ms": 10_000,
    "tool_timeout_sec": 60.5,
    "enabled_tools": ["search"],
    "disabled_tools": ["drop"],
    "client_metadata_url": "https://team.example/mcpnb.json",
    "allow_missing_pkce": False,
    "allow_private_network": False,
    "account": "work",
    "command": "server",
}
_OAUTH: dict[str, Any] = {
    "client_id": "client",
    "client_secret": "secret-3fGt6YhU1qEa",
    "client_secret_env_var": "EXAMPLE_SECRET",
    "issuer": "https://as.example",
    "callback_port": 27182,
    "callback_url": "https://team.example/callback",
}
_TOP: dict[str, Any] = {
    "mcp_oauth_credentials_store": "auto",
    "mcp_oauth_callback_port": 27182,
    "mcp_oauth_callback_url": "http://127.0.0.1:27182/callback",
}
_CLAUDE: dict[str, Any] = {
    "type": "http",
    "url": "https://mcp.example/${EXAMPLE_PATH:-mcp}",
    "headers": {"X-Team": "${EXAMPLE_TOKEN}"},
    "headersHelper": "print-headers",
    "oauth": {"clientId": "client", "callbackPort": 27182, "scopes": "read"},
    "command": "server",
}
_NAMES = st.sampled_from(["example", "a.b", "other"]) | TEXT
_ENTRIES = st.builds(
    lambda entry, oauth: entry | {"oauth": oauth}, documents(_ENTRY), documents(_OAUTH) | JSON
)
_TOML = st.builds(
    lambda top, servers, more: more | top | {"mcp_servers": servers},
    documents(_TOP),
    st.dictionaries(_NAMES, _ENTRIES | JSON, max_size=3) | JSON,
    objects(),
)
_CLAUDES = st.builds(
    lambda servers, more: more | {"mcpServers": servers},
    st.dictionaries(_NAMES, documents(_CLAUDE) | JSON, max_size=3) | JSON,
    objects(),
)


def _value(value: Any) -> str:
    """Write a value as TOML has it; tomlkit takes a hundred times as long."""
    if isinstance(value, dict):
        pairs = (f"{_text(name)} = {_value(found)}" for name, found in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        return _text(value)
    # What TOML cannot say is left to be wrong.
    return "null" if value is None else str(value).lower()


def _text(text: str) -> str:
    known = text.encode(errors="replace").decode()
    return json.dumps(known, ensure_ascii=False).replace("\x7f", "\\u007f")


def _written(document: dict[str, Any]) -> bytes:
    lines = [f"{_text(name)} = {_value(found)}" for name, found in document.items()]
    return "\n".join([*lines, ""]).encode()


_FILES = {
    "mcpnb.toml": _TOML.map(_written) | ANY_BYTES,
    "config.toml": _TOML.map(_written) | ANY_BYTES,
    ".mcp.json": _CLAUDES.map(json.dumps).map(str.encode) | JSON_TEXT | ANY_BYTES,
}
_ONE = st.sampled_from(sorted(_FILES)).flatmap(lambda name: st.tuples(st.just(name), _FILES[name]))


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@fuzzed(examples=200, one=_ONE, trusted=st.booleans(), kind=st.sampled_from(["project", "own"]))
def test_a_file_of_any_shape_is_read_entry_by_entry_or_told_in_our_words(
    one: tuple[str, bytes],
    trusted: bool,  # noqa: FBT001  hypothesis gives names
    kind: Any,
) -> None:
    name, content = one
    with _folder() as folder, only_ours():
        found = parse(File(folder / name, kind), content, trusted=trusted)
        for server in found.servers.values():
            assert isinstance(server, ServerConfig)
            assert "secret-3fGt6YhU1qEa" not in repr(server)
        for broken in found.broken.values():
            fit_to_show(broken.problem, ("secret-3fGt6YhU1qEa",))


@pytest.fixture
def project(world: Path) -> Path:
    """Give the working folder, which is a repository."""
    return world / "work"


@fuzzed(examples=100, one=_ONE, trusted=st.booleans())
def test_whatever_a_project_holds_an_address_can_be_connected_to_or_it_says_why(
    project: Path,
    one: tuple[str, bytes],
    trusted: bool,  # noqa: FBT001  as above
) -> None:
    name, content = one
    path = project / ("mcpnb.toml" if name == "config.toml" else name)
    path.write_bytes(content)
    try:
        if trusted:
            Review(path, content, ()).agree()
        with only_ours():
            found = read_configuration()
            for known in found.servers:
                with only_ours():
                    fit_to_show(repr(mcpnb.connect(known)))
        with only_ours():
            assert mcpnb.connect("https://elsewhere.example/mcp").server
        with only_ours():
            review(project)
        with only_ours():
            mcpnb.servers()
    finally:
        path.unlink()


@fuzzed(
    examples=150,
    entry=documents(_ENTRY),
    variables=st.dictionaries(
        st.sampled_from(["EXAMPLE_TOKEN", "EXAMPLE_KEY", "EXAMPLE_PATH", "EXAMPLE_SECRET"]),
        # As an environment has them: bytes without a zero.
        st.binary(max_size=20).map(
            lambda raw: raw.replace(b"\0", b"").decode(errors="surrogateescape")
        ),
    ),
    claude=documents(_CLAUDE),
)
def test_whatever_the_environment_holds_an_entry_is_read_or_told_in_our_words(
    entry: dict[str, Any], variables: Mapping[str, str], claude: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch, _folder() as folder:
        # What was concealed for one example is not to be for the next.
        patch.setattr("mcpnb.text._secrets", ())
        for name, value in variables.items():
            patch.setenv(name, value)
        with only_ours():
            toml = _written({"mcp_servers": {"example": entry | {"oauth": _OAUTH}}})
            parse(File(folder / "mcpnb.toml", "own"), toml, trusted=True)
        with only_ours():
            text = json.dumps({"mcpServers": {"example": claude}}).encode()
            parse(File(folder / ".mcp.json", "project"), text, trusted=True)


@fuzzed(examples=100, more=objects())
def test_keys_that_nobody_knows_change_nothing(more: dict[str, Any]) -> None:
    # TOML has no null, and one name once.
    named = {
        f"x-{index}{_text(name)[1:-1]}": value
        for index, (name, value) in enumerate(more.items())
        # Nor more than sixty dots in a row: whether they are a key's is not looked into.
        if not isinstance(value, dict | list | None) and str(value).count(".") < 60
    }
    good = {"url": URL, "scopes": ["read"]}
    with _folder() as folder:
        file = File(folder / "mcpnb.toml", "own")

        def read(top: dict[str, Any], entry: dict[str, Any]) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                written = _written({**top, "mcp_servers": {"example": entry}})
                return parse(file, written, trusted=True).servers

        assert read(named, good | named) == read({}, good)
        assert read({}, good)


@fuzzed(
    examples=30,
    printed=JSON_TEXT
    | st.dictionaries(TEXT | st.sampled_from(["Authorization", "X-A"]), TEXT | JSON).map(
        lambda found: json.dumps(found).encode()
    ),
    code=st.sampled_from([0, 0, 0, 1]),
)
def test_whatever_a_helper_prints_is_headers_or_told_in_our_words(
    project: Path, printed: bytes, code: int
) -> None:
    """Of what it printed nothing is repeated: it was meant to be secret."""
    path = project / "printed"
    path.write_bytes(printed)
    # The interpreter takes 20 ms and more; cat takes one.
    command = f"/bin/sh -c {shlex.quote(f'cat printed; exit {code}')}"
    helper = HeadersHelper(
        ServerConfig(url=URL, headers_helper=command, source=str(project / "mcpnb.toml"))
    )
    with only_ours():
        for name, value in helper.printed().headers.items():
            assert name.isascii()
            assert value.reveal().isascii()


@fuzzed(examples=150, name=TEXT, scopes=TEXT | st.lists(TEXT, max_size=3), port=SCALARS, given=TEXT)
def test_arguments_of_any_kind_are_taken_or_refused_in_our_words(
    name: str, scopes: Any, port: Any, given: str
) -> None:
    with only_ours():
        mcpnb.connect(name)
    for more in (
        {"scopes": scopes},
        {"callback_port": port},
        {"callback_url": given},
        {"via": given},
        {"store": given},
    ):
        with only_ours():
            mcpnb.connect(URL, **more)
