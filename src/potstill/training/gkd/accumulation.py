"""The mean over all items of an optimizer step, of which each process sees several batches one after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from potstill.ranks import world_size


def items_per_batch(accelerator: Any, counts: list[int], device: torch.device) -> Tensor:
    """The mean number of items per batch of an optimizer step, over the batches of all processes; all must call this.

    transformers divides the losses of a step by its number of batches, and gradients are averaged over processes. The
    sum of a batch's losses divided by this number therefore yields the mean over all items of the step, whatever the
    number of items in each batch.

    Parameters
    ----------
    accelerator
        Of the trainer; it sums over processes.
    counts
        Items (answer tokens or windows) in each of this process's batches of the step.
    device
        Where the result is.

    Returns
    -------
    Tensor
        A float, more than 0 also where no batch has an item.
    """
    total = torch.tensor(float(sum(counts)), device=device)
    if world_size() > 1:
        total = accelerator.reduce(total)
    return total.clamp(min=1.0) / (len(counts) * world_size())
