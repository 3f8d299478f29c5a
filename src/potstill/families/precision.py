"""The precision in which a device computes fastest without a loss that matters."""

from __future__ import annotations

import torch

from potstill.families.devices import CPU, kind_of

_BF16 = {
    "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
    "xpu": lambda: torch.xpu.get_device_properties().has_bfloat16_conversions,
}


def device_precision(precision: str, device: str) -> str:
    """``auto`` resolved: bf16 where the hardware multiplies bf16, fp32 where it would be emulated."""
    if precision != "auto":
        return precision
    kind = kind_of(device)
    if kind != CPU:
        return "bf16" if kind in _BF16 and _BF16[kind]() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
