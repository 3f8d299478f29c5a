"""Closed-form ridge regression from the standardised context to the horizon: a strong and very fast baseline.

Shapes: N windows, C context steps, H horizon steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from potstill.evaluation.metrics import EVALUATION_LEVELS
from potstill.types import Forecast, Windows

RIDGE_MAX_WINDOWS = 20_000
RIDGE_MIN_WINDOWS = 20
RIDGE_CHUNK = 1024
HELD_OUT = 0.2
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
LARGEST_TARGET = 10.0  # times the context's spread: otherwise a nearly constant context outweighs all others


class RidgeForecaster:
    """A fitted linear model, with the ``predict`` of any forecaster.

    Attributes
    ----------
    weight, bias, spread
        The weights ``[C, H]``, the bias ``[H]`` and the quantiles of the errors ``[9, H]``, float32.
    levels, max_context, max_horizon
        As for any forecaster.
    penalty, training_windows
        The penalty chosen on held-out windows, and the number of windows it was fitted on.
    """

    def __init__(self, weight: Tensor, bias: Tensor, spread: Tensor, penalty: float, training_windows: int):
        self.weight, self.bias, self.spread = (part.float().contiguous() for part in (weight, bias, spread))
        self.penalty, self.training_windows = penalty, training_windows
        self.levels = torch.tensor(EVALUATION_LEVELS, dtype=torch.float32)
        self.max_context, self.max_horizon = self.weight.shape

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.weight.numel() + self.bias.numel() + self.spread.numel()

    @property
    def bytes(self) -> int:
        """Size of the weights in memory, in bytes."""
        return 4 * self.parameters

    @torch.inference_mode()
    def predict(self, windows: Any, prediction_length: int) -> Forecast:
        """Forecast of Windows or of contexts ``[N, C]`` (NaN = missing), in one matrix product.

        The horizon is at most the one of the fit.
        """
        if prediction_length > self.max_horizon:
            raise ValueError(f"ridge was fitted for {self.max_horizon} steps, which is less than {prediction_length}")
        context = windows.context if isinstance(windows, Windows) else windows
        x, loc, scale = standardise(context, self.max_context)
        middle = torch.addmm(self.bias, x, self.weight)
        values = (middle[:, None] + self.spread)[:, :, :prediction_length]
        return Forecast(levels=self.levels, values=values, loc=loc.double(), scale=scale.double())


@dataclass
class _Moments:
    """Sums over windows for the closed form: count, first and second moments."""

    count: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(*(getattr(self, n) + getattr(other, n) for n in ("count", "x", "y", "xx", "xy")))

    def solve(self, penalties: tuple[float, ...]) -> list[tuple[Tensor, Tensor]]:
        """Weight ``[C, H]`` and bias ``[H]`` for each penalty (per window), from one eigendecomposition."""
        mean_x, mean_y = self.x / self.count, self.y / self.count
        covariance = self.xx / self.count - torch.outer(mean_x, mean_x)
        cross = self.xy / self.count - torch.outer(mean_x, mean_y)
        size, basis = torch.linalg.eigh(covariance)
        projected = basis.T @ cross
        found = []
        for penalty in penalties:
            weight = basis @ (projected / (size.clamp(min=0)[:, None] + penalty))
            found.append((weight, mean_y - mean_x @ weight))
        return found


def fit_ridge(train: Any, ids: np.ndarray) -> RidgeForecaster | None:
    """Fit on a data set's training windows; None if fewer than ``RIDGE_MIN_WINDOWS`` are complete.

    Their latest fifth chooses the penalty and provides the quantiles of the errors for each step. The weights are then
    fitted again on all of them.

    Parameters
    ----------
    train
        A ``SeriesWindows`` of the training part.
    ids
        Window ids of the data set, ascending; at most ``RIDGE_MAX_WINDOWS`` are useful.
    """
    early, gap, late = _split(train, ids)
    held_x, held_y = _gather(train, late)
    moments = _moments(train, early)
    total = moments + _moments(train, gap) + _moments_of(held_x, held_y)
    if total.count < RIDGE_MIN_WINDOWS:
        return None
    if moments.count < RIDGE_MIN_WINDOWS or len(held_x) == 0:
        moments, (held_x, held_y) = total, _gather(train, ids)
    errors = [_error(held_x, held_y, *fitted) for fitted in moments.solve(PENALTIES)]
    best = int(np.argmin([float(e.square().mean()) for e in errors]))
    levels = torch.tensor(EVALUATION_LEVELS, dtype=torch.float32)
    spread = torch.quantile(errors[best], levels, dim=0)
    spread = spread - spread[len(EVALUATION_LEVELS) // 2]
    weight, bias = total.solve(PENALTIES[best : best + 1])[0]
    return RidgeForecaster(weight, bias, spread, PENALTIES[best], total.count)


def standardise(context: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The last ``length`` steps, standardised, with missing values at the mean; and loc, scale ``[N, 1]``."""
    context = context[:, -length:].float()
    known = torch.isfinite(context)
    count = known.sum(1, keepdim=True).clamp(min=1)
    zero = torch.zeros((), dtype=context.dtype)
    loc = torch.where(known, context, zero).sum(1, keepdim=True) / count
    centred = torch.where(known, context - loc, zero)
    scale = (centred.square().sum(1, keepdim=True) / count).sqrt()
    scale = torch.where(scale > 1e-6 * loc.abs(), scale, torch.zeros_like(scale))
    x = torch.where(scale > 0, centred / scale, zero)
    if x.shape[1] < length:
        x = torch.nn.functional.pad(x, (length - x.shape[1], 0))
    return x, loc, scale


def _split(train: Any, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The early windows of each series, those whose future overlaps the late ones, and the late ones."""
    series, origin = train.locate(ids)
    cut = np.empty(len(ids))
    for one in np.unique(series):
        rows = series == one
        cut[rows] = np.quantile(origin[rows], 1 - HELD_OUT)
    late, early = origin > cut, origin + train.prediction_length <= cut
    return ids[early], ids[~early & ~late], ids[late]


def _gather(train: Any, ids: np.ndarray) -> tuple[Tensor, Tensor]:
    """Standardised contexts and futures of the complete windows among ``ids``."""
    length = train.context_length
    if len(ids) == 0:
        return torch.zeros(0, length), torch.zeros(0, train.prediction_length)
    windows = train.batch(ids)
    train.store.release()  # of a large file, random windows would map all of it
    x, loc, scale = standardise(windows.context, length)
    y = ((windows.future - loc) / scale).clamp(-LARGEST_TARGET, LARGEST_TARGET)
    usable = torch.isfinite(windows.future).all(1) & (torch.isfinite(windows.context).sum(1) >= 3)
    usable &= x.square().sum(1) > 0
    return x[usable], y[usable]


def _moments_of(x: Tensor, y: Tensor) -> _Moments:
    return _Moments(len(x), x.double().sum(0), y.double().sum(0), (x.T @ x).double(), (x.T @ y).double())


def _moments(train: Any, ids: np.ndarray) -> _Moments:
    total = _moments_of(*_gather(train, ids[:0]))
    for start in range(0, len(ids), RIDGE_CHUNK):
        total = total + _moments_of(*_gather(train, ids[start : start + RIDGE_CHUNK]))
    return total


def _error(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return y - torch.addmm(bias.float(), x, weight.float())
