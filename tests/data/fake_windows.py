"""A stand-in for SeriesWindows that holds its series in memory: the least that augmentation and sources rely on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from potstill.types import Windows


class FakeWindows:
    """Full windows of the rows ``[start, end)`` of each series, ids ascending with the series."""

    fingerprint = "fake"

    def __init__(self, series, start, end, dataset_of, context_length=64, prediction_length=16):
        self.context_length, self.prediction_length = context_length, prediction_length
        self.store = SimpleNamespace(
            values=np.concatenate(series).astype(np.float32),
            offsets=np.concatenate([[0], np.cumsum([len(s) for s in series])]),
            dataset_of=np.asarray(dataset_of, np.int32),
            datasets=[str(k) for k in range(max(dataset_of) + 1)],
        )
        self.bounds = (np.asarray(start, np.int64), np.asarray(end, np.int64))
        counts = np.maximum(self.bounds[1] - self.bounds[0] - context_length - prediction_length + 1, 0)
        self.upto = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self):
        return int(self.upto[-1])

    def locate(self, ids):
        ids = np.asarray(ids)
        assert (ids >= 0).all()
        assert (ids < len(self)).all()
        series = np.searchsorted(self.upto, ids, side="right") - 1
        return series, self.bounds[0][series] + self.context_length + ids - self.upto[series]

    def sample(self, n, seed):
        return np.random.default_rng(seed).choice(len(self), n, replace=False)

    def __getitems__(self, ids):
        series, origin = self.locate(ids)
        first = self.store.offsets[series] + origin - self.context_length
        rows = self.store.values[first[:, None] + np.arange(self.context_length + self.prediction_length)]
        return Windows(
            context=torch.from_numpy(rows[:, : self.context_length]),
            future=torch.from_numpy(rows[:, self.context_length :]),
            ids=torch.from_numpy(np.asarray(ids)),
            series=torch.from_numpy(series),
            origin=torch.from_numpy(origin),
        )


def fake_windows(sentinel=1e5, **lengths):
    """Three data sets of five noisy seasonal series; rows after the training part hold ``sentinel``."""
    rng = np.random.default_rng(0)
    sizes = (2000, 1500, 400, 350, 140)
    series = [np.sin(np.arange(n) * 2 * np.pi / 24) + rng.normal(size=n) for n in sizes]
    start, end = np.array([0, 100, 0, 0, 0]), np.array([1400, 1200, 300, 250, 100])
    for values, first, last in zip(series, start, end, strict=True):
        values[:first] = values[last:] = sentinel
    return FakeWindows(series, start, end, [0, 0, 1, 1, 2], **lengths)
