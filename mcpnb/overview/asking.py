"""Asking many servers at once whether they want a sign-in."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from mcpnb.errors import McpnbError
from mcpnb.models import ServerConfig

__all__ = ["Row", "ask"]

_PATIENCE = 5.0
"""Seconds for all servers together."""
_AT_A_TIME = 64

Row = dict[str, Any]


def ask(
    unsigned: list[tuple[ServerConfig, Row]], told: Callable[[int, int], object] | None
) -> None:
    """Ask all these servers at the same time, and give up on those that take too long.

    The threads are no pool's: the interpreter would wait for them at its end, as long as the
    slowest server wants.
    """
    waiting: queue.SimpleQueue[tuple[ServerConfig, Row]] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[Row, Row]] = queue.SimpleQueue()
    for each in unsigned:
        waiting.put(each)

    def work() -> None:
        with suppress(queue.Empty):
            while True:
                config, row = waiting.get_nowait()
                answers.put((row, _asked(config)))

    for _ in range(min(len(unsigned), _AT_A_TIME)):
        threading.Thread(target=work, name="mcpnb-probe", daemon=True).start()
    late = {id(row): row for _, row in unsigned}
    deadline = time.monotonic() + _PATIENCE
    while late:
        if told is not None:
            told(len(unsigned) - len(late), len(unsigned))
        try:
            row, answer = answers.get(timeout=max(deadline - time.monotonic(), 0.001))
        except queue.Empty:
            break
        row.update(answer)
        del late[id(row)]
    with suppress(queue.Empty):
        while True:  # nor are they asked when nobody waits for it any more
            _, row = waiting.get_nowait()
            said = f"{row['url']} was not asked: too many others did not answer in time."
            row |= {"auth_status": "unreachable", "error": said}
            late.pop(id(row), None)
    for row in late.values():
        said = f"{row['url']} did not answer within {_PATIENCE:g} seconds."
        row |= {"auth_status": "unreachable", "error": said}


def _asked(config: ServerConfig) -> Row:
    from mcpnb.discovery import discover
    from mcpnb.http import Http

    try:
        if config.headers_helper is not None and _helped(config):
            return {"auth_status": "bearer_token", "store": None}
        with closing(Http(config.url, allow_private=config.allow_private_network)) as http:
            found = discover(config, http)
    except McpnbError as error:
        return {"auth_status": "unreachable", "error": str(error)}
    except Exception as error:  # noqa: BLE001  in a thread nobody would hear of it
        return {"auth_status": "unreachable", "error": f"Unexpected {type(error).__name__}."}
    return {"auth_status": "oauth_available" if found.authorization_server else "none"}


def _helped(config: ServerConfig) -> bool:
    from mcpnb.headers_helper import helper_of

    helper = helper_of(config)
    return helper is not None and helper.authorization() is not None
