"""Labels for only a share of the windows: a hash of seed and id decides which ones the teachers forecast."""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.data.rng import uniforms
from potstill.types import Windows

_SALT = 0x1ABE1


def labelled(windows: Windows, seed: int, share: float) -> Tensor:
    """``[B]`` bool on the CPU: the windows that are labelled, the same in any batch; a group is labelled as a whole."""
    ids = windows.ids if windows.group is None else windows.group
    return torch.from_numpy(uniforms(seed, ids.cpu().numpy(), _SALT) < share)
