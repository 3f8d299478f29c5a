"""Gather rows of many shards, as a shuffled batch needs them, into one array.

Rows are copied one by one: a shuffled batch uses nearly as many shards as it has rows. A copy of 4 KB takes less than a
microsecond, a fancy index per shard several.

Shapes: B rows of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from potstill.teaching.stores.shards import Shard

SERIAL_ELEMENTS = 32_768  # torch's grain size for parallel loops


@dataclass(frozen=True)
class Places:
    """Where the rows of a batch are.

    Attributes
    ----------
    shards
        The shards that the batch uses.
    which, rows
        For each of the B rows: the index of its shard in ``shards``, and its row in that shard.
    """

    shards: list[Shard]
    which: list[int]
    rows: list[int]


def gather(places: Places, name: str) -> Tensor:
    """An array that all shards have, ``[B, …]``."""
    if not places.rows:
        raise ValueError("no window ids given")
    arrays = [shard.arrays[name] for shard in places.shards]
    shape = (len(places.rows), *arrays[0].shape[1:])
    kind = max(array.dtype for array in arrays)  # shards may differ in the precision of their values
    found = zip(places.which, places.rows, strict=True)
    if math.prod(shape) == len(places.rows):  # one number per row: takes a third of the time of copying rows as arrays
        return torch.from_numpy(np.array([arrays[k].item(row) for k, row in found], kind).reshape(shape))
    gathered = np.empty(shape, kind)
    for i, (k, row) in enumerate(found):
        gathered[i] = arrays[k][row]
    return torch.from_numpy(gathered)


def gather_padded(places: Places, name: str, fill: Any) -> Tensor | None:
    """An array that some shards lack or have in another size: ``[B, …]`` in the largest size, padded with ``fill``.

    None if no shard has it.
    """
    arrays = [shard.arrays.get(name) for shard in places.shards]
    known = [array for array in arrays if array is not None]
    if not known:
        return None
    shape = tuple(max(sizes) for sizes in zip(*(array.shape[1:] for array in known), strict=True))
    if len(known) == len(arrays) and all(array.shape[1:] == shape for array in known):
        return gather(places, name)
    gathered = np.full((len(places.rows), *shape), fill, known[0].dtype)
    for i, (k, row) in enumerate(zip(places.which, places.rows, strict=True)):
        array = arrays[k]
        if array is not None:
            gathered[(i, *map(slice, array.shape[1:]))] = array[row]
    return torch.from_numpy(gathered)


def widen(half: Tensor) -> Tensor:
    """``half`` as float32, in pieces too small for torch to use threads: waking them takes longer than the work."""
    if half.dtype == torch.float32:
        return half
    wide = torch.empty(half.shape)
    rows = max(1, SERIAL_ELEMENTS // max(1, half[0].numel()))
    for target, part in zip(wide.split(rows), half.split(rows), strict=True):
        target.copy_(part)
    return wide
