"""What the routers of a Moirai-MoE decide: its experts are those of fixed centroids, which upstream compares tokens to.

Shapes: B windows, T tokens, D d_model, N experts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.sparse import Routing


def expert_layers(module: nn.Module) -> list[Any]:
    """The feed-forward layers with experts of a uni2ts module; empty for Moirai-2."""
    return [part for part in module.modules() if isinstance(getattr(part, "experts", None), nn.ModuleList)]


@contextmanager
def first_routing(module: nn.Module, counted: Tensor) -> Iterator[list[Routing]]:
    """The routers' decisions in the first pass within the block, one for each layer with experts.

    Parameters
    ----------
    module
        The ``MoiraiMoEModule``.
    counted
        ``[B, T]`` bool: tokens that count.
    """
    found: dict[nn.Module, Routing] = {}

    def note(part: Any, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        if part not in found:
            tokens = given[0].flatten(0, -2)
            # the score is the distance itself, and the largest ones are picked: uni2ts's module/ffn.py
            scores = torch.cdist(tokens, named["centroid"].to(tokens)).float()
            kept, chosen = scores.topk(part.num_experts_per_token, dim=1)
            found[part] = Routing(scores, chosen, kept.softmax(dim=1), counted.flatten())
            routings.append(found[part])

    routings: list[Routing] = []
    handles = [part.register_forward_pre_hook(note, with_kwargs=True) for part in expert_layers(module)]
    try:
        yield routings
    finally:
        for handle in handles:
            handle.remove()
