"""Teachers' outputs read from a label store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from potstill.teaching.base import TargetProvider
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.teaching.stores.logits import LogitStore
from potstill.teaching.stores.windows import StoredWindows
from potstill.types import STORED_FAMILY, ModelInfo, Output, Request, Tokens, Windows


class StoredForecasts(TargetProvider):
    """Forecasts that ``potstill label`` stored for the windows of a data set.

    Parameters
    ----------
    store
        Opened and checked against the data set and, if given, the teacher.
    """

    stored = True

    def __init__(self, store: ForecastStore):
        self.store = store
        self.infos = {store.info.name: store.info}

    def outputs(self, batch: Windows, requests: Mapping[str, Request]) -> dict[str, Output]:
        """The stored forecast of every window, for the whole horizon of the store, and its backtest if there is one."""
        ids = batch.ids.cpu().numpy()
        forecast, known = self.store.forecast(ids), None
        if self.store.label_share < 1:
            known = forecast.values[:, 0, 0].isfinite()
            forecast = replace(forecast, values=forecast.values.nan_to_num(0.0))
        output = Output(forecast, labelled=known, backtest=self.store.backtest(ids))
        return {name: _on_device_of(output, batch.ids) for name in self.infos}

    def dataset(self, dataset: Any) -> Any:
        """The stored windows, if the store holds its inputs."""
        return StoredWindows(self.store, len(dataset)) if self.store.stores_inputs else dataset


class StoredLogits(TargetProvider):
    """The largest logits that ``potstill label`` stored for the answer tokens of a data set.

    Parameters
    ----------
    store
        Opened and checked against the data set, the teacher and the temperature.
    """

    stored = True

    def __init__(self, store: LogitStore):
        self.store = store
        self.infos = {store.info.name: store.info}

    def outputs(self, batch: Tokens, requests: Mapping[str, Request]) -> dict[str, Output]:
        """The stored logits of the batch's answer tokens, row by row."""
        output = Output(self.store.logits(batch.ids.tolist()))
        return {name: _on_device_of(output, batch.ids) for name in self.infos}


def info_of_labels(info: ModelInfo) -> ModelInfo:
    """What a store will know about a teacher after it is labelled: its forecasts or logits only."""
    signals = {key: getattr(info, key) & {"forecast", "logits"} for key in ("signals", "group_signals")}
    return replace(info, family=STORED_FAMILY, layers=0, width=0, heads=0, **signals)


def _on_device_of(output: Output, ids: Tensor) -> Output:
    """The output on the device of the batch's ids."""
    return output if ids.device.type == "cpu" else output.to(ids.device)
