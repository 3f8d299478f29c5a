"""The embedded teacher's outermost quantiles on histories of a few values, as they are and with a limit.

Validation windows of the suite (512 → 96, monthly series 64 → 12), cut to their last 4 to 512 values: the share of true
values below each quantile, mean over data sets. The limit holds an outer quantile, in multiples of the distance from
the median to level 0.1 or 0.9, to that of Student's t distribution with two degrees of freedom.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import torch
from students import suite_folder
from students_judge import SETS

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.families.load import load_forecaster
from potstill.recipe import SeriesData
from potstill.types import Forecast

LENGTHS, WINDOWS = (4, 8, 16, 24, 48, 96, 512), 150
MONTHLY = ("fred_md", 64)  # its context; its horizon is that of the suite
LEVELS = (0.01, 0.05, 0.1, 0.9, 0.95, 0.99)
INNER = {0.01: 0.1, 0.05: 0.1, 0.95: 0.9, 0.99: 0.9}  # the level that limits each outer one
T_RATIO = {0.01: 3.69, 0.05: 1.55, 0.95: 1.55, 0.99: 3.69}  # t quantiles, two degrees of freedom, over that of 0.9


def main() -> None:
    """Measure every length on every data set and average."""
    given = harness.options(__doc__)
    model: Any = load_forecaster("embedded").freeze()
    sets = dict(list(SETS.items())[:2]) if given.quick else SETS
    batches = [windows_of(suite_folder() / f"{name}.csv", horizon) for name, (horizon, _) in sets.items()]
    figures: dict[str, Any] = {"quick": given.quick, "windows": WINDOWS, "sets": len(sets)}
    for length in LENGTHS:
        shares: dict[str, list[float]] = {}
        for batch in batches:
            if length <= batch.context.shape[1]:
                forecast = model.predict(batch.context[:, -length:], batch.future.shape[1])
                for name, value in below(forecast, batch.future).items():
                    shares.setdefault(name, []).append(value)
        figures[str(length)] = {name: float(np.mean(values)) for name, values in shares.items()}
        print(length, figures[str(length)], flush=True)
    harness.finish(figures, given.output)


def windows_of(path: Path, horizon: int) -> Any:
    """Validation windows, evenly."""
    context = MONTHLY[1] if path.stem == MONTHLY[0] else 512
    data = SeriesData(paths=[str(path)], split="suite", context_length=context, prediction_length=horizon)
    windows = SeriesWindows(open_store(data), data, "validation")
    return windows.batch(np.linspace(0, len(windows) - 1, WINDOWS).astype(np.int64))


def below(forecast: Forecast, truth: torch.Tensor) -> dict[str, float]:
    """The share of known true values below each quantile, and below each outer quantile with the limit."""
    quantiles, known = forecast.quantiles, truth.isfinite()
    at = {round(level, 2): quantiles[:, index] for index, level in enumerate(forecast.levels.tolist())}
    found = {}
    for level in LEVELS:
        found[str(level)] = (truth < at[level])[known].float().mean().item()
        if level in INNER:
            limit = at[0.5] + T_RATIO[level] * (at[INNER[level]] - at[0.5])
            held = torch.maximum(at[level], limit) if level < 0.5 else torch.minimum(at[level], limit)
            found[f"{level} limited"] = (truth < held)[known].float().mean().item()
    return found


if __name__ == "__main__":
    main()
