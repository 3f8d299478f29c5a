"""Freed memory stays with the process while it trains, up to a bound: asking anew costs a seventh of a step."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from potstill.malloc import release, resident

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
KEPT = 2**30  # bytes at the end of the heap that are given back no sooner
ON_THE_HEAP = 32 * 2**20  # the largest block that glibc lets the heap serve
SLACK = 1.5  # times what a step needs that the process may hold


class BoundedHeap(TrainerCallback):
    """Tells glibc's malloc to keep what a step frees, and gives all of it back where it has become too much.

    A training step on a CPU allocates and frees the same activations again and again. By default the larger ones are
    handed back each time, and the kernel clears their pages anew: 4 of 5 page faults of a 9 M Chronos-2's step at
    batch 32, and 12 to 15 % of its time in bf16 on two threads.

    Batches of ever other lengths, as texts are, never fit the holes that former ones left: with glibc's defaults, too,
    the heap of a run of 135 M → 57 M parameters that needs 3 GB grew beyond 12 in 250 steps. So what the process holds
    is compared after every step with what it held after a step that began with no holes.
    """

    def __init__(self, held: Callable[[], int | None] = resident, give_back: Callable[[], None] = release):
        self.held, self.give_back = held, give_back
        self.needed, self.fresh = 0, True

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        if sys.platform.startswith("linux"):
            keep_freed_memory()
        self.give_back()

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self.give_back()  # an evaluation's holes are no step's need

    def on_step_end(self, *_: Any, **__: Any) -> None:
        held = self.held() or 0
        if self.fresh:
            self.needed, self.fresh = max(self.needed, held), False
        elif held > SLACK * self.needed:
            self.give_back()
            self.fresh = True


def keep_freed_memory() -> None:
    """Set glibc's malloc so; with another C library nothing is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # the first alone would be worse than nothing: it ends glibc's own adjusting of the second
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, ON_THE_HEAP)
