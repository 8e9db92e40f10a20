"""Draws the sample shop's pictures: python examples/shop/pictures/draw.py.

Each is a list of shapes on a square of 24 units, painted one over the other, and written as a PNG.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

Colour = tuple[int, int, int]
Inside = Callable[[float, float], bool]
Shape = tuple[Colour, Inside]

_UNITS, _PIXELS, _SAMPLES = 24, 72, 3

PAPER, INK, GREEN, LEAF = (255, 255, 255), (43, 42, 40), (47, 107, 79), (96, 160, 108)
SAND, CLAY, BRICK, SKY = (240, 233, 220), (201, 132, 90), (176, 84, 62), (150, 184, 200)
STEEL, HONEY, ROSE, STONE = (120, 124, 128), (232, 178, 84), (222, 170, 170), (214, 206, 194)


def oval(x: float, y: float, across: float, up: float) -> Inside:
    """An ellipse by its middle and its half axes."""
    return lambda a, b: ((a - x) / across) ** 2 + ((b - y) / up) ** 2 <= 1


def ring(x: float, y: float, outer: float, inner: float) -> Inside:
    """A circle with a hole."""
    return lambda a, b: inner**2 <= (a - x) ** 2 + (b - y) ** 2 <= outer**2


def box(left: float, top: float, right: float, bottom: float, corner: float = 0) -> Inside:
    """A rectangle, with rounded corners."""

    def inside(a: float, b: float) -> bool:
        across = max(left + corner - a, a - right + corner, 0)
        down = max(top + corner - b, b - bottom + corner, 0)
        if corner:
            return across**2 + down**2 <= corner**2
        return left <= a <= right and top <= b <= bottom

    return inside


def outline(*corners: tuple[float, float]) -> Inside:
    """A polygon."""

    def inside(a: float, b: float) -> bool:
        within = False
        for (x0, y0), (x1, y1) in pairwise([*corners, corners[0]]):
            if (y0 > b) != (y1 > b) and a < (x1 - x0) * (b - y0) / (y1 - y0) + x0:
                within = not within
        return within

    return inside


PICTURES: dict[str, list[Shape]] = {
    "logo": [
        (GREEN, box(2, 2, 11.3, 11.3, 1.5)),
        (HONEY, box(12.7, 2, 22, 11.3, 1.5)),
        (CLAY, box(2, 12.7, 11.3, 22, 1.5)),
        (LEAF, box(12.7, 12.7, 22, 22, 1.5)),
    ],
    "coffee": [
        (STONE, oval(11.5, 19.5, 8, 1.4)),
        (BRICK, ring(16.5, 13, 3.4, 2)),
        (BRICK, box(6, 9, 16.5, 19, 3)),
        (INK, oval(11.2, 10, 4.4, 0.9)),
        (STONE, box(8.6, 4, 9.4, 7.6, 0.4)),
        (STONE, box(11.6, 3, 12.4, 7, 0.4)),
    ],
    "tea": [
        (GREEN, ring(18.2, 13.5, 3.4, 2.2)),
        (GREEN, outline((2.5, 8.5), (4.5, 8), (9, 14), (6.5, 17))),
        (GREEN, oval(12, 14, 6.6, 5.4)),
        (LEAF, oval(12, 9, 3.6, 1.2)),
        (LEAF, oval(12, 7.2, 1.1, 1.1)),
    ],
    "kitchen": [
        (INK, outline((13.5, 11.5), (21.3, 3.2), (22.6, 4.5), (15, 13))),
        (STEEL, oval(9.5, 14.5, 7, 7)),
        (INK, oval(9.5, 14.5, 5.7, 5.7)),
        (HONEY, oval(9.5, 14.5, 1.8, 1.8)),
    ],
    "garden": [
        (GREEN, box(11.5, 8, 12.5, 15)),
        (LEAF, oval(8.7, 8.6, 3.4, 1.7)),
        (LEAF, oval(15.3, 7, 3.4, 1.7)),
        (GREEN, oval(12, 4.4, 1.6, 2.6)),
        (CLAY, outline((6.5, 14.5), (17.5, 14.5), (16, 21.5), (8, 21.5))),
        (BRICK, box(5.8, 13, 18.2, 15.4, 0.6)),
    ],
    "paper": [
        (SKY, box(6, 3, 18, 21, 1)),
        (PAPER, box(8, 3, 18, 21, 1)),
        *((STONE, box(9.8, y, 16.2, y + 0.7)) for y in (7, 9.6, 12.2, 14.8)),
        (HONEY, outline((15, 16.5), (20.3, 11.2), (21.6, 12.5), (16.3, 17.8))),
        (INK, outline((15, 16.5), (16.3, 17.8), (14.3, 18.5))),
    ],
    "bath": [
        (ROSE, box(3.5, 12, 18.5, 20, 3.4)),
        (SAND, box(7, 14.5, 15, 17.5, 1.5)),
        (SKY, oval(17.6, 9.2, 2.6, 2.6)),
        (SKY, oval(12.6, 7, 1.7, 1.7)),
        (SKY, oval(16.6, 3.8, 1.2, 1.2)),
    ],
    "home": [
        (CLAY, oval(12, 20.6, 7, 1.4)),
        (HONEY, box(8.5, 10.5, 15.5, 20.6, 0.8)),
        (INK, box(11.7, 8.4, 12.3, 10.6)),
        (BRICK, oval(12, 6.6, 1.7, 3)),
        (HONEY, oval(12, 7.4, 0.9, 1.7)),
    ],
    "travel": [
        (INK, ring(12, 8, 4.2, 3)),
        (GREEN, box(3.5, 8, 20.5, 20, 2.2)),
        (LEAF, box(3.5, 12.4, 20.5, 14)),
        (HONEY, box(10.6, 11.8, 13.4, 14.8, 0.5)),
    ],
}


def png(name: str) -> bytes:
    """A picture as a PNG file."""
    ground = PAPER if name == "logo" else SAND
    rows = (b"\0" + bytes(_row(PICTURES[name], ground, y)) for y in range(_PIXELS))
    header = struct.pack(">IIBBBBB", _PIXELS, _PIXELS, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def _row(shapes: list[Shape], ground: Colour, y: int) -> Iterator[int]:
    for x in range(_PIXELS):
        samples = [_colour(shapes, ground, a, b) for a in _places(x) for b in _places(y)]
        yield from (sum(channel) // len(samples) for channel in zip(*samples, strict=True))


def _places(pixel: int) -> list[float]:
    """Where a pixel is looked at: several times, so that slanting edges are smooth."""
    step = _UNITS / _PIXELS / _SAMPLES
    return [(pixel * _SAMPLES + part + 0.5) * step for part in range(_SAMPLES)]


def _colour(shapes: list[Shape], ground: Colour, x: float, y: float) -> Colour:
    return next((colour for colour, inside in reversed(shapes) if inside(x, y)), ground)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checked)


if __name__ == "__main__":
    for each in PICTURES:
        (Path(__file__).parent / f"{each}.png").write_bytes(png(each))
