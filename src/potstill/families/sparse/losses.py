"""The auxiliary losses of routers, and figures that show whether their experts are used.

Shapes: S tokens, N experts, K experts per token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from potstill.families.sparse.routing import Routing
from potstill.ranks import summed

#: names of the losses in ``Output.auxiliary``
AUXILIARY = ("balance", "router_z")


def auxiliary_losses(routings: Sequence[Routing]) -> dict[str, Tensor]:
    """The means over all sparse layers of the losses in ``AUXILIARY``; empty without such layers.

    ``balance`` is the load-balancing loss of Switch Transformer (Fedus, Zoph and Shazeer, arXiv:2101.03961, equations 4
    to 6): N · Σ f · P over the experts, with the share f of the choices that fell on an expert and its mean probability
    P. It is 1 if all experts are used equally, and N / K if all tokens go to the same experts with certainty. Its
    gradient reaches the router through P.

    ``router_z`` is the mean of logsumexp(logits)² of ST-MoE (Zoph et al., arXiv:2202.08906, equation 5), which keeps
    logits small.
    """
    if not routings:
        return {}
    return {
        "balance": torch.stack([_balance(routing) for routing in routings]).mean(),
        "router_z": torch.stack([_mean(r.logits.logsumexp(dim=1).square(), r) for r in routings]).mean(),
    }


def routing_statistics(routings: Sequence[Routing]) -> dict[str, Tensor]:
    """Figures of the sparse layers for the log, without gradient; empty without such layers.

    ``busiest_expert`` is the largest share of a layer's choices that fell on one expert, in the worst of the layers:
    1/N if all are used equally, 1/K in a collapsed layer. ``idle_experts`` is the share of all experts without a token.
    """
    if not routings:
        return {}
    usage = torch.stack([_usage(routing) for routing in routings])
    return {"busiest_expert": usage.max(), "idle_experts": (usage == 0).to(usage).mean()}


def _balance(routing: Routing) -> Tensor:
    probability = _mean(routing.logits.softmax(dim=1), routing)
    return len(probability) * (_usage(routing) * probability).sum()


def _usage(routing: Routing) -> Tensor:
    """``[N]``: the share of the counted tokens' choices that fell on each expert."""
    experts = torch.arange(routing.logits.shape[1], device=routing.chosen.device)
    chosen = (routing.chosen[..., None] == experts).to(routing.logits)  # [S, K, N]
    return _mean(chosen.mean(dim=1), routing)


def _mean(values: Tensor, routing: Routing) -> Tensor:
    """The mean of ``values [S, …]`` over the counted tokens of all processes; 0 if there are none."""
    counted = values.new_ones(len(values)) if routing.counted is None else routing.counted.to(values)
    # no matrix product: autocast would round it to bf16
    total = (counted.view(-1, *[1] * (values.ndim - 1)) * values).sum(dim=0)
    return summed(total) / summed(counted.sum()).clamp(min=1)
