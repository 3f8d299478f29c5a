"""The cost of a forecaster: size, FLOPs, latency, throughput, memory. Measurements of all models are interleaved.

A pass is the call of a user: ``predict(context, prediction_length).quantiles``, from input units to input units.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch

from potstill.evaluation.baselines import Baseline
from potstill.evaluation.histories import Past
from potstill.families.base import Model
from potstill.families.load import saved_weights
from potstill.malloc import release, resident
from potstill.types import Predictor, Sized, Windows

BATCHES = (32, 256)
LONGEST_PASS = 3.0  # seconds; if a pass of 256 is slower, it is measured on fewer series
BASELINE_ROUNDS, BASELINE_SECONDS = 3, 2.0
LATENCY_CALLS = 5  # per round; the median counts


class Measurable(Predictor, Sized, Protocol):
    """What can be measured: it forecasts and has a size; it need not be a torch module."""


def measure_costs(
    models: Mapping[str, Measurable],
    context_length: int,
    prediction_length: int,
    *,
    reference: str | None = None,
    repeats: int = 7,
    seconds: float = 20.0,
) -> dict[str, dict[str, Any]]:
    """Measure all models in interleaved rounds, so that other load on the machine slows all of them equally.

    Parameters
    ----------
    models
        Forecasters by name. ``flops`` is None where the pass runs no torch operation that can be counted.
    reference
        The model that others are compared with (default: ``teacher`` if there is one).
    repeats, seconds
        The number of rounds, and the time after which no further round starts (one always runs).

    Returns
    -------
    Per model ``parameters``, ``active_parameters`` where a window passes through fewer, ``bytes`` (see
    ``weight_bytes``), ``flops`` (one series), ``latency_ms_b1``, ``series_per_second_b32``, ``series_per_second_b256``
    (medians over rounds), ``peak_mb`` (working memory of a b32 pass in MiB, in addition to memory in use before, such
    as the weights; None where the system does not report it), ``speedup_{b1,b32,b256}`` (the reference's time over the
    model's, median of paired rounds), ``rounds``, and ``note`` where a batch was reduced. Every speed also has a
    ``…_range``: its lowest and highest value over the rounds.
    """
    reference = reference or ("teacher" if "teacher" in models else None)
    context = _contexts(max(BATCHES), context_length)
    passes = {name: _pass_of(model, context, prediction_length) for name, model in models.items()}
    costs = {name: _static(models[name], passes[name]) for name in models}
    sizes = {}
    for name, run in passes.items():
        costs[name]["peak_mb"] = peak_megabytes(lambda run=run: run(32), getattr(models[name], "device", None))
        sizes[name] = _affordable(run)
        if sizes[name] < 256:
            costs[name]["note"] = (
                f"series_per_second_b256 was measured on {sizes[name]} series because a pass of 256 is slow"
            )
    rounds = interleaved(_timed(passes, sizes), repeats, seconds)
    for name, cost in costs.items():
        cost |= _speeds(rounds, name)
        if reference is None:
            continue
        for i, label in enumerate(("b1", "b32", "b256")):
            cost |= with_range(f"speedup_{label}", speedups(rounds, i, reference, name))
    return costs


def baseline_costs(baselines: Mapping[str, Baseline], windows: Windows, past: Past) -> dict[str, dict[str, Any]]:
    """Speed and size of fitted baselines on ``windows``, 256 of them; keys as in :func:`measure_costs`.

    A baseline that forecasts one window after the other is measured on single windows.
    """
    passes = {name: _passes_of(baseline, windows, past) for name, baseline in baselines.items()}
    sizes = {name: (1, 1) if baseline.one_by_one else BATCHES for name, baseline in baselines.items()}

    def timed(place: int) -> TimedPasses:
        return {n: lambda run=run, b=sizes[n][place]: _seconds(run, b) / b for n, run in passes.items()}

    single = {n: lambda run=run: median(_seconds(run, 1) for _ in range(LATENCY_CALLS)) for n, run in passes.items()}
    rounds = interleaved([single, timed(0), timed(1)], BASELINE_ROUNDS, BASELINE_SECONDS)
    return {
        name: {"parameters": baseline.parameters, "bytes": 4 * baseline.parameters, **_speeds(rounds, name)}
        for name, baseline in baselines.items()
    }


def _passes_of(baseline: Baseline, windows: Windows, past: Past) -> Callable[[int], Any]:
    batches = {n: (windows.take(torch.arange(n)), past.take(np.arange(n))) for n in (1, *BATCHES)}
    return lambda batch: baseline.predict(*batches[batch])


def _speeds(rounds: Sequence[Sequence[Mapping[str, float]]], name: str) -> dict[str, Any]:
    """Latency and rates of a model from the times of its rounds."""
    one, mid, large = ([r[i][name] for r in rounds] for i in range(3))
    return {
        **with_range("latency_ms_b1", [1e3 * seconds for seconds in one]),
        **with_range("series_per_second_b32", [1 / seconds for seconds in mid]),
        **with_range("series_per_second_b256", [1 / seconds for seconds in large]),
        "rounds": len(rounds),
    }


def with_range(key: str, values: Sequence[float]) -> dict[str, Any]:
    """The median over rounds, and the lowest and highest value."""
    return {key: median(values), f"{key}_range": [min(values), max(values)]}


TimedPasses = Mapping[str, Callable[[], float]]
"""By model: a function that runs a pass and returns its seconds (or its seconds per series or token)."""


def interleaved(kinds: Sequence[TimedPasses], repeats: int, seconds: float) -> list[list[dict[str, float]]]:
    """Time several kinds of passes in rounds of all models; returns the time by round, kind and model.

    No further round starts if it would exceed ``seconds``; one always runs.
    """
    rounds: list[list[dict[str, float]]] = []
    start, last = time.perf_counter(), 0.0
    while len(rounds) < max(repeats, 1):
        begun = time.perf_counter()
        if rounds and begun - start + last > seconds:
            break
        # the models run kind by kind, so that the paired passes of a round are close in time; every second round is
        # reversed, because a model that runs after a large one finds cold caches
        way = -1 if len(rounds) % 2 else 1
        rounds.append([{name: timed[name]() for name in list(timed)[::way]} for timed in kinds])
        last = time.perf_counter() - begun
    return rounds


def speedups(rounds: Sequence[Sequence[Mapping[str, float]]], kind: int, reference: str, name: str) -> list[float]:
    """The reference's time divided by the model's time in the same round, for every round."""
    return [r[kind][reference] / r[kind][name] for r in rounds]


def count_flops(run: Callable[[], Any]) -> int | None:
    """Floating point operations of ``run``: matrix products, convolutions and attention; None if there are none."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # missing in torch's own table

    def attention(query: Any, key: Any, value: Any, *args: Any, **options: Any) -> int:
        return sdpa_flop_count(query, key, value)

    with FlopCounterMode(display=False, custom_mapping={fused: attention}) as counter:
        run()
    return int(counter.get_total_flops()) or None


def peak_megabytes(run: Callable[[], Any], device: torch.device | None = None) -> float | None:
    """Peak memory during ``run`` minus that before it, in MiB: of a CUDA device, or the process's resident memory.

    None where /proc does not report it.
    """
    run()  # the first pass also loads code and fills caches
    if device is not None and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        used = torch.cuda.memory_allocated(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - used) / 2**20
    release()  # so that memory which the pass reuses counts in full
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    before = resident("VmRSS")
    run()
    most = resident("VmHWM")
    return None if before is None or most is None else max(most - before, 0) / 1024


def weight_bytes(model: Sized, files: list[Path]) -> int:
    """Bytes of the saved weights: the files that the model was loaded from.

    For a model without files (ridge, an ensemble): the size of its weights in memory.
    """
    return sum(file.stat().st_size for file in files) if files else model.bytes


def _contexts(count: int, length: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.cumsum(rng.standard_normal((count, length)), axis=1).astype(np.float32))


def _pass_of(model: Measurable, context: torch.Tensor, horizon: int) -> Callable[[int], Any]:
    return lambda batch: model.predict(context[:batch], horizon).quantiles


def _static(model: Measurable, run: Callable[[int], Any]) -> dict[str, Any]:
    info = getattr(model, "info", None)
    active = {"active_parameters": info.active_parameters} if info and info.active_parameters < model.parameters else {}
    return {
        "parameters": model.parameters,
        **active,
        "bytes": weight_bytes(model, saved_weights(model.source) if isinstance(model, Model) else []),
        "flops": count_flops(lambda: run(1)),
    }


def _affordable(run: Callable[[int], Any]) -> int:
    """The number of series of the large pass, from one pass of 32, which also warms up."""
    seconds = _seconds(run, 32)
    for batch in (256, 128, 64):
        if seconds * batch / 32 <= LONGEST_PASS:
            return batch
    return 32


def _timed(passes: Mapping[str, Callable[[int], Any]], sizes: Mapping[str, int]) -> list[TimedPasses]:
    """Seconds of a pass of one series, and seconds per series at batch 32 and at the large batch."""
    return [
        {name: lambda run=run: median(_seconds(run, 1) for _ in range(LATENCY_CALLS)) for name, run in passes.items()},
        {name: lambda run=run: _seconds(run, 32) / 32 for name, run in passes.items()},
        {name: lambda run=run, size=sizes[name]: _seconds(run, size) / size for name, run in passes.items()},
    ]


def _seconds(run: Callable[[int], Any], batch: int) -> float:
    start = time.perf_counter()
    run(batch)
    return time.perf_counter() - start
