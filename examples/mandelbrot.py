"""The Mandelbrot set, computed by interpreters into one array, and saved as a picture.

Each task computes some rows and writes them where they belong: nothing is sent back, and the array
holds the picture when the tasks are done.

Run it:

    python examples/mandelbrot.py --width 1200 mandelbrot.png
"""

import argparse
import math
import struct
import time
import zlib
from pathlib import Path

from interpool import InterpreterPoolExecutor, SharedArray

# The part of the plane that is shown: its middle, and how wide it is.
MIDDLE = complex(-0.743643, 0.131825)
SPAN = 0.006
MOST_STEPS = 400


def steps_at(point: complex) -> float:
    """Steps until the point escapes, smoothed; 0 if it does not within `MOST_STEPS`."""
    z = 0j
    for step in range(MOST_STEPS):
        z = z * z + point
        if z.real * z.real + z.imag * z.imag > 64:
            return step + 2 - math.log2(math.log(abs(z)))
    return 0.0


def colour_of(steps: float) -> tuple[int, int, int]:
    """From blue by white to brown and back; black for what never escapes."""
    if not steps:
        return 0, 0, 0
    turn = math.sqrt(steps) * 0.7
    red, green, blue = (round(127.5 - 127.5 * math.cos(turn + by)) for by in (0.2, 0.0, -0.5))
    return red, green, blue


def draw(picture: SharedArray, first: int, last: int) -> None:
    """Compute some rows of a picture, which has a row, a column and three colours."""
    height, width, _ = picture.shape
    pixel = SPAN / width
    # The memory itself, without the class in between, which is slower to write to.
    with memoryview(picture[first:last]) as rows:
        for row in range(last - first):
            y = MIDDLE.imag + (height / 2 - first - row) * pixel
            for column in range(width):
                x = MIDDLE.real + (column - width / 2) * pixel
                colour = colour_of(steps_at(complex(x, y)))
                rows[row, column, 0], rows[row, column, 1], rows[row, column, 2] = colour


def save(picture: SharedArray, path: Path) -> None:
    """Write a picture as a PNG: its head, its rows, each with a filter of 0, and its end."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = picture.shape
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, red, green and blue
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a part of the Mandelbrot set.")
    parser.add_argument("path", type=Path, help="the picture to write, a PNG")
    parser.add_argument("--width", type=int, default=480, help="pixels of a row")
    parser.add_argument("--workers", type=int, help="interpreters; one a core if not given")
    options = parser.parse_args()
    width, height = options.width, options.width * 2 // 3
    began = time.perf_counter()
    with (
        SharedArray((height, width, 3), "uint8") as picture,
        InterpreterPoolExecutor(options.workers) as pool,
    ):
        firsts = range(0, height, 8)
        lasts = [min(first + 8, height) for first in firsts]
        for _ in pool.map(draw, [picture] * len(firsts), firsts, lasts):
            pass
        taken = time.perf_counter() - began
        save(picture, options.path)
    print(f"{width} x {height} pixels in {taken:.1f} s: {options.path}")


if __name__ == "__main__":
    main()
