"""Windows together with all experts' forecasts of them: computed for a batch, or stored once and read.

Shapes: B windows, N experts, Q levels, H horizon.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from potstill.families.base import Forecaster, as_windows, evaluating, in_safe_units
from potstill.families.experts.fusion import aligned, common_scale, run_expert
from potstill.families.experts.windows import ForecastWindows
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.teaching.stores.windows import StoredWindows
from potstill.types import Forecast, Windows


class AlignedExpert:
    """An expert whose forecasts have the levels and the scale in which a mixture averages.

    Its stored forecasts need no conversion when they are read, which would take longer than the router's step.
    """

    def __init__(self, expert: Forecaster, levels: Tensor):
        self.expert, self.levels = expert, levels

    def __getattr__(self, name: str) -> Any:
        return getattr(self.expert, name)

    @property
    def fingerprint(self) -> str:
        """That of the expert, with the levels."""
        return hashlib.sha256(f"{self.expert.fingerprint} aligned {self.levels.tolist()}".encode()).hexdigest()

    @torch.inference_mode()
    def predict(self, windows: Any, prediction_length: int, batch_size: int = 256) -> Forecast:
        """As ``Forecaster.predict``; a horizon beyond the expert's is rolled out."""
        windows, units = in_safe_units(as_windows(windows, prediction_length))
        common = common_scale(windows, self.levels)
        parts = []
        with evaluating(self.expert.module):
            for first in range(0, len(windows), batch_size):
                rows = slice(first, first + batch_size)
                part = windows.take(rows).to(self.expert.device)
                forecast = run_expert(self.expert, part, prediction_length)
                parts.append(aligned(forecast, common_scale(part, self.levels)).cpu())
        forecast = Forecast(self.levels, torch.cat(parts), common.loc, common.scale, arcsinh=True)
        return forecast if units is None else units.to_input(forecast)


class LiveForecasts:
    """A data set of windows that adds the forecasts of all experts to each batch.

    Other attributes are those of the data set.
    """

    def __init__(self, dataset: Any, experts: Mapping[str, Forecaster], levels: Tensor):
        self.dataset = dataset
        self.experts = [AlignedExpert(expert, levels) for expert in experts.values()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, ids: Any) -> ForecastWindows:
        """The windows of these ids with the experts' forecasts."""
        windows = self.dataset.batch(ids)
        forecasts = [expert.predict(windows, windows.future.shape[1]).values for expert in self.experts]
        return with_forecasts(windows, torch.stack(forecasts, dim=1))


class LabelledWindows(StoredWindows):
    """The windows of a store that holds them, to be forecast by further experts without being stored again."""

    stores_inputs = False

    def __init__(self, store: ForecastStore, length: int, fingerprint: str):
        super().__init__(store, length)
        self.fingerprint = fingerprint


class StoredForecastWindows:
    """A data set of windows and experts' forecasts that are read from one label store per expert.

    Parameters
    ----------
    dataset
        The windows.
    stores
        By expert, in the order of the mixture.
    inputs
        A store that holds the windows, which are then read from it; it may be that of another expert.
    """

    def __init__(self, dataset: Any, stores: Mapping[str, ForecastStore], inputs: ForecastStore | None):
        self.dataset, self.stores, self.inputs = dataset, dict(stores), inputs
        self.stores_inputs = inputs is not None

    def __len__(self) -> int:
        return len(self.dataset)

    def of(self, names: Sequence[str]) -> StoredForecastWindows:
        """The same windows with the forecasts of some experts."""
        return StoredForecastWindows(self.dataset, {name: self.stores[name] for name in names}, self.inputs)

    def batch(self, ids: Any) -> ForecastWindows:
        """The windows of these ids with the experts' forecasts."""
        windows = self.dataset.batch(ids) if self.inputs is None else self.inputs.windows(ids)
        return with_forecasts(windows, torch.stack([store.forecast(ids).values for store in self.stores.values()], 1))

    __getitems__ = batch  # torch's DataLoader calls this name


def with_forecasts(windows: Windows, experts: Tensor) -> ForecastWindows:
    """Windows with the experts' forecasts ``[B, N, Q, H]`` of them."""
    return ForecastWindows(**{f.name: getattr(windows, f.name) for f in fields(Windows)}, experts=experts)
