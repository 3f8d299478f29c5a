"""What is freed stays with the process; the proof that it is faster is ``benchmarks/training_speed.py``."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from potstill.training.allocator import keep_freed_memory

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_blocks_are_not_asked_of_the_system_again():
    faults = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, check=True).stdout
    assert int(faults) < 100  # some thousands without it
