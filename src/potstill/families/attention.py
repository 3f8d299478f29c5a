"""Scaled dot-product attention, used by all families: torch's function, in the precision that is fastest."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

#: all but cuDNN's, which torch prefers for masked attention on an H100
BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def without_cudnn(device: torch.device) -> AbstractContextManager[Any]:
    """A block in which attention on a GPU does not use cuDNN.

    cuDNN plans a kernel for each new shape, which takes 0.1 to 2 seconds, and batches have many shapes. It is also
    slower for short sequences. On windows made on the device a step of a Chronos-2 of 28 M parameters took 192 ms with
    it; without it, one of 25 M takes 71 ms (H100, torch 2.11, benchmarks/evidence/accelerator.md).
    """
    return sdpa_kernel(BACKENDS) if device.type == "cuda" else nullcontext()


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """``torch.nn.functional.scaled_dot_product_attention``; always in fp32 when training on a CPU.

    On a CPU the backward pass in bf16 takes ten times as long as in fp32 (torch 2.13, a CPU with AMX), more than bf16
    saves in the matrix products.

    Parameters
    ----------
    query, key, value
        ``[B, A, T, width]``.
    mask
        Additive, or True where a key is attended to; broadcasts to ``[B, A, T, T]``.
    options
        ``dropout_p`` and ``scale``, passed on to torch.
    """
    device, given = query.device.type, query.dtype
    precise = device == "cpu" and torch.is_grad_enabled()
    if precise:
        query, key, value = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (query, key, value))
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    autocast = torch.autocast(device, enabled=not precise and torch.is_autocast_enabled(device))
    with autocast, without_cudnn(query.device):
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)
    # without autocast, which casts as needed, a model with bf16 weights multiplies the result by them
    return attended if torch.is_autocast_enabled(device) else attended.to(given)


def attention_map(query: Tensor, key: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """The attention weights that :func:`attend` applies, ``[B, A, T, T]`` float32, without dropout.

    Parameters
    ----------
    query, key
        ``[B, A, T, width]``.
    mask
        Additive, or True where a key is attended to; broadcasts to ``[B, A, T, T]``.
    scale
        Factor of the scores; default: 1 / √width.
    """
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query @ key.transpose(2, 3)).float() * factor
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=3)
