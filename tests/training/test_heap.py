"""What is freed stays with the process up to a bound; that it is faster shows ``benchmarks/training_speed.py``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from potstill.training.heap import BoundedHeap

glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc of glibc")

FAULTS = """
import resource
import torch
from potstill.training.heap import keep_freed_memory

def step():
    held = [torch.ones(2_000_000) for _ in range(20)]

keep_freed_memory()
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


HOLES = """
import torch
from potstill.malloc import resident
from potstill.training.heap import BoundedHeap

heap = BoundedHeap()
heap.on_train_begin()
heap.on_step_end()
before, held = resident(), []
for _ in range(100):
    torch.ones(2_000_000)
    held.append((torch.ones(2_000_000), torch.ones(10_000)))
held = [small for _, small in held]  # they keep the places of the large ones apart
full = resident()
heap.on_step_end()
print(before, full, resident())
"""


def test_what_is_held_beyond_a_steps_need_is_given_back():
    """The need is what is held after a step that began without holes, the largest of them so far."""
    held, trims = iter([100, 140, 151, 120, 175, 181, 110, 181]), []
    heap = BoundedHeap(lambda: next(held), lambda: trims.append(1))
    heap.on_train_begin()
    counts = []
    for _ in range(8):
        heap.on_step_end()
        counts.append(len(trims))
    assert counts == [1, 1, 2, 2, 2, 3, 3, 4]
    heap.on_evaluate()
    assert len(trims) == 5


@glibc
def test_holes_between_blocks_in_use_are_given_back():
    stdout = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, check=True).stdout
    before, full, after = map(int, stdout.split())
    assert full - before > 500_000  # KiB: a hundred blocks of 8 MB, freed
    assert after - before < 100_000


@glibc
def test_freed_blocks_are_not_asked_of_the_system_again():
    faults = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True).stdout
    assert int(faults) < 100  # some thousands without it
