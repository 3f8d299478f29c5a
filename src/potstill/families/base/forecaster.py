"""A loaded model that forecasts, and how many windows are split into batches.

Shapes: B windows, C context, Q levels.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from potstill.errors import NotFinite, UserError
from potstill.families.base.contexts import contexts_of
from potstill.families.base.data_frames import predict_frame
from potstill.families.base.model import Model, evaluating
from potstill.families.base.units import in_safe_units
from potstill.types import Forecast, Output, Request, Windows

if TYPE_CHECKING:
    import pandas as pd

MAX_STEPS = 100_000  # of a forecast; longer ones would need hours of roll-outs and fill the memory
DEFAULT_LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))


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
    calibrate_horizons
        Past horizons to whose errors ``potstill forecast`` fits this model's intervals by default, see
        ``evaluation.calibrated``; 0: none. ``predict`` gives the intervals as trained.
    groups_advice
        What a user of groups or covariates should do if this model cannot read them.
    """

    levels: Tensor
    max_context: int
    max_horizon: int
    horizon_multiple: int = 1
    spread: float = 1.0
    calibrate_horizons: int = 0
    groups_advice: str = "use a Chronos-2 model"
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
    def predict(
        self,
        windows: Any,
        prediction_length: int,
        batch_size: int = 256,
        *,
        quantiles: Sequence[float] | None = None,
    ) -> Forecast:
        """Forecast many windows.

        Parameters
        ----------
        windows
            Windows, or contexts in input units with NaN where missing, of any size that float64 can represent:
            ``[B, C]`` or ``[C]`` as an array, tensor, Series or list, or a list of them with different lengths. A
            context longer than ``max_context`` is cut.
        prediction_length
            Steps ahead, at most 100,000. Beyond ``max_horizon`` the forecast is rolled out, with a warning.
        batch_size
            Windows per pass; a group is never split.
        quantiles
            Levels in (0, 1); default: the model's own.

        Returns
        -------
        Forecast
            On the CPU; ``.quantiles`` is ``[B, Q, prediction_length]``, in the units and the precision (float32 or
            float64) of the contexts. Lists are read as float64.

        Raises
        ------
        UserError
            If the contexts are not numbers or have another shape, or the windows have groups or covariates and the
            model cannot use them.
        NotFinite
            A UserError: the forecast of a context with at least one value is NaN or infinite.
        """
        _check_request(prediction_length, quantiles)
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
        return forecast if quantiles is None else forecast.at_levels(torch.tensor(sorted(set(quantiles))))

    def predict_df(
        self,
        df: pd.DataFrame,
        future_df: pd.DataFrame | None = None,
        id_column: str = "item_id",
        timestamp_column: str = "timestamp",
        target: str | list[str] = "target",
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DEFAULT_LEVELS,
        batch_size: int = 256,
        context_length: int | None = None,
        cross_learning: bool = False,
        validate_inputs: bool = True,
        freq: str | None = None,
    ) -> pd.DataFrame:
        """Forecast a long data frame, with the signature and the result of chronos-forecasting's ``predict_df``.

        Parameters
        ----------
        df
            A row for each item and time, with regular times. Further columns are covariates of the past, numbers or
            categories; a model that cannot use them ignores them with a warning.
        future_df
            ``prediction_length`` rows for each item with the covariates that are known for the future.
        id_column, timestamp_column, target
            Names of columns. Several targets of an item are forecast together, if the model can do that.
        prediction_length
            Steps ahead; default: ``max_horizon``.
        quantile_levels
            Levels in (0, 1).
        batch_size
            Rows (targets and covariates) per pass.
        context_length
            Steps of history that are read, at most ``max_context``.
        cross_learning
            Whether all items of a batch are forecast together.
        validate_inputs
            Whether frames are checked and sorted.
        freq
            The step as a pandas offset; default: inferred, which takes three rows of some item and no gaps.

        Returns
        -------
        pandas.DataFrame
            ids, times, ``target_name``, ``predictions`` (the median), and a column for each level, such as ``0.1``.
            As in chronos-forecasting quantiles are not sorted.

        Raises
        ------
        UserError
            For frames without these columns or with wrong rows, and for covariates that the model cannot use.
        """
        steps = self.max_horizon if prediction_length is None else prediction_length
        _check_request(steps, None)
        targets = [target] if isinstance(target, str) else list(target)
        return predict_frame(
            self,
            df,
            future_df,
            (id_column, timestamp_column, targets),
            steps,
            quantile_levels,
            batch_size=batch_size,
            context_length=context_length,
            cross_learning=cross_learning,
            validate_inputs=validate_inputs,
            freq=freq,
        )

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
                f"{self.source.name}: {self.family} models forecast each series on its own, without groups and"
                f" covariates; {self.groups_advice}.",
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
    return Windows.of_context(contexts_of(windows), horizon)


def _check_request(prediction_length: int, quantiles: Sequence[float] | None) -> None:
    if not 1 <= prediction_length <= MAX_STEPS:
        raise UserError(
            f"prediction_length: is {prediction_length}; it must be from 1 to {MAX_STEPS:,} steps.",
            key="option.out_of_range",
        )
    if quantiles is not None and not (len(quantiles) and all(0 < level < 1 for level in quantiles)):
        raise UserError(
            f"quantiles: {list(quantiles)} must be levels between 0 and 1, such as [0.1, 0.5, 0.9].",
            key="quantiles.bad_levels",
        )
