"""Scaled dot-product attention as the families' passes call it: torch's own, in the precision that is fast."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """``torch.nn.functional.scaled_dot_product_attention``; in training on a CPU always in fp32.

    There the backward pass in bf16 takes ten times that of fp32 (torch 2.13, a CPU with AMX): it alone undoes what bf16
    saves in the matrix products.

    Parameters
    ----------
    query, key, value
        ``[B, A, T, width]``.
    mask
        Additive, or True where a key is looked at; broadcasts to ``[B, A, T, T]``.
    options
        ``dropout_p``, ``scale``.
    """
    device = query.device.type
    precise = device == "cpu" and torch.is_grad_enabled()
    if precise:
        query, key, value = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (query, key, value))
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    with torch.autocast(device, enabled=not precise and torch.is_autocast_enabled(device)):
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)
