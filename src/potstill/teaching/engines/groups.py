"""A group of windows must be in one shard: shards are labelled one at a time, and a group is forecast together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.teaching.stores.manifest import LabelSource
from potstill.types import Windows


class WholeGroups:
    """Rejects a group that spans two shards.

    It checks the windows next to each shard, and the groups of the shards that this call labelled before. A group whose
    windows do not have consecutive ids is found only if one call labels both shards.

    Parameters
    ----------
    store
        The store being written.
    dataset
        The data set, for the windows next to a shard.
    """

    def __init__(self, store: ForecastStore, dataset: LabelSource):
        self.store, self.dataset = store, dataset
        self._earlier = torch.empty(0, dtype=torch.int64)

    def check(self, ids: range, windows: Windows) -> None:
        """Check the windows of a shard.

        Raises
        ------
        UserError
            Naming a group that also has windows in another shard.
        """
        if windows.group is None:
            return
        own = windows.group.unique()
        split = own[torch.isin(own, torch.cat([self._earlier, self._neighbours(ids)]))]
        if len(split):
            raise UserError(
                f"{self.store.folder}: group {int(split[0])} has windows in the shard of windows {ids.start} to"
                f" {ids.stop - 1} and in another one, so that it cannot be forecast together. Give the windows of a"
                " group ids that follow each other, choose shard_windows as a multiple of the groups' size"
                f" (now {self.store.manifest.shard_rows}), or leave labels out to use a live teacher.",
                key="labels.group_in_two_shards",
            )
        self._earlier = torch.cat([self._earlier, own])

    def _neighbours(self, ids: range) -> Tensor:
        """Groups of the windows directly before and after a shard."""
        neighbours = [i for i in (ids.start - 1, ids.stop) if 0 <= i < len(self.dataset)]
        if not neighbours:
            return self._earlier[:0]
        group = self.dataset.batch(np.array(neighbours)).group
        return self._earlier[:0] if group is None else group
