"""Does a forecaster use covariates that are known ahead? A target that two of them drive, forecast with and without.

    python benchmarks/covariates.py [MODEL…]      default: the embedded teacher

The target is a daily wave plus the effects of an event (one step in ten) and of a level (piecewise constant, 30 steps
long on average), plus normal noise. Neither event nor level can be forecast from its past. The mean absolute error
(MAE) of the median, over windows:

- without: the target alone
- past: event and level known up to the origin
- known: event and level known over the horizon, too
- by regression: the same, used by ``potstill forecast --known-method regression``
- unrelated: two covariates of another window, which say nothing about this one
- perfect: the noise alone, which no forecast can avoid
- regression: least squares of the context on wave, event and level, to show that the context tells the effects

``used`` is the share of the possible gain, (without − known) / (without − perfect), with a 95 % interval over windows,
by the model and by the regression.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts
import numpy as np
import torch

from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.types import Windows
from potstill.verbs.forecasting.known_method import MODEL, REGRESSION, predictor_by

CONTEXT, HORIZON, SEASON = 512, 96, 24
WINDOWS, QUICK_WINDOWS = 1000, 64
EVENT_RATE, LEVEL_STEPS = 0.1, 30
WAVE, EVENT, LEVEL = 2.0, 4.0, 2.0  # sizes of the effects; the signs of the last two differ from window to window
NOISE_MAE = 0.5
BOOTSTRAP = 1000


class Task:
    """``count`` windows: ``target`` and ``wave`` ``[n, L]``, ``covariates [n, 2, L]``, all in the target's units."""

    def __init__(self, count: int, seed: int):
        rng = np.random.default_rng(seed)
        length = CONTEXT + HORIZON
        steps = np.arange(length)
        phase = rng.uniform(0, SEASON, (count, 1))
        self.wave = np.stack(
            [np.sin(2 * np.pi * (steps + phase) / SEASON), np.cos(2 * np.pi * (steps + phase) / SEASON)]
        )
        event = (rng.random((count, length)) < EVENT_RATE).astype(float)
        changes = rng.random((count, length)) < 1 / LEVEL_STEPS
        levels = rng.normal(size=(count, length))
        last = np.maximum.accumulate(np.where(changes, steps, 0), axis=1)
        self.covariates = np.stack([event, np.take_along_axis(levels, last, axis=1)], axis=1)
        effects = np.array([EVENT, LEVEL]) * rng.choice([-1, 1], (count, 2))
        self.mean = WAVE * self.wave[0] + np.einsum("nk,nkl->nl", effects, self.covariates)
        self.target = self.mean + NOISE_MAE * np.sqrt(np.pi / 2) * rng.normal(size=(count, length))

    def errors(self, forecast: np.ndarray) -> np.ndarray:
        """MAE ``[n]`` of forecasts ``[n, H]``."""
        return np.abs(forecast - self.target[:, CONTEXT:]).mean(axis=1)

    def regression(self) -> np.ndarray:
        """Forecasts ``[n, H]`` by least squares on the context."""
        inputs = np.concatenate(
            [self.wave.transpose(1, 0, 2), self.covariates, np.ones_like(self.covariates[:, :1])], axis=1
        )
        out = np.empty((len(inputs), HORIZON))
        for row, (x, y) in enumerate(zip(inputs, self.target, strict=True)):
            effects = np.linalg.lstsq(x[:, :CONTEXT].T, y[:CONTEXT], rcond=None)[0]
            out[row] = effects @ x[:, CONTEXT:]
        return out


def main() -> None:
    """Measure every model and print the figures."""
    parser = harness.parser(__doc__)
    parser.add_argument("models", nargs="*", default=["embedded"], help="folders or ids; default: embedded")
    given = parser.parse_args()
    task = Task(QUICK_WINDOWS if given.quick else WINDOWS, seed=0)
    perfect, regression = task.errors(task.mean[:, CONTEXT:]), task.errors(task.regression())
    figures: dict[str, Any] = {
        "quick": given.quick,
        "windows": len(perfect),
        "mae": {"perfect": perfect.mean(), "regression": regression.mean()},
    }
    for name in given.models:
        found = measure(load_forecaster(name), task)
        label = Path(name).name
        figures["mae"][label] = {arm: errors.mean() for arm, errors in found.items()}
        figures.setdefault("used", {})[label] = used(found["without"], found["known"], perfect)
        figures.setdefault("used by regression", {})[label] = used(found["without"], found["by regression"], perfect)
        print(label, figures["mae"][label], figures["used"][label], file=sys.stderr)
    harness.finish(figures, given.output)


def measure(model: Forecaster, task: Task) -> dict[str, np.ndarray]:
    """MAE ``[n]`` of a model's median by arm."""
    context = torch.from_numpy(task.target[:, :CONTEXT]).float()
    known = torch.from_numpy(task.covariates).float()
    arms: dict[str, dict[str, Any]] = {
        "without": {},
        "past": {"past_covariates": known[..., :CONTEXT]},
        "known": {"future_covariates": known},
        "unrelated": {"future_covariates": known.roll(1, dims=0)},
    }
    windows = {arm: Windows.of_context(context, HORIZON, **more) for arm, more in arms.items()}
    found = {arm: task.errors(median(model, one)) for arm, one in windows.items()}
    return {**found, "by regression": task.errors(median(model, windows["known"], REGRESSION))}


def median(model: Forecaster, windows: Windows, method: str = MODEL) -> np.ndarray:
    """``[n, H]``."""
    forecast = predictor_by(method, model, np.full(len(windows), SEASON)).predict(windows, HORIZON)
    return forecast.at_levels(torch.tensor([0.5])).quantiles[:, 0].numpy()


def used(without: np.ndarray, known: np.ndarray, perfect: np.ndarray) -> dict[str, float]:
    """The share of the possible gain, with a 95 % bootstrap interval over windows."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(without), (BOOTSTRAP, len(without)))
    gains, possible = (without - known)[rows].mean(axis=1), (without - perfect)[rows].mean(axis=1)
    low, high = np.quantile(gains / possible, [0.025, 0.975])
    return {"value": (without - known).mean() / (without - perfect).mean(), "low": low, "high": high}


if __name__ == "__main__":
    main()
