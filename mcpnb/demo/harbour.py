"""A year of traffic in four harbours that do not exist, as rows and as a picture."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Final

__all__ = ["HARBOURS", "HarbourMonth", "picture", "traffic"]

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
    """Give the months of one harbour, or of all: the same numbers every time."""
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


class _Canvas:
    """An RGB picture that is filled in horizontal spans with soft ends."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows = [bytearray(bytes(_BACKGROUND) * width) for _ in range(height)]

    def span(self, y: int, left: float, right: float, colour: tuple[int, int, int]) -> None:
        """Fill from `left` to `right` in row `y`."""
        row, first, last = self._rows[y], math.ceil(left), math.floor(right)
        row[first * 3 : last * 3] = bytes(colour) * (last - first)
        for x, share in ((first - 1, first - left), (last, right - last)):
            if share > 0:
                for channel, value in enumerate(colour):
                    old = row[x * 3 + channel]
                    row[x * 3 + channel] = round(old + (value - old) * share)

    def png(self) -> bytes:
        """Encode as PNG: 8 bits, RGB, no filter (ISO/IEC 15948)."""
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        pixels = b"".join(b"\0" + bytes(row) for row in self._rows)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )


def picture() -> bytes:
    """Draw the ships of each month, the harbours stacked, as a PNG."""
    width, height, margin, radius = 640, 320, 28, 9.0
    canvas = _Canvas(width, height)
    by_month = [[_month(name, month) for name in HARBOURS] for month in range(1, 13)]
    top = max(sum(row.ships for row in rows) for rows in by_month)
    scale = (height - 2 * margin) / top
    for step in range(0, top, 250):
        canvas.span(height - margin - round(step * scale), margin, width - margin, _GRID)
    slot = (width - 2 * margin) / 12
    for index, rows in enumerate(by_month):
        left, right = margin + index * slot + slot * 0.18, margin + (index + 1) * slot - slot * 0.18
        crown = height - margin - round(sum(row.ships for row in rows) * scale)
        bottom = height - margin
        for row, colour in zip(rows, _COLOURS, strict=True):
            upper = max(bottom - round(row.ships * scale), crown)
            for y in range(upper, bottom):
                # Rounded at the very top only.
                depth = radius - min(y - crown + 0.5, radius)
                inset = radius - math.sqrt(radius**2 - depth**2)
                canvas.span(y, left + inset, right - inset, colour)
            bottom = upper
    return canvas.png()
