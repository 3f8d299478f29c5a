"""The precision in which a device computes fastest without a loss that matters."""

from __future__ import annotations

import torch


def device_precision(precision: str, device: str) -> str:
    """``auto`` resolved: bf16 where the hardware multiplies bf16, fp32 where it would be emulated."""
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"
