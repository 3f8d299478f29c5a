"""What a forecaster costs: size, operations, latency, throughput, memory. All models are measured in turns.

A pass is what a user calls: ``predict(context, prediction_length).quantiles``, from input units to input units.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
import torch

from potstill.families.base import Model
from potstill.families.load import saved_weights
from potstill.malloc import release, resident
from potstill.types import Forecast

BATCHES = (32, 256)
LONGEST_PASS = 3.0  # seconds; a slower b256 pass is measured on fewer series
LATENCY_CALLS = 5


class Measurable(Protocol):
    """What measuring needs: the module that holds the numbers, and predict."""

    module: torch.nn.Module

    def predict(self, context: torch.Tensor, prediction_length: int) -> Forecast:
        """Quantiles of the next ``prediction_length`` steps of ``context [B, C]``."""
        ...


def measure_costs(
    models: Mapping[str, Measurable],
    context_length: int,
    prediction_length: int,
    *,
    reference: str | None = None,
    repeats: int = 7,
    seconds: float = 20.0,
) -> dict[str, dict[str, Any]]:
    """Measure all models in one go, a round of each after the other, so that a busy machine slows all alike.

    Parameters
    ----------
    models
        Forecasters by name.
    reference
        The model that others are compared with (default: ``teacher`` if it is there).
    repeats, seconds
        Rounds, and the time after which no further round begins (one always runs).

    Returns
    -------
    Per model ``parameters``, ``bytes`` (see ``weight_bytes``), ``flops`` (one series), ``latency_ms_b1``,
    ``series_per_second_b32``, ``series_per_second_b256`` (medians over rounds), ``peak_mb`` (working memory of a b32
    pass in MiB, beyond what stood before, such as the weights; None where the system does not tell),
    ``speedup_{b1,b32,b256}`` (the reference's time over the model's own, median of paired rounds), ``rounds``, and
    ``note`` where a pass was cut.
    """
    reference = reference or ("teacher" if "teacher" in models else None)
    context = _contexts(max(BATCHES), context_length)
    passes = {name: _pass_of(model, context, prediction_length) for name, model in models.items()}
    costs = {name: _static(models[name], passes[name]) for name in models}
    sizes = {}
    for name, run in passes.items():
        costs[name]["peak_mb"] = peak_megabytes(lambda run=run: run(32))
        sizes[name] = _affordable(run)
        if sizes[name] < 256:
            costs[name]["note"] = f"series_per_second_b256 was measured on {sizes[name]} series: a pass of 256 is slow"
    rounds = in_turns(_timed(passes, sizes), repeats, seconds)
    for name, cost in costs.items():
        one, mid, large = ([r[i][name] for r in rounds] for i in range(3))
        cost["latency_ms_b1"] = 1e3 * median(one)
        cost["series_per_second_b32"] = 1 / median(mid)
        cost["series_per_second_b256"] = 1 / median(large)
        cost["rounds"] = len(rounds)
        if reference is None:
            continue
        for i, label in enumerate(("b1", "b32", "b256")):
            cost[f"speedup_{label}"] = speedup(rounds, i, reference, name)
    return costs


Timed = Mapping[str, Callable[[], float]]
"""By model: what runs a pass and returns the seconds it took (or seconds per piece of work)."""


def in_turns(kinds: Sequence[Timed], repeats: int, seconds: float) -> list[list[dict[str, float]]]:
    """Time several kinds of passes, a round of all models after the other; per round, kind and model what they took.

    No further round begins once ``seconds`` would be passed; one always runs.
    """
    rounds: list[list[dict[str, float]]] = []
    start, last = time.perf_counter(), 0.0
    while len(rounds) < max(repeats, 1):
        begun = time.perf_counter()
        if rounds and begun - start + last > seconds:
            break
        # every kind in turns, so that the paired passes of a round lie close together; every second round backwards,
        # because who comes after a large model finds the caches full of that
        way = -1 if len(rounds) % 2 else 1
        rounds.append([{name: timed[name]() for name in list(timed)[::way]} for timed in kinds])
        last = time.perf_counter() - begun
    return rounds


def speedup(rounds: Sequence[Sequence[Mapping[str, float]]], kind: int, reference: str, name: str) -> float:
    """The reference's time over the model's own: the median of the rounds, each of them paired."""
    return median(r[kind][reference] / r[kind][name] for r in rounds)


def count_flops(run: Callable[[], Any]) -> int | None:
    """Floating point operations of ``run``: its matrix products, convolutions and attention; None if none is seen."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # the one torch's own table leaves out

    def attention(query: Any, key: Any, value: Any, *args: Any, **options: Any) -> int:
        return sdpa_flop_count(query, key, value)

    with FlopCounterMode(display=False, custom_mapping={fused: attention}) as counter:
        run()
    return int(counter.get_total_flops()) or None


def peak_megabytes(run: Callable[[], Any]) -> float | None:
    """Largest resident memory during ``run`` beyond what stood before, in MiB; None where Linux does not tell."""
    run()  # the first pass also loads code and fills caches
    release()  # so that a pass that takes freed memory again counts in full
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    before = resident("VmRSS")
    run()
    most = resident("VmHWM")
    return None if before is None or most is None else max(most - before, 0) / 1024


def weight_bytes(model: Any, files: list[Path]) -> int:
    """Bytes of the weights as saved: the files that a model was loaded from, nothing beside them.

    A model that lies in no file (ridge, a committee) counts what its tensors hold, each storage once.
    """
    if files:
        return sum(file.stat().st_size for file in files)
    held = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in model.module.state_dict().values()}
    return sum(held.values())


def _contexts(count: int, length: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.cumsum(rng.standard_normal((count, length)), axis=1).astype(np.float32))


def _pass_of(model: Measurable, context: torch.Tensor, horizon: int) -> Callable[[int], Any]:
    return lambda batch: model.predict(context[:batch], horizon).quantiles


def _static(model: Measurable, run: Callable[[int], Any]) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in model.module.parameters()),
        "bytes": weight_bytes(model, saved_weights(model.source) if isinstance(model, Model) else []),
        "flops": count_flops(lambda: run(1)),
    }


def _affordable(run: Callable[[int], Any]) -> int:
    """How many series the large pass may have; run once at b32, so that it also warms up."""
    seconds = _seconds(run, 32)
    for batch in (256, 128, 64):
        if seconds * batch / 32 <= LONGEST_PASS:
            return batch
    return 32


def _timed(passes: Mapping[str, Callable[[int], Any]], sizes: Mapping[str, int]) -> list[Timed]:
    """Seconds of a pass of one, and seconds per series at b32 and at the large batch."""
    return [
        {name: lambda run=run: median(_seconds(run, 1) for _ in range(LATENCY_CALLS)) for name, run in passes.items()},
        {name: lambda run=run: _seconds(run, 32) / 32 for name, run in passes.items()},
        {name: lambda run=run, size=sizes[name]: _seconds(run, size) / size for name, run in passes.items()},
    ]


def _seconds(run: Callable[[int], Any], batch: int) -> float:
    start = time.perf_counter()
    run(batch)
    return time.perf_counter() - start
