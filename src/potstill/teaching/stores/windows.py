"""A data set read from a label store; needs no data files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from potstill.teaching.stores.forecasts import ForecastStore
from potstill.types import Windows


class StoredWindows:
    """The first ``length`` windows of a store that holds inputs.

    These are the windows that were labelled; none is generated or augmented a second time.
    """

    stores_inputs = True

    def __init__(self, store: ForecastStore, length: int):
        self.store, self._length = store, length

    def __len__(self) -> int:
        return self._length

    def batch(self, ids: Sequence[int] | np.ndarray) -> Windows:
        """Windows ``ids`` as one batch."""
        return self.store.windows(ids)

    __getitems__ = batch
