"""Routers that use all experts from the start, although most of what they read is the same for all tokens.

Shapes: S tokens, D width of the stream, N experts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.sparse.routing import Router
from potstill.types.exact import in_float64


@torch.no_grad()
def centre_routers(module: nn.Module, run: Callable[[Any], Any], batches: Sequence[Any]) -> None:
    """Remove from the routers' weights what all tokens have in common.

    In a trained Chronos-2 nine tenths of the mean square of a router's inputs is that of their mean. Random weights
    then prefer the same experts for all tokens, and those without tokens learn nothing (docs/decisions/0021). Each
    expert's weights become orthogonal to the mean input, so that all mean logits are 0.

    Parameters
    ----------
    module
        The model with fresh routers, whose sparse layers do not yet depend on which experts are picked.
    run
        Runs the model on a batch; every router is called as a module.
    batches
        Calibration data; without any nothing changes.
    """
    routers = [part for part in module.modules() if isinstance(part, Router)]
    inputs: dict[nn.Module, list[Tensor]] = {router: [] for router in routers}

    def note(router: nn.Module, given: tuple[Tensor, ...]) -> None:
        inputs[router].append(in_float64(given[0]).sum(dim=0))

    handles = [router.register_forward_pre_hook(note) for router in routers]
    try:
        for batch in batches:
            run(batch)
    finally:
        for handle in handles:
            handle.remove()
    for router in routers:
        if inputs[router]:
            common = nn.functional.normalize(torch.stack(inputs[router]).sum(dim=0), dim=0).to(router.weight)
            router.weight.sub_((router.weight @ common)[:, None] * common)
