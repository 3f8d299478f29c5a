"""The training data set: a hash of (seed, id) decides whether an id is a real, augmented or synthetic window."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data import synthetic as synthesis
from potstill.data.rng import Rng, uniforms
from potstill.data.series import augment as augmentation
from potstill.data.series.sampling import WindowSampler
from potstill.data.series.splits import part_bounds
from potstill.data.series.windows import require_windows
from potstill.types import Windows

if TYPE_CHECKING:
    from potstill.data.series.windows import SeriesWindows
    from potstill.recipe import SeriesData

TRAINING_WINDOWS_VERSION = 1  # raise it whenever the same (seed, id) gives a different window, apart from generators

_KIND, _DATASET, _PLACE, _SHORT, _KEPT, _GAPS, _HOLES = range(101, 108)  # one salt per decision
_SHORTENED, _GAPPED, _MIN_HISTORY, _MIN_VALUES = 0.3, 0.05, 16, 3


class TrainingWindows:
    """Windows to train on, by id.

    Without synthetic or augmented shares and with ``balance`` 1, ids are those of the real windows, each of which
    occurs once. Otherwise an id identifies a draw: the kind of window, the window, its shortened history and its gaps
    are functions of ``(seed, id)``, so that a batch is the same in any order, run or process.

    Parameters
    ----------
    windows
        The real training windows.
    data
        Shares and balance. With ``train_windows``, augmentation reads no row outside of those windows.
    seed
        The run's seed.
    length
        Number of windows in the whole run; without shares and balance, the number of real windows is used.

    Raises
    ------
    UserError
        Real windows are needed and there are none.
    """

    def __init__(self, windows: SeriesWindows, data: SeriesData, seed: int, length: int) -> None:
        self.windows, self.data, self.seed = windows, data, seed
        self.stores_inputs = data.synthetic + data.augmented > 0 or data.balance < 1
        self._length = length if self.stores_inputs else len(windows)
        if data.synthetic < 1:
            require_windows(windows)
            self._sampler = WindowSampler(windows, data.balance)
            self._bounds = part_bounds(windows.store, data.split, windows.part)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Windows:
        return self.batch([index])

    @property
    def fingerprint(self) -> str:
        """sha256 over the real windows, the settings of the draws, and the generators' versions."""
        data = self.data
        parts = [self.windows.fingerprint, "training"]
        if self.stores_inputs:
            parts += [data.synthetic, data.augmented, data.balance, self.seed]
            parts += [TRAINING_WINDOWS_VERSION, synthesis.SYNTHETIC_VERSION, augmentation.AUGMENTATION_VERSION]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def batch(self, ids: Any) -> Windows:
        """The windows of these ids, in this order, as one batch."""
        ids = np.asarray(ids, dtype=np.int64)
        if not self.stores_inputs:
            return self.windows.batch(ids)
        kind = uniforms(self.seed, ids, _KIND)
        synthetic = kind < self.data.synthetic
        augmented = ~synthetic & (kind < self.data.synthetic + self.data.augmented)
        return self._assemble(ids, synthetic, augmented)

    __getitems__ = batch  # torch's DataLoader calls this name

    def _assemble(self, ids: np.ndarray, synthetic: np.ndarray, augmented: np.ndarray) -> Windows:
        import torch

        context_length = self.windows.context_length
        values = np.empty((len(ids), context_length + self.windows.prediction_length), np.float32)
        series, origin = np.full(len(ids), -1, np.int64), np.zeros(len(ids), np.int64)
        dataset = np.full(len(ids), -1, np.int64)
        if synthetic.any():
            values[synthetic] = synthesis.generate(self.seed, ids[synthetic], values.shape[1])
        if augmented.any():
            confined = self.data.train_windows is not None
            values[augmented] = augmentation.augment(
                self.windows, self._bounds, self.seed, ids[augmented], self._sampler, confined
            )
        plain = ~synthetic & ~augmented
        if plain.any():
            real = self._real(ids[plain])
            values[plain, :context_length] = real.context.numpy()
            values[plain, context_length:] = real.future.numpy()
            series[plain], origin[plain] = real.series.numpy(), real.origin.numpy()
            dataset[plain] = self.windows.store.dataset_of[series[plain]]
        degraded = np.ones(len(ids), bool) if self.data.balance < 1 else ~plain
        self._remove_values(values[:, :context_length], ids, degraded)
        values = torch.from_numpy(values)
        windows = Windows(
            context=values[:, :context_length],
            future=values[:, context_length:],
            ids=torch.from_numpy(ids),
            series=torch.from_numpy(series),
            origin=torch.from_numpy(origin),
            dataset=torch.from_numpy(dataset),
        )
        return self.windows.store.completed(windows)

    def _real(self, ids: np.ndarray) -> Windows:
        chosen = self._sampler.ids(uniforms(self.seed, ids, _DATASET), uniforms(self.seed, ids, _PLACE))
        return self.windows.batch(chosen)

    def _remove_values(self, context: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
        """Shorten some histories and add gaps to a few, in place; at least three values stay."""
        length = context.shape[1]
        short = rows & (uniforms(self.seed, ids, _SHORT) < _SHORTENED) & (length > _MIN_HISTORY)
        kept = (_MIN_HISTORY * (length / _MIN_HISTORY) ** uniforms(self.seed, ids, _KEPT)).astype(np.int64)
        for row in np.flatnonzero(short):
            if np.isfinite(context[row, length - kept[row] :]).sum() >= _MIN_VALUES:
                context[row, : length - kept[row]] = np.nan
        for row in np.flatnonzero(rows & (uniforms(self.seed, ids, _GAPS) < _GAPPED)):
            lost = _gaps(Rng(self.seed, int(ids[row]), _HOLES), length)
            if np.isfinite(context[row, ~lost]).sum() >= _MIN_VALUES:
                context[row, lost] = np.nan


def _gaps(rng: Rng, length: int) -> np.ndarray:
    """``[length]`` True where a value is removed: single steps at random, or a few stretches."""
    if rng.chance(0.5):
        return rng.generator.random(length) < rng.log_between(0.01, 0.4)
    lost = np.zeros(length, bool)
    for _ in range(rng.integer(1, 3)):
        begin = rng.integer(0, length - 1)
        lost[begin : begin + int(rng.log_between(1, max(2.0, length / 4)))] = True
    return lost
