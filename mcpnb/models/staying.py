"""What belongs to one process, and is shared there instead of being copied."""

from __future__ import annotations

from typing import Any, NoReturn, Self, SupportsIndex

__all__ = ["Staying"]


class Staying:
    """Base of what holds a login: a copy of it is itself, and it cannot be pickled.

    All who hold it share one login, with its locks and threads: a second one could only refresh
    what the first one has. A pickle would take tokens out of the process. A fork is no copy: a
    forked child finds the login in the store as its parent does.
    """

    # threat: session-copied
    def __copy__(self) -> Self:
        return self

    # threat: session-copied
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # threat: session-pickled
        raise TypeError(
            f"a {type(self).__name__} belongs to its process and cannot be pickled: call "
            "mcpnb.connect(...) in the other one, where a login on disk is found again"
        )
