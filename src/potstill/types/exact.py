"""Sums in float64, also next to devices that do not have it."""

from __future__ import annotations

import torch
from torch import Tensor


def has_float64(device: str | torch.device) -> bool:
    """Whether a device computes in float64: Apple's does not, of Intel's only some."""
    kind = torch.device(device).type
    return kind != "mps" and (kind != "xpu" or torch.xpu.get_device_properties(device).has_fp64)


def in_float64(tensor: Tensor) -> Tensor:
    """A tensor in float64: on its device, or on the CPU if the device does not have float64."""
    return tensor.double() if has_float64(tensor.device) else tensor.cpu().double()
