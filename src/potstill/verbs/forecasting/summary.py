"""What ``potstill forecast`` says at its end: series in and out, columns, dates, steps, repairs, time, file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from potstill.data.series.store import Store
from potstill.reporting.phrases import fitted_to
from potstill.verbs.forecasting.batches import FinishedBatch, TableSettings
from potstill.verbs.forecasting.columns import KeyColumns
from potstill.verbs.forecasting.series import trailing

MAX_NAMED = 5  # data sets and series that a message names


class Summary:
    """Collects what the summary says while batches are forecast; ``began`` is the ``time.monotonic()`` of the start."""

    def __init__(self, store: Store, keys: KeyColumns, why: Sequence[str], began: float):
        self.store, self.keys, self.why, self.began = store, keys, why, began
        self.rows = 0
        self.noted: list[str] = []
        self.below_zero: list[str] = []
        self.factors: list[np.ndarray] = []
        self.spans: dict[int, tuple[Any, Any]] = {}

    def add(self, batch: FinishedBatch) -> None:
        """Count a batch."""
        self.rows += len(batch.rows)
        names = self.store.names
        self.noted += [names[i] for i, note in zip(batch.series, batch.notes, strict=True) if note]
        self.below_zero += [names[i] for i in batch.below_zero]
        self.factors.append(batch.factors[[not self.why[i] for i in batch.series]])
        for dataset, (first, last) in batch.spans.items():
            known = self.spans.get(dataset, (first, last))
            self.spans[dataset] = min(known[0], first), max(known[1], last)

    def lines(self, settings: TableSettings, output: str) -> list[str]:
        """The summary's lines."""
        # the lines of the tables say what columns are used as; times joined from several columns have a note
        said = ("used: ", "columns: ")
        report = [line for line in self.store.report.lines() if not line.startswith(said)]
        widths = [self._widths(settings.calibrate)] if settings.calibrate else []
        series = self._series(settings.non_negative)
        return [*self._tables(), *report, *series, *widths, self._total(settings.horizon, output)]

    def _tables(self) -> list[str]:
        """Columns, dates, step and season of the first few data sets."""
        store, lines = self.store, []
        for dataset, name in enumerate(store.datasets[:MAX_NAMED]):
            table = store.keys.tables[dataset]
            ids = f"ids {', '.join(table.ids)}; " if table.ids else ""
            zone = f" ({table.zone})" if table.zone else ""
            time_column = f"time {table.time}{zone}" if table.time else "no time column"
            lines.append(f"{name}: {ids}{time_column}; forecast {_named(table.values)}")
            step = f"step {store.frequency[dataset]}" if store.frequency[dataset] else "no time step"
            step = step if store.regular[dataset] else "no regular step"
            season = int(store.season[np.argmax(store.dataset_of == dataset)])
            lines.append(f"{name}: {self._dates(dataset)}{step}, season {season}")
        more = len(store.datasets) - MAX_NAMED
        return lines + [f"… and {more:,} more files"] * (more > 0)

    def _dates(self, dataset: int) -> str:
        if dataset not in self.spans:
            return ""
        first, last = self.keys.written(np.array(self.spans[dataset]))
        # without a regular step, the store does not know the times of single rows
        return f"{first} to {last}, " if self.store.regular[dataset] else f"until {last}, "

    def _series(self, non_negative: bool) -> list[str]:
        """Series that end early, are constant, or are forecast without the model, and a hint."""
        store, lines = self.store, []
        tail = trailing(store)
        names = store.names
        empty = [names[i] for i in range(len(store)) if not store.lengths[i]]
        constant = [name for name, why in zip(names, self.why, strict=True) if why == "constant"]
        simply = [name for name in self.noted if name not in set(empty)]
        for group, what in (
            ([names[i] for i in np.flatnonzero((tail > 0) & (store.lengths > 0))],
             "end with missing values, forecast from the table's last row on"),
            (constant, "constant, forecast as that constant"),
            (simply, "forecast without the model, see the column note"),
            (empty, "without any value, their forecast is missing"),
        ):  # fmt: skip
            if group:
                lines.append(f"{len(group):,} series {what}: {_named(group)}")
        if self.below_zero and not non_negative:
            lines.append(
                f"{len(self.below_zero):,} series never fall below 0 and their forecast does; --non-negative sets what"
                f" is below to 0: {_named(self.below_zero)}"
            )
        return lines

    def _widths(self, horizons: int) -> str:
        """By how much past errors changed the intervals."""
        factors = np.concatenate([*self.factors, np.empty(0)])
        known = factors[np.isfinite(factors)]
        left = len(factors) - len(known)
        said = f"intervals {fitted_to(horizons)}, by as many further forecasts (--calibrate 0: none)"
        if not len(known):
            return f"{said}: of no series; none has known values there and enough history before them"
        low, middle, high = np.quantile(known, [0, 0.5, 1])
        more = f"; {left:,} without known values there, or with too little history, keep theirs" if left else ""
        return f"{said}: {len(known):,} series, factors {low:.2f} to {high:.2f}, median {middle:.2f}{more}"

    def _total(self, horizon: int, output: str) -> str:
        count, steps = len(self.store), "step" if horizon == 1 else "steps"
        seconds = time.monotonic() - self.began
        target = (f" written to {output}" if output else "") + f" in {seconds:.1f} s"
        return f"{count:,} series in, {count:,} out, {horizon:,} {steps} each: {self.rows:,} rows{target}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + ", …" * (len(names) > MAX_NAMED)
