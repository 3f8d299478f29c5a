"""Batches of series become rows of the output table: the same code in this process and in a worker of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.tasks.base import forecaster_of
from potstill.verbs.forecasting.columns import KeyColumns
from potstill.verbs.forecasting.series import NOT_FINITE, BatchForecast, SeriesForecaster, reasons
from potstill.verbs.forecasting.table import ForecastTable

BATCH_SIZE = 256  # series
BATCH_VALUES = 20_000_000  # series times levels times steps: the memory of long forecasts is bounded


@dataclass(frozen=True)
class FinishedBatch:
    """The rows of some series in the output table, and what is said of them.

    Attributes
    ----------
    series
        Numbers of the series.
    rows
        Their rows in the table.
    notes
        A note for each series, empty where the model forecasts.
    factors
        See ``BatchForecast``.
    below_zero
        Numbers of series that are never below 0 and whose forecast is.
    spans
        First and last time of the series, by data set.
    """

    series: range
    rows: pa.Table
    notes: list[str]
    factors: np.ndarray
    below_zero: list[int]
    spans: dict[int, tuple[Any, Any]]


@dataclass(frozen=True)
class TableSettings:
    """What the output table is made of, see ``ForecastTable`` and :func:`potstill.forecast`.

    ``known_method`` is one of ``known_method.METHODS``, ``calibrate`` a number of horizons.
    """

    layout: str
    levels: Sequence[float]
    mean: bool
    noted: bool
    as_text: bool
    horizon: int
    non_negative: bool
    known_method: str
    calibrate: int

    def table(self, store: Store) -> ForecastTable:
        """The table of a store."""
        return ForecastTable(store, self.layout, self.levels, self.mean, self.noted, self.as_text)


class BatchForecaster:
    """Forecasts series and makes their rows of the table.

    Parameters
    ----------
    forecaster, store
        The model and the series.
    settings
        Those of the table.
    why
        Why the model does not forecast a series, see ``series.reasons``.
    """

    def __init__(self, forecaster: Any, store: Store, settings: TableSettings, why: list[str]):
        self.store, self.settings = store, settings
        self.table = settings.table(store)
        self.forecasts = SeriesForecaster(
            forecaster, store, settings.horizon, self.table.levels, why, settings.known_method, settings.calibrate
        )

    def __call__(self, series: range) -> FinishedBatch:
        """Forecast some series."""
        forecast, horizon = self.forecasts.forecast(series), self.settings.horizon
        keys, tail = self.table.keys, self.forecasts.tail
        # from the table's last row on
        stamps = [keys.stamps(i, int(self.store.lengths[i] + tail[i]) - 1, 1 + horizon) for i in series]
        below_zero = self._below_zero(series, forecast)
        if self.settings.non_negative:
            forecast.quantiles, forecast.mean = forecast.quantiles.clip(min=0), forecast.mean.clip(min=0)
        rows = self.table.batch(series, np.concatenate([one[1:] for one in stamps]), forecast)
        found = spans(self.store, keys, series, stamps)
        return FinishedBatch(series, rows, forecast.notes, forecast.factors, below_zero, found)

    def _below_zero(self, series: range, forecast: BatchForecast) -> list[int]:
        lowest, store = forecast.quantiles.min(axis=(1, 2)), self.store
        return [
            i
            for place, i in enumerate(series)
            if lowest[place] < 0 and store.to_input_units(i, np.nanmin(store.series(i), initial=np.inf)) >= 0
        ]


def spans(store: Store, keys: KeyColumns, series: range, stamps: list[np.ndarray]) -> dict[int, tuple[Any, Any]]:
    """First and last time of series by data set; ``stamps`` of each begin with the table's last row."""
    found: dict[int, tuple[Any, Any]] = {}
    for place, i in enumerate(series):
        if store.grid_rows[i]:
            dataset, last = int(store.dataset_of[i]), stamps[place][0]
            first = keys.stamps(i, -int(store.first_row[i]), 1)[0]
            known = found.get(dataset, (first, last))
            found[dataset] = min(known[0], first, last), max(known[1], first, last)
    return found


def worker_forecaster(
    model: str, device: str | None, store: Store, settings: TableSettings
) -> Callable[[range], FinishedBatch]:
    """The function of a worker; it maps the values of the store into memory.

    Raises
    ------
    UserError
        If the model is not at its place on the worker's machine.
    """
    forecaster = forecaster_of(model, device)
    return BatchForecaster(forecaster, store, settings, reasons(store, forecaster.max_context))


def batches(store: Store, values: int) -> list[range]:
    """The batches of all series with ``values`` numbers each.

    They do not depend on the engine, because the size of a batch can change the last bits of a forecast.
    """
    size = min(BATCH_SIZE, max(BATCH_VALUES // values, 1))
    return [range(first, min(first + size, len(store))) for first in range(0, len(store), size)]


class FiniteCheck:
    """Stops a forecast whose model gives no finite number.

    Parameters
    ----------
    store, why
        The series, and why the model does not forecast a series.
    model
        The model's name.
    """

    def __init__(self, store: Store, why: Sequence[str], model: str):
        self.store, self.why, self.model = store, why, model
        self.by_model = self.not_finite = 0

    def add(self, batch: FinishedBatch) -> bool:
        """Count a batch; returns whether it has a series whose forecast is not finite.

        Raises
        ------
        UserError
            The model's forecasts of all series so far are NaN or infinite.
        """
        chosen = [i for i in batch.series if not self.why[i]]
        found = sum(note.startswith(NOT_FINITE) for note in batch.notes)
        self.by_model, self.not_finite = self.by_model + len(chosen), self.not_finite + found
        if self.by_model and self.not_finite == self.by_model:
            raise UserError(
                f"{self.model}: its forecasts are not finite, such as that of {self.store.names[chosen[0]]}; the model"
                " is broken, or the values are too large for it: convert them to another unit.",
                key="model.forecast_not_finite",
            )
        return found > 0
