"""Forecast all series of a store into a table, in this process or on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from potstill.compute.cluster import Cluster
from potstill.compute.stream import stream
from potstill.console import progress_bar
from potstill.data.series.frames import CONSTANT
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.verbs.forecasting.batches import (
    BatchForecaster,
    FinishedBatch,
    FiniteCheck,
    TableSettings,
    batches,
    worker_forecaster,
)
from potstill.verbs.forecasting.summary import MAX_NAMED, Summary
from potstill.verbs.forecasting.table import written

#: forecasts batches of series and gives them in their order
Engine = Callable[[TableSettings, list[range]], Iterator[FinishedBatch]]


def in_process(forecaster: Forecaster, store: Store, why: list[str]) -> Engine:
    """Forecast in this process."""
    return lambda settings, todo: map(BatchForecaster(forecaster, store, settings, why), todo)


def on_cluster(cluster: Cluster, model: str, device: str | None, store: Store) -> Engine:
    """Forecast on the workers of a cluster: each loads the model from its place and maps the store into memory."""

    def engine(settings: TableSettings, todo: list[range]) -> Iterator[FinishedBatch]:
        return stream(cluster, partial(worker_forecaster, model, device, store, settings), todo, ordered=True)

    return engine


@dataclass(frozen=True)
class ForecastRun:
    """Writes the forecasts of all series.

    Attributes
    ----------
    store, why
        The series, and why the model does not forecast a series.
    model
        The model's name.
    settings
        Those of the table; it has a column ``note`` if a series has one.
    strict
        Whether a series that the model cannot forecast is an error.
    began
        ``time.monotonic()`` of the start.
    """

    store: Store
    why: list[str]
    model: str
    settings: TableSettings
    strict: bool
    began: float

    def write(self, engine: Engine, path: Path | None) -> tuple[Summary, list[pa.Table]]:
        """Write the table to ``path``, or give its parts; and what there is to say."""
        tables: list[pa.Table] = []
        # a forecast that is not finite is only found while forecasting: it adds the column, so all is written again
        for noted in dict.fromkeys((any(reason not in ("", CONSTANT) for reason in self.why), True)):
            settings = replace(self.settings, noted=noted)
            table = settings.table(self.store)
            summary = Summary(self.store, table.keys, self.why, self.began)
            numbers = len(table.levels) + settings.calibrate  # of a step: quantiles, and past errors
            todo = batches(self.store, numbers * settings.horizon)
            tables.clear()
            with suppress(_Noted), written(path) if path is not None else nullcontext(tables.append) as write:
                for rows in self._checked(engine(settings, todo), summary, noted):
                    write(rows)
                return summary, tables
        raise AssertionError("a table with notes has a column for them")

    def _checked(self, finished: Iterator[FinishedBatch], summary: Summary, noted: bool) -> Iterator[pa.Table]:
        """The rows of batches as they are finished, counted and checked; shows rate and time left."""
        check = FiniteCheck(self.store, self.why, self.model)
        with progress_bar("Forecasting", "series") as progress:
            for batch in finished:
                if check.add(batch):
                    if self.strict:
                        refuse_series([self.store.names[i] for i in batch.series], batch.notes)
                    if not noted:
                        raise _Noted
                summary.add(batch)
                yield batch.rows
                progress(batch.series.stop, len(self.store), "")


class _Noted(Exception):
    """A series has a note, and the table has no column for it."""


def refuse_series(names: Sequence[str], why: Sequence[str]) -> None:
    """Raise UserError if the model cannot forecast a series; ``why`` is empty for the others."""
    bad = [(name, reason) for name, reason in zip(names, why, strict=True) if reason not in ("", CONSTANT)]
    if bad:
        named = "; ".join(f"{name}: {reason}" for name, reason in bad[:MAX_NAMED])
        raise UserError(
            f"--strict: the model cannot forecast {len(bad):,} of {len(names):,} series ({named}); correct or remove"
            " them, or leave --strict out to have them forecast simply.",
            key="forecast.strict_series",
        )
