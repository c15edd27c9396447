"""One process that uses a library which is compared: `python -m tests.bench.compare_driver`.

It takes what to do with which library, and the server's address. It says `ready` once everything is
imported, and does it when it is told to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ANSWERED = "answered"
KEY = "OAUTH_STORAGE_ENCRYPTION_KEY"
"""As FastMCP's documentation names the variable with the key of its storage."""
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "echo", "arguments": {"text": ANSWERED}},
}
HEADERS = {"accept": "application/json, text/event-stream"}
PATIENCE = 30


def _mcpnb(url: str) -> Callable[[], str]:
    import mcp  # noqa: F401  half a second, which would keep a crowd from meeting

    import mcpnb

    session = mcpnb.connect(url)
    return lambda: session.call("echo", text=ANSWERED).text


def _posted(url: str, auth: Any) -> Callable[[], str]:
    import httpx2

    async def post() -> str:
        async with httpx2.AsyncClient(auth=auth, timeout=PATIENCE, trust_env=False) as client:
            answer = await client.post(url, json=CALL, headers=HEADERS)
            answer.raise_for_status()
            return str(answer.json()["result"]["content"][0]["text"])

    return lambda: asyncio.run(post())


def _sdk(url: str) -> Callable[[], str]:
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

    from tests.bench.contestants import Stored, sdk

    tokens_file, client_file = Path.home() / "tokens.json", Path.home() / "client.json"

    class Kept(Stored):
        """The storage that the SDK leaves to its user: files, readable for their owner."""

        def __init__(self) -> None:
            super().__init__()
            if tokens_file.exists():
                self.tokens = OAuthToken.model_validate_json(tokens_file.read_text())
            if client_file.exists():
                text = client_file.read_text()
                self.client = OAuthClientInformationFull.model_validate_json(text)

        async def set_tokens(self, tokens: OAuthToken) -> None:
            await super().set_tokens(tokens)
            tokens_file.touch(0o600)
            tokens_file.write_text(tokens.model_dump_json())

        async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
            await super().set_client_info(client_info)
            client_file.touch(0o600)
            client_file.write_text(client_info.model_dump_json())

    return _posted(url, sdk(url, Kept()))


def _fastmcp_oauth(url: str) -> Any:
    from cryptography.fernet import Fernet

    # mypy: they are optional, and not there where types are checked.
    from fastmcp.client.auth import OAuth  # type: ignore[import-not-found, unused-ignore]
    from key_value.aio.stores.filetree import (  # type: ignore[import-not-found, unused-ignore]
        FileTreeStore,
        FileTreeV1CollectionSanitizationStrategy,
        FileTreeV1KeySanitizationStrategy,
    )
    from key_value.aio.wrappers.encryption import (  # type: ignore[import-not-found, unused-ignore]
        FernetEncryptionWrapper,
    )

    # As its documentation advises for tokens that shall survive a restart.
    folder = Path.home() / "oauth"
    folder.mkdir(exist_ok=True)
    files = FileTreeStore(
        data_directory=folder,
        key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(folder),
        collection_sanitization_strategy=FileTreeV1CollectionSanitizationStrategy(folder),
    )
    fernet = Fernet(os.environ[KEY])
    store = FernetEncryptionWrapper(key_value=files, fernet=fernet)
    # Nobody comes later than that here; its default is 300 s.
    return OAuth(mcp_url=url, token_storage=store, callback_timeout=PATIENCE / 2)


def _fastmcp(url: str) -> Callable[[], str]:
    return _posted(url, _fastmcp_oauth(url))


def _fastmcp_clear(url: str) -> Callable[[], str]:
    auth = _fastmcp_oauth(url)

    def clear() -> str:
        asyncio.run(auth.token_storage_adapter.clear())
        return ANSWERED

    return clear


def _hub(act: Callable[[Any], object]) -> Callable[[str], Callable[[], str]]:
    def role(_: str) -> Callable[[], str]:
        import huggingface_hub  # type: ignore[import-not-found, unused-ignore]

        return lambda: ANSWERED if act(huggingface_hub) else "it did not do it"

    return role


ROLES = {
    "mcpnb": _mcpnb,
    "sdk": _sdk,
    "fastmcp": _fastmcp,
    "fastmcp-clear": _fastmcp_clear,
    "hub-login": _hub(lambda hub: [hub.notebook_login(), hub.get_token()][1]),
    "hub-call": _hub(lambda hub: hub.whoami()["name"] == "somebody"),
    "hub-logout": _hub(lambda hub: hub.logout() is None),
}


def main() -> None:
    """Be that process."""
    logging.basicConfig(level=logging.INFO)
    warnings.simplefilter("ignore")
    role, url = sys.argv[1:]
    use = ROLES[role](url)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        told = use()
    except BaseException as error:  # noqa: BLE001  whatever it is, it is the outcome
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        told = f"{type(error).__name__}: {error}"
    print(json.dumps({"told": told[:300]}), flush=True)


if __name__ == "__main__":
    main()
