"""QR codes, for an address that is to be opened on a phone."""

from __future__ import annotations

_MOST = 1200
"""Characters; a code of these has about 120 modules a side, as many columns of a terminal."""
_QUIET = 4
"""Modules of quiet zone around the code (ISO/IEC 18004 section 9.1)."""
_BLACK_ON_WHITE, _RESET = "\x1b[30;107m", "\x1b[0m"


def modules(text: str) -> list[list[bool]]:
    """Return the code's modules row by row, with the quiet zone; true is dark.

    Raises:
        ValueError: The text is too long for a code that a camera could read.
    """
    if len(text) > _MOST:
        raise ValueError(f"a QR code holds no more than {_MOST} characters")
    import qrcode  # 20 ms that most commands do not need

    code = qrcode.QRCode(border=_QUIET, error_correction=qrcode.constants.ERROR_CORRECT_L)
    code.add_data(text)
    code.make(fit=True)
    return [[bool(module) for module in row] for row in code.get_matrix()]


def as_text(text: str, *, colour: bool) -> str:
    """Draw the code for a terminal, two rows of modules in a line.

    Args:
        text: What it says.
        colour: Black on white by escape sequences, whatever the terminal's colours are. Without,
            light modules are drawn: right on a dark terminal, and inverted on a light one.
    """
    rows = modules(text)
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    blocks = " ▀▄█" if colour else "█▄▀ "
    lines = [
        "".join(blocks[upper + 2 * lower] for upper, lower in zip(above, below, strict=True))
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    ]
    if colour:
        lines = [f"{_BLACK_ON_WHITE}{line}{_RESET}" for line in lines]
    return "\n".join(lines)
