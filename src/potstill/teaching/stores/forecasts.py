"""A teacher's stored forecasts by window id, mapped into memory and joined to the windows of a batch."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from potstill.errors import UserError
from potstill.teaching.stores.manifest import Manifest, WindowSource
from potstill.teaching.stores.shards import INPUTS, LABELS, Shard, count_rows, read_shard, shard_path
from potstill.teaching.stores.timing import seconds_per_window
from potstill.types import Forecast, Windows

if TYPE_CHECKING:
    from potstill.families.base import Forecaster

SERIAL_ELEMENTS = 32_768


class LabelStore:
    """Labels of one teacher for one data set; made by :func:`potstill.teaching.stores.make.make_labels`.

    Shards are opened when a window of theirs is first asked for, verified once, and stay mapped. Several threads and
    forked or spawned workers may read one store; it may be read while others still write shards to it.
    """

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.manifest = manifest
        self.key = manifest.key
        self._levels = torch.tensor(manifest.levels, dtype=torch.float32)
        self._names = tuple(LABELS) + (tuple(INPUTS) if manifest.stores_inputs else ())
        self._shards: dict[int, Shard] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        dataset: WindowSource | None = None,
        forecaster: Forecaster | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> LabelStore:
        """Open a store and check that it belongs to ``dataset`` and ``forecaster``, where they are given.

        ``settings`` is what ``dataset`` was made with, as ``make_labels`` was given it: the message names what differs.

        Raises
        ------
        UserError
            Where there is no store, or it comes from another teacher, other data or other lengths (it says which).
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        if dataset is not None:
            manifest.check_dataset(folder, dataset, settings)
        if forecaster is not None:
            manifest.check_teacher(folder, forecaster)
        return cls(folder, manifest)

    @property
    def stores_inputs(self) -> bool:
        """Whether contexts and futures stand beside the labels, so that windows can be read from the store alone."""
        return self.manifest.stores_inputs

    def labelled(self) -> int:
        """How many windows have labels from id 0 on without a gap."""
        index, total, full = 0, 0, self.manifest.shard_windows
        while (rows := count_rows(shard_path(self.folder, index))) > 0:
            total += rows
            if rows < full:
                break
            index += 1
        return total

    def seconds_per_window(self) -> float:
        """What a label cost when it was made; 0 where that was not noted."""
        return seconds_per_window(self.folder)

    def forecast(self, ids: Any) -> Forecast:
        """The teacher's forecasts of the windows ``ids [B]``: values ``[B, Q, H]`` float32, in the order of ``ids``.

        Raises
        ------
        UserError
            Where windows have no labels, or a shard is corrupt (it names the file).
        """
        return self._forecast(self._rows(_as_ids(ids)))

    def attach(self, windows: Windows, horizon: int | None = None) -> Windows:
        """The same windows with the teacher's stored forecasts, or their first ``horizon`` steps, as ``labels``.

        The labels go to the device that the windows are on.
        """
        labels = self.forecast(windows.ids.cpu().numpy())
        if horizon is not None:
            labels.values = labels.values[:, :, :horizon]
        return replace(windows, labels=labels).to(windows.context.device)

    def windows(self, ids: Any) -> Windows:
        """Windows ``ids`` with labels, read from the store alone; needs ``stores_inputs``."""
        if not self.stores_inputs:
            raise UserError(
                f"{self.folder}: holds labels without inputs; read its windows from the data and attach them."
            )
        ids = _as_ids(ids)
        rows = self._rows(ids)
        inputs = {name: _gather(rows, name) for name in INPUTS}
        return Windows(**inputs, ids=torch.from_numpy(ids), labels=self._forecast(rows))

    def _forecast(self, rows: list[tuple[Shard, int]]) -> Forecast:
        gathered = {name: _gather(rows, name) for name in LABELS}
        gathered["values"] = _widen(gathered["values"])
        return Forecast(levels=self._levels, arcsinh=self.manifest.arcsinh, **gathered)

    def _rows(self, ids: np.ndarray) -> list[tuple[Shard, int]]:
        indices, rows = np.divmod(ids, self.manifest.shard_windows)
        shards = {index: self._shard(index) for index in np.unique(indices).tolist()}
        found = [(shards[index], row) for index, row in zip(indices.tolist(), rows.tolist(), strict=True)]
        missing = [i for i, (shard, row) in enumerate(found) if shard is None or row >= len(shard)]
        if missing:
            raise _Missing(
                f"{self.folder}: {len(missing)} of {len(ids)} windows asked for have no labels (the first is window"
                f" {ids[missing[0]]}); label the rest with `potstill label --output {self.folder}` and the same"
                " options."
            )
        return found  # type: ignore[return-value]  # no None is left

    def _shard(self, index: int) -> Shard | None:
        shard = self._shards.get(index)
        if shard is not None or index < 0:
            return shard
        with self._lock:
            if index not in self._shards:
                try:
                    self._shards[index] = read_shard(shard_path(self.folder, index), self.key, self._names)
                except FileNotFoundError:
                    return None
            return self._shards[index]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "manifest": self.manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)


class LabelledWindows:
    """The first ``length`` windows of a store that holds inputs: context, truth and labels in one read.

    They are those of the data set that was labelled, and nothing is generated or mixed a second time.
    """

    stores_inputs = True

    def __init__(self, store: LabelStore, length: int):
        self.store, self._length = store, length

    def __len__(self) -> int:
        return self._length

    def __getitems__(self, ids: Sequence[int] | np.ndarray) -> Windows:
        """Windows ``ids`` in one gather, labels included."""
        return self.store.windows(ids)


class _Missing(UserError):
    """Windows that no shard holds."""


def _as_ids(ids: Any) -> np.ndarray:
    return np.asarray(ids, dtype=np.int64).reshape(-1)


def _gather(rows: list[tuple[Shard, int]], name: str) -> torch.Tensor:
    # Row by row: a shuffled batch touches nearly as many shards as it has windows, and a plain copy of 4 KB
    # takes less than a microsecond, a fancy index per shard several.
    if not rows:
        raise ValueError("no window ids given")
    first = rows[0][0].arrays[name]
    # shards may differ in the precision of their values
    gathered = np.empty((len(rows), *first.shape[1:]), max(shard.arrays[name].dtype for shard, _ in rows))
    for i, (shard, row) in enumerate(rows):
        gathered[i] = shard.arrays[name][row]
    return torch.from_numpy(gathered)


def _widen(half: torch.Tensor) -> torch.Tensor:
    """``half`` as float32, in pieces too small for torch to share out: waking threads takes longer than the work."""
    if half.dtype == torch.float32:
        return half
    wide = torch.empty(half.shape)
    rows = max(1, SERIAL_ELEMENTS // max(1, half[0].numel()))
    for target, part in zip(wide.split(rows), half.split(rows), strict=True):
        target.copy_(part)
    return wide
