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

from potstill.console import progress_bar
from potstill.data.series.past_windows import windows_before
from potstill.data.series.store import Store
from potstill.errors import NotFinite
from potstill.evaluation.metrics import pinball
from potstill.families.base import Forecaster
from potstill.families.known_regression import KnownRegression
from potstill.types import Forecast, Predictor, Windows

KnownMethod = Literal["auto", "model", "regression"]
MODEL, REGRESSION, IGNORED = "model", "regression", "ignored"
WORDS = {
    MODEL: "used by the model",
    REGRESSION: "used by a regression for each series; the model forecasts the rest",
    IGNORED: "not used, because they do not help",
}
METHODS = (MODEL, IGNORED, REGRESSION)
TRIED = 128  # windows that decide, from as many series as possible; a quarter where forecasts are rolled out
TRIED_BATCH = 16  # windows of one pass: a pass compares all rows of its windows with each other
ORIGINS = 8  # of a series at most
MOST_NAMED = 5  # columns
MARGIN = 0.05  # share of the loss by which another method must be better than the model's own


class WithoutKnown:
    """A model that does not see the covariates that are known ahead."""

    def __init__(self, model: Predictor):
        self.model = model
        self.levels, self.max_context, self.max_horizon = model.levels, model.max_context, model.max_horizon

    def predict(self, windows: Windows, prediction_length: int) -> Forecast:
        """As ``Forecaster.predict``."""
        return self.model.predict(replace(windows, future_covariates=None), prediction_length)


def predictor_by(method: str, model: Predictor, season: np.ndarray) -> Predictor:
    """The model with known covariates used by ``method``; ``season [S]`` is that of the store."""
    if method == REGRESSION:
        return KnownRegression(model, season)
    return WithoutKnown(model) if method == IGNORED else model


@dataclass(frozen=True)
class Choice:
    """The method that is used, and why: what is said in brackets."""

    method: str
    reason: str = ""

    def line(self, names: Sequence[str]) -> str:
        """What is said of it."""
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        named = ", ".join(names[:MOST_NAMED]) + more
        return f"{named}: {WORDS[self.method]}" + (f" ({self.reason})" if self.reason else "")


NOT_COMPARED = Choice(MODEL, "not compared with a regression, for lack of usable past windows")


def choose(
    forecaster: Forecaster, store: Store, usable: Sequence[int], horizon: int, levels: Sequence[float]
) -> Choice:
    """Compare the methods on the last known steps of the ``usable`` series, or of a sample of them.

    Every window counts the same: its losses are divided by their mean over the methods. The model's own use is kept
    unless another method's loss is lower by ``MARGIN``.
    """
    series, origin = _past_windows(store, usable, horizon, TRIED if horizon <= forecaster.max_horizon else TRIED // 4)
    losses: list[np.ndarray] = []
    with progress_bar("Comparing uses of known columns", "windows") as progress:
        for first in range(0, len(series), TRIED_BATCH):
            part = slice(first, first + TRIED_BATCH)
            try:
                losses.append(_losses(forecaster, store, series[part], origin[part], horizon, levels))
            except NotFinite:  # said with the forecast, if that has such series too
                return NOT_COMPARED
            progress(min(part.stop, len(series)), len(series), "")
    relative = np.concatenate(losses) if losses else np.empty((0, len(METHODS)))
    relative = relative[np.isfinite(relative).all(1)]
    if not len(relative):
        return NOT_COMPARED
    found = dict(zip(METHODS, (relative.mean(0) / relative.mean(0)[0]).tolist(), strict=True))
    best = min(found, key=lambda name: found[name])
    compared = f"{len(relative):,} past windows of {horizon:,} {'step' if horizon == 1 else 'steps'}"
    reason = f"loss on {compared} relative to the model's: ignored {found[IGNORED]:.3g}, regression"
    reason += f" {found[REGRESSION]:.3g}; override with --known-method"
    return Choice(best if found[best] < 1 - MARGIN else MODEL, reason)


def _losses(
    forecaster: Forecaster, store: Store, series: list[int], origin: np.ndarray, horizon: int, levels: Sequence[float]
) -> np.ndarray:
    """Quantile losses ``[n, methods]`` relative to their mean over the methods; NaN without a true value or a loss.

    Known covariates that are missing in the steps ahead are missing in the past windows as well.
    """
    windows = windows_before(store, series, origin, forecaster.max_context, horizon)
    assert windows.future_covariates is not None
    assert store.covariates is not None
    known = len(store.covariates.names.past)
    for row, i in enumerate(series):
        ahead = store.covariates.block(i)[known:, int(store.lengths[i]) :][:, :horizon]
        windows.future_covariates[row, :, -horizon:][torch.from_numpy(np.isnan(ahead))] = torch.nan
    truth = np.stack([store.series(i)[at : at + horizon] for i, at in zip(series, origin.tolist(), strict=True)])
    seen = np.isfinite(truth)
    found = []
    for method in METHODS:
        forecast = predictor_by(method, forecaster, store.season).predict(windows, horizon)
        quantiles = forecast.at_levels(torch.tensor(levels)).quantiles.numpy()
        loss = np.where(seen[:, None], pinball(quantiles, np.where(seen, truth, 0), np.array(levels)), 0)
        found.append(loss.sum((1, 2)))
    losses = np.stack(found, axis=1)
    mean = losses.mean(1, keepdims=True)
    return np.divide(losses, mean, out=np.full_like(losses, np.nan), where=mean > 0)


def _past_windows(store: Store, usable: Sequence[int], horizon: int, most: int) -> tuple[list[int], np.ndarray]:
    """Series and origins of at most ``most`` windows before the last known steps.

    Before an origin are at least as many steps as after it, and two seasons.
    """
    room = (store.lengths - np.maximum(2 * store.season, horizon)) // horizon  # windows of each series
    able = np.array([i for i in usable if room[i] > 0], int)
    if not len(able):
        return [], np.zeros(0, np.int64)
    able = able[np.unique(np.linspace(0, len(able) - 1, most).astype(int))]
    counts = np.minimum(room[able], min(ORIGINS, most // len(able)))
    series = np.repeat(able, counts)
    back = np.concatenate([np.arange(1, 1 + count) for count in counts.tolist()])
    return series.tolist(), store.lengths[series] - back * horizon
