"""Ensemble of forecasters: their forecasts of the same windows, averaged quantile by quantile in one scale.

Shapes: B windows, H horizon, Q levels, N models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from potstill.families.base import Forecaster
from potstill.types import Forecast, ModelInfo

ENSEMBLE_FAMILY = "ensemble"


class Ensemble:
    """Several forecasters as one model, to be evaluated next to the student that learned from them.

    Parameters
    ----------
    models
        Forecasters by name; the ensemble has the levels and the scale of the first one.
    weights
        One per model, normalised to sum to 1; default: equal.

    Attributes
    ----------
    levels
        ``[Q]`` levels of the first model.
    max_context, max_horizon
        Longest context and horizon, in steps, that every model handles in one pass.
    """

    def __init__(self, models: Mapping[str, Forecaster], weights: Sequence[float] | None = None):
        if not models:
            raise ValueError("an ensemble needs at least one model")
        self.models = dict(models)
        self.weights = None if weights is None else list(weights)
        members = list(self.models.values())
        self.levels = members[0].levels
        self.max_context = min(model.max_context for model in members)
        self.max_horizon = min(model.max_horizon for model in members)

    def predict(self, windows: Any, prediction_length: int) -> Forecast:
        """Average the models' forecasts of Windows, or of contexts ``[B, C]``, level by level.

        Raises
        ------
        UserError
            If the windows have groups or covariates and one of the models cannot use them.
        """
        forecasts = [model.predict(windows, prediction_length) for model in self.models.values()]
        return average_forecasts(forecasts, self.weights)

    @property
    def parameters(self) -> int:
        """Number of weights of all models."""
        return sum(model.parameters for model in self.models.values())

    @property
    def bytes(self) -> int:
        """Size of all models' weights in memory, in bytes."""
        return sum(model.bytes for model in self.models.values())

    @property
    def info(self) -> ModelInfo:
        """Name, sizes and levels of the ensemble; it has no layers."""
        each = [model.info for model in self.models.values()]
        return ModelInfo(
            name=" + ".join(self.models),
            family=ENSEMBLE_FAMILY,
            parameters=self.parameters,
            active_parameters=sum(info.active_parameters for info in each),
            layers=0,
            width=0,
            heads=0,
            levels=each[0].levels,
            max_context=self.max_context,
            max_horizon=self.max_horizon,
            group_signals=frozenset({"forecast"}).intersection(*(info.group_signals for info in each)),
        )


def average_forecasts(forecasts: Sequence[Forecast], weights: Sequence[float] | Tensor | None = None) -> Forecast:
    """Average forecasts level by level (the Wasserstein barycentre), in the first one's levels, scale and arcsinh.

    Parameters
    ----------
    forecasts
        N forecasts of the same B windows and H steps; levels, scales and arcsinh may differ.
    weights
        ``[N]``, or ``[N, B]`` if they differ by window; normalised to sum to 1. Default: equal.

    Returns
    -------
    Forecast
        ``values [B, Q, H]`` sorted along Q; ``loc``, ``scale``, ``levels`` and ``arcsinh`` of ``forecasts[0]``.
    """
    if not forecasts:
        raise ValueError("no forecasts to average")
    first = forecasts[0]
    share = torch.as_tensor([1.0] * len(forecasts) if weights is None else weights, dtype=torch.float32)
    share = share.to(first.values.device)
    if share.shape[0] != len(forecasts) or (share < 0).any() or not (share.sum(0) > 0).all():
        raise ValueError("weights must be one per forecast, none negative, not all zero")
    share = (share / share.sum(0)).reshape(len(forecasts), -1, 1, 1)
    aligned = [forecast.at_levels(first.levels).in_scale_of(first).values.float() for forecast in forecasts]
    values = sum(part * values for part, values in zip(share, aligned, strict=True))
    return replace(first, values=values)
