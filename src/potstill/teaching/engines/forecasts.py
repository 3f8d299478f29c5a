"""Compute a teacher's forecasts of all windows of a data set once and store them in shards."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from potstill.errors import NotFinite, UserError
from potstill.families.base import batches_of
from potstill.teaching.backtest import relative_error
from potstill.teaching.engines.groups import WholeGroups
from potstill.teaching.engines.overlap import overlapped
from potstill.teaching.engines.progress import ProgressCounter, Report
from potstill.teaching.share import labelled
from potstill.teaching.stores.forecasts import (
    BACKTEST,
    INPUT_TYPES,
    LABEL_SHARE,
    LABEL_TYPES,
    OPTIONAL_INPUT_TYPES,
    ForecastStore,
    lengths,
    levels,
)
from potstill.teaching.stores.manifest import LabelSource, Manifest
from potstill.teaching.stores.writing import Distribute, begin_store, unfinished, write_rows
from potstill.types import Forecast, Windows

if TYPE_CHECKING:
    from potstill.families.base import Forecaster

LARGEST_FLOAT16 = 65504.0


def label_forecasts(
    forecaster: Forecaster,
    dataset: LabelSource,
    folder: str | Path,
    *,
    batch_size: int = 64,
    shard_windows: int = 2048,
    first: int = 0,
    count: int | None = None,
    backtest: int = 0,
    share: float = 1.0,
    seed: int = 0,
    progress: Report | None = None,
    provenance: Mapping[str, Any] | None = None,
    distribute: Distribute | None = None,
) -> ForecastStore:
    """Label the windows ``first … first + count`` of ``dataset`` into ``folder``, shard by shard.

    A kill loses the current shard only; the same call continues after the finished ones. Several processes may label
    different ranges into one folder; a range is widened to whole shards.

    Parameters
    ----------
    forecaster
        The teacher; its ``predict`` is called.
    dataset
        Windows by id. Where it ``stores_inputs`` (synthetic, augmented), the windows are stored as well.
    folder
        The label store to create or to continue.
    batch_size
        Windows per teacher pass; a group is never split, so a pass may have more.
    shard_windows
        Windows per shard, which are in memory together; an existing store keeps its own number.
    first, count
        The range of window ids; default all.
    backtest
        Steps of a backtest to store with the labels, for the gate of the objective; 0: none.
    share, seed
        Share of the windows to label, and the seed that decides which ones; the values of the others are NaN.
    progress
        Called after each batch.
    provenance
        Further information to record, such as the paths of the data.
    distribute
        Labels the shards in other processes, see ``stores.writing.Distribute``; default: in this one.

    Raises
    ------
    UserError
        If ``folder`` holds labels of another teacher, other data or other lengths (the message says which) or cannot be
        written; if the teacher cannot use the windows' groups or covariates, or a group spans two shards; or if the
        teacher's forecast of a window is not finite (the message names the window).
    """
    total = len(dataset)
    stop = total if count is None else min(first + count, total)
    if min(batch_size, shard_windows) < 1 or not 0 <= first < stop:
        raise UserError(
            f"{folder}: nothing to label: the data hold windows 0 to {total - 1}, requested were {first} to {stop - 1}"
            f" with batch size {batch_size} and {shard_windows} windows a shard.",
            key="labels.nothing_to_label",
        )
    folder = Path(folder)
    settings = {BACKTEST: backtest} if backtest else {}
    settings |= {LABEL_SHARE: share} if share < 1 else {}
    begin_store(folder, lambda: _describe(forecaster, dataset, shard_windows, settings, provenance))
    store = ForecastStore.open(folder, dataset, forecaster, provenance)
    store.manifest.check_shard_rows(folder, shard_windows)
    store.check_backtest(backtest)
    store.check_share(share)
    todo, kept = unfinished(store, first, stop, total)
    counter = ProgressCounter(progress, kept, sum(map(len, todo)), "windows")
    if distribute is not None:
        for ids in distribute(todo):
            counter.add(len(ids))
        return store
    labeller = ForecastLabeller(forecaster, dataset, store, batch_size=batch_size, seed=seed)
    if labeller.on_accelerator:
        labeller.label_overlapped(todo, counter)
        return store
    for ids in todo:
        labeller.label(ids, counter)
    return store


class ForecastLabeller:
    """Labels shards of a store that has begun; the same in any process, so that shards are the same.

    Parameters
    ----------
    forecaster, dataset, batch_size, seed
        As for :func:`label_forecasts`.
    store
        The store, opened with ``forecaster`` and ``dataset``.
    """

    def __init__(
        self, forecaster: Forecaster, dataset: LabelSource, store: ForecastStore, *, batch_size: int = 64, seed: int = 0
    ):
        self.forecaster, self.dataset, self.store = forecaster, dataset, store
        self.batch_size, self.seed = batch_size, seed
        self.groups = WholeGroups(store, dataset)

    @property
    def on_accelerator(self) -> bool:
        """Whether the teacher leaves the processor free to read and write meanwhile."""
        return torch.device(self.forecaster.device).type != "cpu"

    def label(self, ids: range, counter: ProgressCounter | None = None) -> None:
        """Label the windows of a shard and write it; ``counter`` counts each batch."""
        began = time.perf_counter()
        counter = counter or ProgressCounter(None, 0, len(ids), "windows")
        tensors = self._tensors(ids, self._windows(ids), counter)
        write_rows(self.store, ids, tensors, time.perf_counter() - began)

    def label_overlapped(self, todo: list[range], counter: ProgressCounter) -> None:
        """Label shards and write them, while others are read and written in threads."""
        began = time.perf_counter()

        def make(ids: range, windows: Windows) -> tuple[dict[str, Tensor], float]:
            nonlocal began
            tensors, since = self._tensors(ids, windows, counter), began
            began = time.perf_counter()
            return tensors, began - since

        overlapped(todo, self._windows, make, lambda ids, made: write_rows(self.store, ids, *made))

    def _windows(self, ids: range) -> Windows:
        return self.dataset.batch(np.arange(ids.start, ids.stop))

    def _tensors(self, ids: range, windows: Windows, counter: ProgressCounter) -> dict[str, Tensor]:
        """The arrays of a shard."""
        store = self.store
        self.groups.check(ids, windows)
        rows = labelled(windows, self.seed, store.label_share).nonzero()[:, 0]
        chosen = windows.take(rows)
        tensors = _label(self.forecaster, chosen, self.batch_size, store.backtest_steps, counter) if len(rows) else {}
        counter.add(len(windows) - len(rows))
        if len(rows) < len(windows):
            tensors = _spread(tensors, rows, len(windows), store)
        if store.stores_inputs:
            tensors |= _inputs(windows)
        return tensors


def _describe(
    forecaster: Forecaster,
    dataset: LabelSource,
    shard_windows: int,
    own: Mapping[str, Any],
    provenance: Mapping[str, Any] | None,
) -> Manifest:
    """The manifest of a new store.

    The teacher forecasts one window before anything is written: this determines ``arcsinh``, and errors occur early.
    """
    window = dataset.batch(np.zeros(1, np.int64))
    sizes = lengths(window)
    probe = _teacher_forecast(forecaster, window)
    settings = {**sizes, "levels": levels(forecaster), "arcsinh": probe.arcsinh, **own}
    return Manifest.of("forecasts", forecaster, dataset, settings, shard_windows, provenance)


def _label(
    forecaster: Forecaster, windows: Windows, batch_size: int, backtest: int, counter: ProgressCounter
) -> dict[str, Tensor]:
    """The labels of a shard's windows, in their order."""
    order, parts = batches_of(windows, batch_size)
    found: list[dict[str, Tensor]] = []
    for rows in parts:
        part = windows.take(rows)
        forecast = _teacher_forecast(forecaster, part)
        found.append({name: getattr(forecast, name).cpu() for name in LABEL_TYPES})
        if backtest:
            earlier = part.earlier(backtest)
            found[-1][BACKTEST] = relative_error(earlier, forecaster.predict(earlier, backtest, len(part))).float()
        counter.add(len(part))
    types = {**LABEL_TYPES, "values": torch.float32, BACKTEST: torch.float32}
    labels = {name: torch.cat([part[name] for part in found]).to(types[name]) for name in found[0]}
    if order is not None:
        labels = {name: tensor[order.argsort()] for name, tensor in labels.items()}
    return {**labels, "values": _to_half(labels["values"])}


