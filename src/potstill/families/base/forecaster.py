"""A loaded model that forecasts, and how many windows are split into batches.

Shapes: B windows, C context, Q levels.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from potstill.errors import NotFinite, UserError
from potstill.families.base.model import Model, evaluating
from potstill.families.base.units import in_safe_units
from potstill.types import Forecast, Output, Request, Windows


class Forecaster(Model):
    """A loaded model that forecasts.

    Attributes
    ----------
    levels
        ``[Q]`` float32 quantile levels of its forecasts.
    max_context, max_horizon
        Longest context the model reads and longest horizon it forecasts in one pass, in steps.
    horizon_multiple
        Horizons are computed in multiples of this many steps (an output patch).
    spread
        Factor by which :meth:`scale_spread` has changed the distances of the quantiles from the median.
    """

    levels: Tensor
    max_context: int
    max_horizon: int
    horizon_multiple: int = 1
    spread: float = 1.0
    signals = frozenset({"forecast"})

    @abstractmethod
    def forward(self, batch: Windows, request: Request) -> Output:
        """Run one differentiable forward pass: a Forecast of ``request.horizon`` steps, and the requested layers."""

    @abstractmethod
    def roll_out(self, windows: Windows, prediction_length: int) -> Forecast:
        """Forecast beyond ``max_horizon`` by feeding forecasts back as context."""

    def scale_spread(self, factor: float) -> bool:
        """Multiply the distances of all quantiles from the median by ``factor``, in the space of ``Forecast.values``.

        The change is saved with the model. Returns False, and changes nothing, if the family cannot do this.
        """
        return False

    @torch.inference_mode()
    def predict(self, windows: Any, prediction_length: int, batch_size: int = 256) -> Forecast:
        """Forecast many windows.

        Parameters
        ----------
        windows
            Windows, or contexts ``[B, C]`` (or ``[C]``) in input units with NaN where missing, of any size that
            float64 can represent. A context longer than ``max_context`` is cut.
        prediction_length
            Steps ahead. Beyond ``max_horizon`` the forecast is rolled out, with a warning.
        batch_size
            Windows per pass; a group is never split.

        Returns
        -------
        Forecast
            On the CPU; ``.quantiles`` is ``[B, Q, prediction_length]``, in the units and the precision (float32 or
            float64) of the contexts. Lists are read as float64.

        Raises
        ------
        UserError
            If the windows have groups or covariates and the model cannot use them.
        NotFinite
            A UserError: the forecast of a context with at least one value is NaN or infinite.
        """
        if prediction_length < 1:
            raise ValueError(f"prediction_length must be at least 1, got {prediction_length}")
        windows = as_windows(windows, prediction_length).newest(self.max_context)
        double = windows.context.dtype == torch.float64
        windows, units = in_safe_units(windows)
        self.check_windows(windows, Request(prediction_length))
        if prediction_length > self.max_horizon:
            warnings.warn(
                f"{self.source.name} was trained for horizons up to {self.max_horizon}; {prediction_length} steps are"
                " forecast by feeding its own forecasts back",
                stacklevel=1,  # torch's decorator is between this and the caller
            )
        order, parts = batches_of(windows, batch_size)
        with evaluating(self.module):
            forecasts = [self._predict(windows.take(rows), prediction_length) for rows in parts]
        back = slice(None) if order is None else order.argsort()
        forecast = Forecast(
            levels=self.levels.cpu(),
            values=torch.cat([f.values.float().cpu() for f in forecasts])[back],
            loc=torch.cat([f.loc.cpu() for f in forecasts])[back],
            scale=torch.cat([f.scale.cpu() for f in forecasts])[back],
            arcsinh=forecasts[0].arcsinh,
            double=double,
        )
        forecast = forecast if units is None else units.to_input(forecast)
        self._check_finite(forecast, windows.context)
        return forecast

    def _check_finite(self, forecast: Forecast, context: Tensor) -> None:
        """Raise NotFinite for forecasts that are NaN or infinite, except of contexts without any value."""
        # one sum is cheaper than a test of each number; only if it is not finite are the numbers tested
        if torch.stack([x.double().sum() for x in (forecast.values, forecast.loc, forecast.scale)]).isfinite().all():
            return
        has_values = ~context.isnan().all(dim=1).cpu()
        bad = (has_values & ~forecast.quantiles.isfinite().flatten(1).all(dim=1)).nonzero()[:, 0]
        if len(bad):
            raise NotFinite(self.source.name, bad.tolist(), len(has_values))

    def check_windows(self, windows: Windows, request: Request) -> None:
        """Raise UserError if the forward pass over these windows cannot return what ``request`` asks for."""
        if not windows.stands_alone and "forecast" not in self.group_signals:
            raise UserError(
                f"{self.source.name}: a {self.family} model forecasts each series on its own; it cannot use groups or"
                " covariates.",
                key="model.no_groups",
            )
        self.check_request(request, self.signals if windows.stands_alone else self.group_signals)

    def _predict(self, windows: Windows, prediction_length: int) -> Forecast:
        windows = windows.to(self.device)
        if prediction_length > self.max_horizon:
            return self.roll_out(windows, prediction_length)
        return self.forward(windows, Request(prediction_length)).forecast

    def _sizes(self) -> dict[str, Any]:
        levels = tuple(round(level, 6) for level in self.levels.tolist())
        return {"levels": levels, "max_context": self.max_context, "max_horizon": self.max_horizon}


def batches_of(windows: Windows, batch_size: int) -> tuple[Tensor | None, list[Any]]:
    """Split windows into batches of about ``batch_size`` rows; windows of one group stay in one batch.

    Returns
    -------
    tuple
        The order ``[B]`` in which the batches list the rows (None: unchanged), and the rows of each batch.
    """
    if windows.group is None:
        return None, [slice(first, first + batch_size) for first in range(0, max(len(windows), 1), batch_size)]
    order = windows.group.argsort(stable=True)
    _, sizes = windows.group.unique(return_counts=True)  # ascending, in the same order as `order`
    parts: list[list[int]] = [[]]
    for size in sizes.tolist():
        if parts[-1] and sum(parts[-1]) + size > batch_size:
            parts.append([])
        parts[-1].append(size)
    return order, list(order.split([sum(part) for part in parts]))


def as_windows(windows: Any, horizon: int) -> Windows:
    """Convert a user's contexts to Windows in float32 or float64; infinite values become missing."""
    if isinstance(windows, Windows):
        return windows
    if not isinstance(windows, Tensor):
        windows = np.asarray(windows)  # torch rounds the numbers of a list to float32
        windows = torch.as_tensor(windows if windows.dtype == np.float32 else windows.astype(np.float64))
    context = windows if windows.dtype in (torch.float32, torch.float64) else windows.double()
    context = context[None] if context.ndim == 1 else context
    if context.ndim != 2 or context.shape[1] == 0:
        raise ValueError(f"context must be [B, C] with C ≥ 1, got shape {tuple(context.shape)}")
    return Windows.of_context(torch.where(context.isinf(), torch.nan, context), horizon)
