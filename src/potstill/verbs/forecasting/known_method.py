"""How covariates that are known ahead are used: by the model, by a regression for each series, or not at all.

Which of them is best differs from table to table, so by default the last known steps of the series decide.

Shapes: n windows, Q levels, C context steps, H steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from potstill.data.series.store import Store
from potstill.errors import NotFinite
from potstill.evaluation.histories import Histories
from potstill.evaluation.metrics import pinball
from potstill.families.base import Forecaster
from potstill.families.known_regression import KnownRegression
from potstill.types import Forecast, Windows

KnownMethod = Literal["auto", "model", "regression"]
MODEL, REGRESSION, IGNORED = "model", "regression", "ignored"
WORDS = {
    MODEL: "used by the model",
    REGRESSION: "used by a regression for each series, the model forecasts the rest",
    IGNORED: "not used, they do not help",
}
TRIED = 128  # windows that decide, about, from as many series as possible
ORIGINS = 8  # of a series at most
MARGIN = 0.05  # share of the loss by which another method must be better than the model's own


def windows_before(store: Store, series: Sequence[int], origin: np.ndarray, longest: int, horizon: int) -> Windows:
    """Windows of series up to ``origin [n]``, with the covariates and groups of the store.

    Steps between the last known value and the origin are missing values of the context.
    """
    length = min(longest, int(origin.max()))
    contexts = np.full((len(series), length), np.nan, np.float32)
    for place, (i, at) in enumerate(zip(series, origin.tolist(), strict=True)):
        known = store.series(i)[max(at - length, 0) : at]
        first = length - min(at, length)
        contexts[place, first : first + len(known)] = known
    windows = Windows.of_context(torch.from_numpy(contexts), horizon)
    if store.covariates is None and store.groups is None:
        return windows
    return store.completed(replace(windows, series=torch.tensor(series), origin=torch.from_numpy(origin)))


def forecast_by(method: str, forecaster: Forecaster, windows: Windows, season: np.ndarray) -> Forecast:
    """Forecast windows whose known covariates are used by ``method``; ``season [S]`` is that of the store.

    Raises
    ------
    NotFinite
        For forecasts that are not finite.
    """
    horizon = windows.future.shape[1]
    if method == REGRESSION and windows.future_covariates is not None:
        return KnownRegression(forecaster, season).predict(windows, horizon)
    if method == IGNORED:
        windows = replace(windows, future_covariates=None)
    return forecaster.predict(windows, horizon)


@dataclass(frozen=True)
class Choice:
    """The method that is used, and why: what is said in brackets."""

    method: str
    reason: str = ""

    def line(self, names: Sequence[str]) -> str:
        """What is said of it."""
        return f"{', '.join(names)}: {WORDS[self.method]}" + (f" ({self.reason})" if self.reason else "")


NOT_COMPARED = Choice(MODEL, "there are no past windows to compare it with a regression")


def choose(
    forecaster: Forecaster, store: Store, usable: Sequence[int], horizon: int, levels: Sequence[float]
) -> Choice:
    """Compare the methods on the last known steps of the ``usable`` series, or of a sample of them.

    The model's own use is kept unless another method's loss is lower by ``MARGIN``.
    """
    series, origin = _past_windows(store, usable, horizon)
    if not series:
        return NOT_COMPARED
    truth = np.stack([store.series(i)[at : at + horizon] for i, at in zip(series, origin.tolist(), strict=True)])
    past = Histories(store).before(np.array(series), origin, horizon)
    counted = past.usable & np.isfinite(truth).any(1)
    if not counted.any():
        return NOT_COMPARED
    windows = windows_before(store, series, origin, forecaster.max_context, horizon)
    losses = {}
    for method in (MODEL, IGNORED, REGRESSION):
        try:
            forecast = forecast_by(method, forecaster, windows, store.season)
        except NotFinite:  # said with the forecast, if that has such series too
            return NOT_COMPARED
        quantiles = forecast.at_levels(torch.tensor(levels)).quantiles.numpy()
        loss = 2 * np.nanmean(pinball(quantiles, truth, np.array(levels))[counted], axis=(1, 2))
        losses[method] = float((loss / past.scale[counted]).mean())
    best = min(losses, key=lambda name: losses[name])
    better = losses[best] < (1 - MARGIN) * losses[MODEL]
    compared = ", ".join(f"{name} {loss:.3g}" for name, loss in losses.items())
    reason = f"SQL of {counted.sum():,} past windows of {horizon:,} steps: {compared}; --known-method decides otherwise"
    return Choice(best if better else MODEL, reason)


def _past_windows(store: Store, usable: Sequence[int], horizon: int) -> tuple[list[int], np.ndarray]:
    """Series and origins of windows before the last known steps.

    Before an origin are at least as many steps as after it, and two seasons.
    """
    room = (store.lengths - np.maximum(2 * store.season, horizon)) // horizon  # windows of each series
    able = np.array([i for i in usable if room[i] > 0], int)
    if not len(able):
        return [], np.zeros(0, np.int64)
    able = able[np.unique(np.linspace(0, len(able) - 1, TRIED).astype(int))]
    most = min(ORIGINS, -(-TRIED // len(able)))
    series = np.repeat(able, np.minimum(room[able], most))
    back = np.concatenate([np.arange(1, 1 + count) for count in np.minimum(room[able], most).tolist()])
    return series.tolist(), store.lengths[series] - back * horizon