def _spread(labels: dict[str, Tensor], rows: Tensor, count: int, store: ForecastStore) -> dict[str, Tensor]:
    """The labels of some rows among ``count`` windows; the others have NaN values, and a scale of 1."""
    steps, levels = store.manifest.settings["prediction_length"], len(store.manifest.settings["levels"])
    empty = {
        "values": torch.full((count, levels, steps), torch.nan, dtype=torch.float16),
        "loc": torch.zeros(count, 1, dtype=torch.float64),
        "scale": torch.ones(count, 1, dtype=torch.float64),
        **({BACKTEST: torch.full((count,), torch.nan)} if store.backtest_steps else {}),
    }
    for name, tensor in labels.items():
        empty[name] = empty[name].to(tensor.dtype)
        empty[name][rows] = tensor
    return empty


def _inputs(windows: Windows) -> dict[str, Tensor]:
    """The arrays of windows that a store keeps."""
    inputs = {name: (getattr(windows, name), kind) for name, kind in (INPUT_TYPES | OPTIONAL_INPUT_TYPES).items()}
    # copied: arrays that share memory cannot be written into one shard
    return {name: tensor.to("cpu", kind, copy=True) for name, (tensor, kind) in inputs.items() if tensor is not None}


def _to_half(values: Tensor) -> Tensor:
    """Half precision, unless values exceed its range: values far outside a context's scale, without arcsinh."""
    return values if values.abs().max() > LARGEST_FLOAT16 else values.half()


def _teacher_forecast(forecaster: Forecaster, windows: Windows) -> Forecast:
    """The teacher's forecast of windows; raises UserError if it is not finite."""
    try:
        forecast = forecaster.predict(windows, windows.future.shape[1], batch_size=len(windows))
    except NotFinite as error:
        raise _not_finite(windows, error.rows[0]) from None
    finite = forecast.values.isfinite().flatten(1).all(1) & (forecast.scale > 0).all(1)
    if not finite.all():
        raise _not_finite(windows, int((~finite).nonzero()[0]))
    return forecast


def _not_finite(windows: Windows, row: int) -> UserError:
    return UserError(
        f"window {int(windows.ids[row])} (series {int(windows.series[row])}, origin {int(windows.origin[row])}):"
        " the teacher's forecast is not finite; label with fp32 weights or leave that series out.",
        key="labels.forecast_not_finite",
    )
