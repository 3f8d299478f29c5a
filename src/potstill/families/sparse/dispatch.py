"""Send each token to its experts and add up what they return, with one matrix product per expert.

The copies of tokens are sorted by expert, so that each expert multiplies one contiguous block. On a CPU a product per
block is fastest: padding all blocks to one length for a batched product takes up to three times as long
(docs/decisions/0021). On a GPU with bf16, torch multiplies all blocks in one kernel, without reading their lengths.

Shapes: S tokens, D width of the stream, N experts, K experts per token, I inputs and O outputs of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from potstill.families.sparse.routing import Routing

ALIGNED = 8  # bf16 numbers: torch's grouped kernel needs rows of a multiple of 16 bytes
HOPPER = (9, 0)  # the oldest compute capability with that kernel


def dispatch(tokens: Tensor, routing: Routing, experts: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The weighted sum of the chosen experts' outputs for each token.

    Parameters
    ----------
    tokens
        ``[S, D]``.
    routing
        Chosen experts and weights.
    experts
        Maps ``[S · K, D]`` sorted by expert and the load ``[N]`` (how many rows each expert has, possibly none) to the
        experts' outputs ``[S · K, D]``.

    Returns
    -------
    Tensor
        ``[S, D]`` in the precision of ``tokens``.
    """
    count, top_k = routing.chosen.shape
    choices = routing.chosen.flatten()
    order = choices.argsort(stable=True)
    output = experts(tokens[order // top_k], load_of(routing))
    by_token = output[order.argsort()].view(count, top_k, -1)
    return (by_token * routing.weights[..., None]).sum(dim=1).to(tokens.dtype)


def load_of(routing: Routing) -> Tensor:
    """``[N]``: how many choices fell on each expert, padding included."""
    experts = torch.arange(routing.logits.shape[1], device=routing.chosen.device)
    return (routing.chosen.flatten()[:, None] == experts).sum(dim=0)


def grouped_linear(rows: Tensor, weight: Tensor, load: Tensor) -> Tensor:
    """A linear map of each block of rows by the block's own matrix, under autocast in its precision.

    Parameters
    ----------
    rows
        ``[S · K, I]``, sorted by expert.
    weight
        ``[N, O, I]``.
    load
        ``[N]`` rows of each expert.

    Returns
    -------
    Tensor
        ``[S · K, O]``.
    """
    device = rows.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        rows, weight = rows.to(dtype), weight.to(dtype)
    if _has_kernel(rows, weight):
        return one_kernel(rows, weight, load)
    blocks = rows.split(load.tolist())
    return torch.cat([nn.functional.linear(block, matrix) for block, matrix in zip(blocks, weight, strict=True)])


def one_kernel(rows: Tensor, weight: Tensor, load: Tensor) -> Tensor:
    """The same as :func:`grouped_linear` by ``torch.nn.functional.grouped_mm``."""
    return nn.functional.grouped_mm(rows, weight.transpose(1, 2), offs=load.cumsum(0, dtype=torch.int32))


def _has_kernel(rows: Tensor, weight: Tensor) -> bool:
    return (
        rows.is_cuda
        and rows.dtype == torch.bfloat16
        and weight.shape[1] % ALIGNED == weight.shape[2] % ALIGNED == 0
        and hasattr(nn.functional, "grouped_mm")
        and torch.cuda.get_device_capability(rows.device) >= HOPPER
    )
