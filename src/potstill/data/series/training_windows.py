"""The training data set: every id is a real, an augmented or a synthetic window, decided by a hash of (seed, id)."""

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
    from potstill.recipe import DataConfig

VERSION = 1  # raise it whenever the same (seed, id) gives another window, generators aside

_KIND, _DATASET, _PLACE, _SHORT, _KEPT, _GAPS, _HOLES = range(101, 108)  # what each hash decides
_SHORTENED, _GAPPED, _SHORTEST, _FEWEST = 0.3, 0.05, 16, 3


class TrainingWindows:
    """Windows to train on, by id.

    Without synthetic or augmented shares and with ``balance`` 1, ids are those of the real windows and every one is
    there once. Otherwise an id stands for a draw: its kind, its window, its shortened
    history and its gaps all follow from ``(seed, id)``, so that a batch is the same in any order, run or process.

    Parameters
    ----------
    windows
        The real training windows.
    data
        Shares and balance. With ``train_windows``, augmentation reads no row outside of those windows.
    seed
        The run's seed.
    length
        Windows of the whole run; the plain case has as many as there are real ones.

    Raises
    ------
    UserError
        Where real windows are asked for and there are none.
    """

    def __init__(self, windows: SeriesWindows, data: DataConfig, seed: int, length: int) -> None:
        self.windows, self.data, self.seed = windows, data, seed
        self.stores_inputs = data.synthetic + data.augmented > 0 or data.balance < 1
        self._length = length if self.stores_inputs else len(windows)
        if data.synthetic < 1:
            require_windows(windows)
            self._draws = WindowSampler(windows, data.balance)
            self._bounds = part_bounds(windows.store, data.split, windows.part)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Windows:
        return self.__getitems__([index])

    @property
    def fingerprint(self) -> str:
        """sha256 over the real windows, what is drawn from them, and the generators' versions."""
        data = self.data
        parts = [self.windows.fingerprint, "training"]
        if self.stores_inputs:
            parts += [data.synthetic, data.augmented, data.balance, self.seed]
            parts += [VERSION, synthesis.VERSION, augmentation.VERSION]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def __getitems__(self, ids: Any) -> Windows:
        """The windows of these ids, in this order, as one batch."""
        ids = np.asarray(ids, dtype=np.int64)
        if not self.stores_inputs:
            return self.windows.__getitems__(ids)
        kind = uniforms(self.seed, ids, _KIND)
        made = kind < self.data.synthetic
        mixed = ~made & (kind < self.data.synthetic + self.data.augmented)
        return self._assemble(ids, made, mixed)

    def _assemble(self, ids: np.ndarray, made: np.ndarray, mixed: np.ndarray) -> Windows:
        import torch

        context_length = self.windows.context_length
        values = np.empty((len(ids), context_length + self.windows.prediction_length), np.float32)
        series, origin = np.full(len(ids), -1, np.int64), np.zeros(len(ids), np.int64)
        if made.any():
            values[made] = synthesis.generate(self.seed, ids[made], values.shape[1])
        if mixed.any():
            confined = self.data.train_windows is not None
            values[mixed] = augmentation.augment(
                self.windows, self._bounds, self.seed, ids[mixed], self._draws, confined
            )
        plain = ~made & ~mixed
        if plain.any():
            real = self._real(ids[plain])
            values[plain, :context_length] = real.context.numpy()
            values[plain, context_length:] = real.future.numpy()
            series[plain], origin[plain] = real.series.numpy(), real.origin.numpy()
        spoilt = np.ones(len(ids), bool) if self.data.balance < 1 else ~plain
        self._spoil(values[:, :context_length], ids, spoilt)
        values = torch.from_numpy(values)
        return Windows(
            context=values[:, :context_length],
            future=values[:, context_length:],
            ids=torch.from_numpy(ids),
            series=torch.from_numpy(series),
            origin=torch.from_numpy(origin),
        )

    def _real(self, ids: np.ndarray) -> Windows:
        chosen = self._draws.ids(uniforms(self.seed, ids, _DATASET), uniforms(self.seed, ids, _PLACE))
        return self.windows.__getitems__(chosen)

    def _spoil(self, context: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
        """Shorten some histories and punch holes into a few, in place, leaving at least three values."""
        length = context.shape[1]
        short = rows & (uniforms(self.seed, ids, _SHORT) < _SHORTENED) & (length > _SHORTEST)
        kept = (_SHORTEST * (length / _SHORTEST) ** uniforms(self.seed, ids, _KEPT)).astype(np.int64)
        for row in np.flatnonzero(short):
            if np.isfinite(context[row, length - kept[row] :]).sum() >= _FEWEST:
                context[row, : length - kept[row]] = np.nan
        for row in np.flatnonzero(rows & (uniforms(self.seed, ids, _GAPS) < _GAPPED)):
            lost = _holes(Rng(self.seed, int(ids[row]), _HOLES), length)
            if np.isfinite(context[row, ~lost]).sum() >= _FEWEST:
                context[row, lost] = np.nan


def _holes(rng: Rng, length: int) -> np.ndarray:
    """``[length]`` True where a value is lost: here and there, or a few whole stretches."""
    if rng.chance(0.5):
        return rng.generator.random(length) < rng.log_between(0.01, 0.4)
    lost = np.zeros(length, bool)
    for _ in range(rng.integer(1, 3)):
        begin = rng.integer(0, length - 1)
        lost[begin : begin + int(rng.log_between(1, max(2.0, length / 4)))] = True
    return lost
