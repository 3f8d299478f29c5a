"""A process that generates synthetic series and writes them to its standard output: float32, block after block.

    python -m potstill.data.device.producer SEED FIRST STEP COUNT LENGTH

Writes the blocks FIRST, FIRST + STEP, … , COUNT of them (-1: until the reader closes the pipe). Block b holds the
series with the indices b · BLOCK_SERIES to (b + 1) · BLOCK_SERIES − 1. It imports no torch.
"""

from __future__ import annotations

import itertools
import os
import sys

import numpy as np

from potstill.data.synthetic import generate

BLOCK_SERIES = 256


def block(seed: int, number: int, length: int) -> np.ndarray:
    """``[BLOCK_SERIES, length]`` float32: the series of one block."""
    return generate(seed, np.arange(number * BLOCK_SERIES, (number + 1) * BLOCK_SERIES), length)


def main() -> None:
    """Generate and write until the count is reached or nobody reads."""
    seed, first, step, count, length = map(int, sys.argv[1:])
    numbers = itertools.count(first, step)
    try:
        for number in numbers if count < 0 else itertools.islice(numbers, count):
            sys.stdout.buffer.write(block(seed, number, length).tobytes())
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends


if __name__ == "__main__":
    main()
