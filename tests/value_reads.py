"""Count the reads of values from tensors: on a GPU each one waits for all that is queued there."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: ``item``, ``bool``, ``int`` and ``float`` of a tensor, and operations whose shapes depend on values
READING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2"}


class Reads(TorchDispatchMode):
    """Counts operations, and the values that are read from tensors.

    ``torch.allclose`` is left out, which Potstill calls on the CPU alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = self.operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        indices = args[1] if func._schema.name == "aten::index" else ()
        masks = any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices)
        self.count += masks or func._schema.name in READING
        self.operations += 1
        return func(*args, **(kwargs or {}))
