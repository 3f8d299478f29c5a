"""What the benchmarks share: interleaved arms, paired ratios, the machine, and JSON as the last line.

Import this before torch: it sets OMP_WAIT_POLICY. Without it the waiting threads of two jobs on shared cores slow both
jobs down to a crawl.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "30000")  # as in the command line; without it small models run at half speed

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of ``--quick`` and ``--output FILE``, to which a script adds its own arguments."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short run: only checks that the script works")
    parser.add_argument("--output", type=Path, help="also write the JSON here")
    return parser


def options(description: str | None) -> argparse.Namespace:
    """The arguments of a script that takes only ``--quick`` and ``--output FILE``."""
    return parser(description).parse_args()


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call by a clock: wall-clock, or ``time.process_time`` for processor time."""
    began = clock()
    work()
    return clock() - began


def interleave(
    arms: dict[str, Callable[[], Any]], rounds: int, warm: int = 1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each arm, one call of each per round; the first ``warm`` rounds do not count."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds + warm):
        for name, work in arms.items():
            took = seconds(work, clock)
            if turn >= warm:
                times[name].append(took)
    return times


def paired_ratio(slow: list[float], fast: list[float]) -> float:
    """Median over rounds of slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def median(values: list[float]) -> float:
    """Median."""
    return statistics.median(values)


def finish(figures: dict[str, Any], output: Path | None) -> None:
    """Print one JSON object as the last line, rounded to four digits, and write it to ``output``."""
    import torch

    figures["machine"] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_average": os.getloadavg()[0],
    }
    rounded = json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.4g}"))
    if output is not None:
        output.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rounded))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
