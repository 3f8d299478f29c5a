"""A sample of the real windows: where none is generated, the experts forecast no more than the recipe says."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from potstill.data.permutation import Permutation
from potstill.types import Windows


class SampledWindows:
    """Some of the windows of a data set, in a random order.

    Every window is as probable as any other, as ``balance: 1`` promises. The order is random too, so that the first
    windows, by which the router's features are standardised, are of all series.

    Parameters
    ----------
    dataset
        Real windows by id; none is generated.
    count
        How many of them; all if there are fewer.
    seed
        Decides which ones.
    """

    stores_inputs = False

    def __init__(self, dataset: Any, count: int, seed: int):
        self.dataset, self.seed = dataset, seed
        self._order, self._length = Permutation(len(dataset), seed), min(count, len(dataset))

    def __len__(self) -> int:
        return self._length

    @property
    def fingerprint(self) -> str:
        """That of the data set, with the order; as with generated windows the number does not belong to it."""
        return hashlib.sha256(f"{self.dataset.fingerprint} sampled {self.seed}".encode()).hexdigest()

    def batch(self, ids: Any) -> Windows:
        """The windows at these places of the sample, as one batch."""
        places = np.asarray(ids, dtype=np.int64)
        if places.size and places.max() >= self._length:
            raise IndexError(f"place out of the {self._length} of the sample")
        return self.dataset.batch(self._order[places])

    __getitems__ = batch  # torch's DataLoader calls this name
