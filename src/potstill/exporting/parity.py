"""How an exported model compares with the PyTorch model: differences, accuracy, size, speed.

Shapes: B windows, Q levels, H steps.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from potstill.console import ProgressCallback
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.cost import measure_costs
from potstill.evaluation.metrics import geometric_mean
from potstill.exporting.validation import Validation
from potstill.families.base import Forecaster

PYTORCH, EXPORTED = "pytorch", "exported"
COMPARED_WINDOWS = 256
COSTS = ("latency_ms_b1", "series_per_second_b32", "series_per_second_b256")

_COLD_START = """
import sys, time
start = time.perf_counter()
import numpy as np
from potstill.runtime import Runtime
context = np.sin(np.arange(int(sys.argv[2])) / 4.0)
Runtime(sys.argv[1]).predict(context, int(sys.argv[3])).quantiles
print(time.perf_counter() - start)
"""


def sql_by_dataset(
    models: Mapping[str, Forecaster], validation: Validation, progress: ProgressCallback | None = None
) -> dict[str, dict[str, float]]:
    """The scaled quantile loss of each model on each data set, on the same validation windows."""
    found = evaluate_models(models, validation.windows, validation.train, [], validation.config, PYTORCH, progress)
    return {name: {place: values["sql"] for place, values in found.metrics[name].items()} for name in models}


def added_loss(exported: Mapping[str, float], pytorch: Mapping[str, float]) -> float:
    """The geometric mean over data sets of exported / PyTorch SQL, minus 1."""
    return geometric_mean([exported[name] / pytorch[name] for name in pytorch]) - 1


def differences(model: Forecaster, exported: Forecaster, validation: Validation) -> dict[str, float]:
    """Largest and mean absolute difference of the quantiles, relative to the scale of each context."""
    windows = validation.sample(COMPARED_WINDOWS)
    steps = validation.windows.prediction_length
    first, second = (one.predict(windows.windows, steps) for one in (model, exported))
    scale = first.scale.numpy()[:, :, None]
    apart = np.abs(first.quantiles.double().numpy() - second.quantiles.double().numpy()) / scale
    return {"max_difference": float(apart.max()), "mean_difference": float(apart.mean())}


def costs(model: Forecaster, exported: Forecaster, validation: Validation, folder: Path) -> dict[str, Any]:
    """Bytes, latency and throughput of both in one interleaved run, and the exported model's cold start in seconds."""
    lengths = validation.windows.context_length, validation.windows.prediction_length
    measured = measure_costs({PYTORCH: model, EXPORTED: exported}, *lengths, reference=PYTORCH, seconds=10.0)
    kept = {name: {key: cost[key] for key in ("bytes", *COSTS)} for name, cost in measured.items()}
    return {**kept, "cold_start_seconds": _cold_start(folder, *lengths)}


def _cold_start(folder: Path, context: int, steps: int) -> float:
    """Seconds of import, load and first forecast in a fresh process without torch."""
    command = [sys.executable, "-c", _COLD_START, str(folder), str(context), str(steps)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ran.stdout.split()[-1])
