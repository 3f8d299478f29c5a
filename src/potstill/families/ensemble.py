"""Ensemble of forecasters: their forecasts of the same windows, averaged quantile by quantile in one scale.

Shapes: B windows, H horizon, Q levels, N models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from potstill.families.base import Forecaster, ModelSource, as_windows, in_safe_units
from potstill.families.weighting import FixedWeights, Weighting
from potstill.types import ENSEMBLE, Forecast, ModelInfo, Windows


class Ensemble:
    """Several forecasters as one model, to label windows and to be evaluated next to a student of them.

    Parameters
    ----------
    models
        Forecasters by name; the ensemble has the levels and the scale of the first one.
    weights
        One per model, or a :class:`Weighting`; normalised to sum to 1. Default: equal.

    Attributes
    ----------
    levels
        ``[Q]`` levels of the first model.
    max_context, max_horizon
        Longest context and horizon, in steps, that every model handles in one pass.
    """

    def __init__(self, models: Mapping[str, Forecaster], weights: Sequence[float] | Weighting | None = None):
        if not models:
            raise ValueError("an ensemble needs at least one model")
        self.models = dict(models)
        weights = [1.0] * len(self.models) if weights is None else weights
        self.weighting = FixedWeights(weights) if isinstance(weights, Sequence) else weights
        members = list(self.models.values())
        self.levels = members[0].levels
        self.max_context = min(model.max_context for model in members)
        self.max_horizon = min(model.max_horizon for model in members)

    def predict(self, windows: Any, prediction_length: int, **options: Any) -> Forecast:
        """Average the models' forecasts of Windows, or of contexts ``[B, C]``, level by level.

        ``options`` are those of ``Forecaster.predict``.

        Raises
        ------
        UserError
            If the windows have groups or covariates and one of the models cannot use them.
        """
        windows = as_windows(windows, prediction_length)
        forecasts = [model.predict(windows, prediction_length, **options) for model in self.models.values()]
        return average_forecasts(forecasts, self._weights(windows).cpu())

    def _weights(self, windows: Windows) -> Tensor:
        """The weights, computed where the models are, from the windows cut to what all of them read."""
        windows, _ = in_safe_units(windows.newest(self.max_context))
        with torch.inference_mode():
            return self.weighting.of(windows.to(self.device))

    @property
    def device(self) -> Any:
        """Where the first model is; all are there."""
        return next(iter(self.models.values())).device

    @property
    def source(self) -> ModelSource:
        """The names of the models."""
        return ModelSource(" + ".join(self.models), ", ".join(m.source.location for m in self.models.values()))

    @property
    def fingerprint(self) -> str:
        """sha256 of the models' fingerprints, in order, and of what determines their weights."""
        parts = [*(model.fingerprint for model in self.models.values()), self.weighting.key]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def parameters(self) -> int:
        """Number of weights of all models."""
        return sum(model.parameters for model in self.models.values())

    @property
    def precision(self) -> str:
        """Data types of the models' weights."""
        return " + ".join(model.precision for model in self.models.values())

    @property
    def bytes(self) -> int:
        """Size of all models' weights in memory, in bytes."""
        return sum(model.bytes for model in self.models.values())

    @property
    def info(self) -> ModelInfo:
        """Name, sizes and levels of the ensemble; it has no layers."""
        each = [model.info for model in self.models.values()]
        return ModelInfo(
            name=self.source.name,
            family=ENSEMBLE,
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
