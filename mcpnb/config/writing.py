"""Files of this person, written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from mcpnb.errors import ConfigError

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Put a text in the place of an earlier one: same mode, or 0600 for a new file.

    Raises:
        ConfigError: It could not be written. An earlier file is as it was.
    """
    try:
        # Where it is a link, as those do who keep such files elsewhere, it stays one.
        real = path.resolve()
        real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=real.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            if real.exists():
                Path(temporary).chmod(stat.S_IMODE(real.stat().st_mode))
            Path(temporary).replace(real)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{path} cannot be written: {error}.") from None
