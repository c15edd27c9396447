"""How the answer of a sign-in may come back."""

from __future__ import annotations

from typing import Literal, get_args

from mcpnb.errors import ConfigError

__all__ = ["Via", "via_from"]

Via = Literal["auto", "relay", "loopback", "paste", "device"]
"""``auto`` is the first that can: handed to a panel by the notebook's page (``relay``), or sent to
a port of this machine (``loopback``). ``paste``: the person brings it. ``device``: none comes."""


def via_from(value: object) -> Via:
    """Check what a person chose.

    Raises:
        ConfigError: It is none of the ways.
    """
    for way in get_args(Via):
        if value == way:
            return way  # type: ignore[no-any-return]  # typing knows no type of its arguments
    raise ConfigError(f"via has to be one of {', '.join(get_args(Via))}, not {value!r:.80}.")
