"""Test doubles: a store of arrays in memory, its windows, and forecasters with known forecasts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from potstill.data.series.calendar import TimeStep
from potstill.data.series.keys import SeriesKeys
from potstill.evaluation.metrics import EVALUATION_LEVELS
from potstill.types import Forecast, Windows


class FakeStore:
    """Series in memory; each belongs to a data set."""

    def __init__(self, series: list[np.ndarray], season: int = 1, dataset_of: list[int] | None = None):
        self.arrays = [np.asarray(x, np.float32) for x in series]
        self.season = np.full(len(series), season, np.int32)
        self.dataset_of = np.array(dataset_of or [0] * len(series), np.int32)
        self.datasets = [f"set{i}" for i in range(int(self.dataset_of.max()) + 1)]
        self.loc, self.scale = np.zeros(len(series)), np.ones(len(series))
        self.names = [f"set{d}/s{i}" for i, d in enumerate(self.dataset_of)]
        self.keys = SeriesKeys(columns=["y"] * len(series))
        self.missing = np.array([np.isnan(x).sum() for x in self.arrays])

    def series(self, i: int) -> np.ndarray:
        return self.arrays[i]

    def step(self, i: int) -> TimeStep:
        return TimeStep.parse("D")

    def timestamps(self, i: int, first: int, count: int) -> np.ndarray:
        return self.step(i).stamps(0, first, count)

    def release(self) -> None:
        """Its arrays are no memory map."""

    def to_input_units(self, series, values):
        shape = np.shape(series) + (1,) * (np.ndim(values) - np.ndim(series))
        return np.asarray(values, np.float64) * self.scale[series].reshape(shape) + self.loc[series].reshape(shape)

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(x) for x in self.arrays], np.int64)

    def __len__(self) -> int:
        return len(self.arrays)


class FakeWindows:
    """Windows of a FakeStore whose futures are in the last or first part of each series."""

    def __init__(
        self, store: FakeStore, context_length: int, prediction_length: int, part: str = "test", stride: int = 1
    ):
        self.store, self.part, self.stride = store, part, stride
        self.context_length, self.prediction_length = context_length, prediction_length
        ends = (store.lengths * 0.8).astype(np.int64)
        self.bounds = (np.zeros_like(ends), ends) if part == "train" else (ends, store.lengths)
        pairs = [(i, o) for i in range(len(store)) for o in self._origins(len(store.series(i)))]
        self.at = np.array(pairs, np.int64).reshape(-1, 2)

    def _origins(self, length: int) -> range:
        cut = int(length * 0.8)
        if self.part == "train":
            return range(min(self.context_length, cut), cut - self.prediction_length + 1, self.stride)
        return range(cut, length - self.prediction_length + 1, self.stride)

    def locate(self, ids):
        return self.at[ids, 0], self.at[ids, 1]

    def of_dataset(self, name: str) -> np.ndarray:
        return np.flatnonzero(self.store.dataset_of[self.at[:, 0]] == self.store.datasets.index(name))

    def draw(self, name: str, most: int, seed: int = 0) -> np.ndarray:
        ids = self.of_dataset(name)
        return ids if len(ids) <= most else np.sort(np.random.default_rng(seed).choice(ids, most, replace=False))

    def __len__(self) -> int:
        return len(self.at)

    def batch(self, ids) -> Windows:
        context = np.full((len(ids), self.context_length), np.nan, np.float32)
        future = np.zeros((len(ids), self.prediction_length), np.float32)
        for row, (series, origin) in enumerate(self.at[ids]):
            x = self.store.series(series)
            past = x[max(0, origin - self.context_length) : origin]
            context[row, len(context[row]) - len(past) :] = past
            future[row] = x[origin : origin + self.prediction_length]
        series, origin = self.locate(ids)
        context, future, *places = (
            torch.from_numpy(np.ascontiguousarray(part)) for part in (context, future, np.asarray(ids), series, origin)
        )
        return Windows(context, future, places[0], places[1], places[2])


class Last:
    """Not a torch module: repeats the last known value with a fixed width; ``shift`` makes it worse."""

    levels = torch.tensor(EVALUATION_LEVELS, dtype=torch.float32)
    max_context = max_horizon = 1000
    parameters, bytes = 15, 60

    def __init__(self, shift: float = 0.0, width: float = 1.0):
        self.shift, self.width, self.calls = shift, width, 0
        self.map = torch.nn.Linear(4, 3)

    def predict(self, windows: Any, prediction_length: int) -> Forecast:
        self.calls += 1
        context = windows.context if isinstance(windows, Windows) else windows
        last = torch.stack([row[torch.isfinite(row)][-1] for row in context])
        levels = torch.tensor(EVALUATION_LEVELS, dtype=torch.float32)
        values = (levels - 0.5)[None, :, None].expand(len(context), -1, prediction_length) * self.width + self.shift
        return Forecast(levels, values, last[:, None].double(), torch.ones(len(context), 1, dtype=torch.float64))


class Broken(Last):
    """Returns NaN for the second row of every batch."""

    def predict(self, windows: Any, prediction_length: int) -> Forecast:
        found = super().predict(windows, prediction_length)
        values = found.values.clone()
        values[1:2] = float("nan")
        found.values = values
        return found
