"""What the engine ``ray`` costs on one machine: start, time per block, forecasts of 2,000 short series, one shard.

The embedded teacher and one thread per process. Local forecasts and those of one and two workers are interleaved; the
bytes of their tables must be equal. A steady rate is counted from the first finished batch on. Results of a stream wait
in the object store while the reader sleeps: ``waiting_mb`` is how much of it they take, of ``sent_mb`` in all.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import pandas as pd
import torch

import potstill
from potstill.compute.cluster import Cluster, connected
from potstill.compute.options import RayOptions
from potstill.compute.stream import stream
from potstill.verbs.forecasting.summary import Summary

SERIES, ROWS, HORIZON = 2_000, 200, 28
RESULT = 2**22  # bytes of a result of the stream whose reader sleeps


def same() -> Callable[[int], int]:
    """A worker that does nothing."""
    return lambda number: number


def large() -> Callable[[int], bytes]:
    """A worker with large results."""
    return lambda number: bytes([number % 256]) * RESULT


def table(series: int, folder: Path) -> Path:
    """A long table of random walks with a weekly wave."""
    values = np.random.default_rng(0).normal(size=(series, ROWS)).cumsum(axis=1) + np.sin(
        np.arange(ROWS) * 2 * np.pi / 7
    )
    days = np.tile(pd.date_range("2024-01-01", periods=ROWS), series)
    ids = np.repeat([f"s{i:05d}" for i in range(series)], ROWS)
    path = folder / "many.parquet"
    pd.DataFrame({"unique_id": ids, "ds": days, "y": values.ravel()}).to_parquet(path)
    return path


class Clock:
    """When each batch of a forecast was finished."""

    def __init__(self, monkey: Any):
        self.times: list[tuple[float, int]] = []
        add = monkey.add

        def timed(summary: Summary, batch: Any) -> None:
            self.times.append((time.perf_counter(), len(batch.series)))
            add(summary, batch)

        monkey.add = timed

    def rate(self) -> float:
        """Series per second after the first batch."""
        (first, _), *rest = self.times
        return sum(count for _, count in rest) / (rest[-1][0] - first)


def forecasts(data: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds and steady rates of the local engine and of Ray with one and two workers, interleaved."""
    clock = Clock(Summary)
    found: dict[str, Any] = {name: {"seconds": [], "series_per_second": []} for name in ("local", "ray_1", "ray_2")}
    for _ in range(rounds):
        for name, entry in found.items():
            clock.times.clear()
            ray = {"engine": "ray", "concurrency": int(name[-1])} if name != "local" else {}
            began = time.perf_counter()
            potstill.forecast("embedded", data, HORIZON, folder / f"{name}.parquet", device="cpu", **ray)
            entry["seconds"].append(time.perf_counter() - began)
            entry["series_per_second"].append(clock.rate())
    contents = {(folder / f"{name}.parquet").read_bytes() for name in found}
    return {**{n: {k: harness.median(v) for k, v in e.items()} for n, e in found.items()}, "equal": len(contents) == 1}


def per_block(cluster: Cluster, blocks: int) -> dict[str, float]:
    """Seconds to the first answer of workers that do nothing, and milliseconds for each further block."""
    import ray_engine  # by a name that workers can import

    began, times = time.perf_counter(), []
    for _ in stream(cluster, ray_engine.same, range(blocks), ordered=True):
        times.append(time.perf_counter())
    return {"first_seconds": times[0] - began, "ms_per_block": 1000 * (times[-1] - times[0]) / (blocks - 1)}


def back_pressure(cluster: Cluster, blocks: int) -> dict[str, float]:
    """Bytes in the object store while the reader of a stream sleeps."""
    import ray
    import ray_engine

    results: Iterator[bytes] = stream(cluster, ray_engine.large, range(blocks), ordered=True)
    next(results)
    time.sleep(10)
    total, free = ray.cluster_resources(), ray.available_resources()
    used = (total["object_store_memory"] - free.get("object_store_memory", 0)) / 2**20
    count = 1 + sum(1 for _ in results)
    return {"waiting_mb": used, "sent_mb": count * RESULT / 2**20, "store_mb": total["object_store_memory"] / 2**20}


def main() -> None:
    """Measure, print."""
    given = harness.options(__doc__)
    torch.set_num_threads(1)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    series, rounds, blocks = (600, 1, 50) if given.quick else (SERIES, 3, 1000)
    figures: dict[str, Any] = {"quick": given.quick, "series": series}
    with TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        began = time.perf_counter()
        with connected(RayOptions(concurrency=2)) as cluster:
            figures["start_seconds"] = time.perf_counter() - began
            figures["forecast"] = forecasts(table(series, Path(name)), Path(name), rounds)
            figures["stream"] = per_block(cluster, blocks)
            figures["back_pressure"] = back_pressure(cluster, blocks)
    harness.finish(figures, given.output)


if __name__ == "__main__":
    main()
