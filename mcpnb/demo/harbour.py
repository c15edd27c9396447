"""A year of traffic in four harbours that do not exist, as rows and as a picture."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Final

YEAR: Final = 2025


@dataclass(frozen=True, slots=True)
class HarbourMonth:
    """One month of one harbour."""

    month: str
    harbour: str
    ships: int
    cargo_tonnes: int
    mean_wait_hours: float


# Name: ships in a mean month, month of the peak, strength of the season, tonnes per ship.
HARBOURS: Final[dict[str, tuple[int, int, float, int]]] = {
    "Elmhaven": (412, 7, 0.28, 9_300),
    "Grauvik": (188, 9, 0.41, 21_700),
    "Port Soleil": (296, 6, 0.52, 4_150),
    "Sandmouth": (97, 3, 0.19, 12_800),
}

_BACKGROUND: Final = (250, 251, 251)
_GRID: Final = (226, 231, 230)
_COLOURS: Final = ((11, 110, 99), (63, 165, 140), (240, 171, 84), (210, 92, 78))


def traffic(harbour: str | None = None) -> list[HarbourMonth]:
    """Return the months of one harbour, or of all: the same numbers every time."""
    wanted = [name for name in HARBOURS if harbour in {None, name}]
    return [_month(name, month) for month in range(1, 13) for name in wanted]


def _month(name: str, month: int) -> HarbourMonth:
    mean, peak, season, tonnes = HARBOURS[name]
    # A season, and a ripple that keeps the rows from looking like a cosine.
    swing = season * math.cos((month - peak) * math.tau / 12)
    ripple = 0.06 * math.sin(month * len(name) * 1.7)
    ships = round(mean * (1 + swing + ripple))
    return HarbourMonth(
        month=f"{YEAR}-{month:02}",
        harbour=name,
        ships=ships,
        cargo_tonnes=round(ships * tonnes * (1 + ripple) / 100) * 100,
        mean_wait_hours=round(2.5 + 9 * (ships / mean) ** 3 / 4 + 20 * abs(ripple), 1),
    )


def picture() -> bytes:
    """Draw the ships of each month, the harbours stacked, as a PNG."""
    width, height, margin = 640, 320, 28
    rows = [bytearray(bytes(_BACKGROUND) * width) for _ in range(height)]

    def fill(left: int, right: int, top: int, bottom: int, colour: tuple[int, int, int]) -> None:
        for row in rows[top:bottom]:
            row[left * 3 : right * 3] = bytes(colour) * (right - left)

    by_month = [[_month(name, month) for name in HARBOURS] for month in range(1, 13)]
    most = max(sum(row.ships for row in month) for month in by_month)
    scale = (height - 2 * margin) / most
    for step in range(0, most, 250):
        y = height - margin - round(step * scale)
        fill(margin, width - margin, y, y + 1, _GRID)
    slot = (width - 2 * margin) / 12
    for index, month in enumerate(by_month):
        left, bottom = margin + round((index + 0.18) * slot), height - margin
        for row, colour in zip(month, _COLOURS, strict=True):
            top = bottom - round(row.ships * scale)
            fill(left, left + round(slot * 0.64), top, bottom, colour)
            bottom = top
    return _png(width, height, rows)


def _png(width: int, height: int, rows: list[bytearray]) -> bytes:
    """Encode as PNG: 8 bits, RGB, no filter (ISO/IEC 15948)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"".join(b"\0" + bytes(row) for row in rows)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
