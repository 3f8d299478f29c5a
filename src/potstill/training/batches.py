"""The data set of the data loader: whole batches, with stored teacher outputs if the run has a label store."""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset

from potstill.objectives.objective import units
from potstill.teaching.base import TrainingData
from potstill.training.sampler import SpareBatch


class TrainingBatches(Dataset[Any]):
    """A data set for ``torch.utils.data.DataLoader`` that returns one batch for a list of ids.

    A batch is a function of its ids, so worker processes and prefetching do not change results. (The exception are
    batches made on the device from a pool that is refreshed: :class:`potstill.data.device.windows.DeviceWindows`.)

    Parameters
    ----------
    data
        The data set and the provider.
    several
        Whether an optimizer step uses several batches, which are then weighted by their units.
    """

    def __init__(self, data: TrainingData, several: bool = True):
        self.dataset, self.several = data.dataset, several
        self.provider = data.provider if data.provider is not None and data.provider.stored else None

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, ids: Any) -> dict[str, Any]:
        """``batch`` (Windows or Tokens), ``targets`` (stored outputs of the teachers, by name) or None, and ``units``.

        Units are counted here, before the batch is on a GPU, where counting would wait for all that is queued there.
        They are empty if a step uses one batch alone.
        """
        batch = self.dataset.batch(ids)
        targets = self.provider.outputs(batch, {}) if self.provider is not None else None
        counts = units(batch) if self.several else {}
        if isinstance(ids, SpareBatch):
            counts = dict.fromkeys(counts, 0)
        return {"batch": batch, "targets": targets, "units": counts}

    __getitems__ = batch


def identity_collator(batch: Any) -> Any:
    """The collator: the data set already returns whole batches."""
    return batch
