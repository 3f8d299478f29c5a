"""Routers of upcycled models: without what all tokens have in common they use all experts."""

from __future__ import annotations

import torch
from torch import nn

from potstill.families.sparse import Routing, SparseMLP, centre_routers, routing_statistics


def batches() -> list[torch.Tensor]:
    """Tokens of which nine tenths of the mean square are those of their mean."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 50, 16, generator=generator) + 3.0 for _ in range(4)]


def layer() -> SparseMLP:
    torch.manual_seed(0)
    return SparseMLP(16, 8, 4, 2, nn.ReLU(), 0.0)


def busiest(routing: Routing) -> float:
    return routing_statistics([routing])["busiest_expert"].item()


def test_centred_routers_use_all_experts():
    sparse, data = layer(), batches()
    tokens = torch.cat(data).flatten(0, 1)
    assert busiest(sparse.router(tokens)) > 0.45
    centre_routers(sparse, sparse, data)
    routing = sparse.router(tokens)
    assert routing.logits.mean(dim=0).abs().max() < 1e-5
    assert busiest(routing) < 0.35
    assert routing.logits.std() > 0.05


def test_other_directions_keep_their_weights():
    sparse, data = layer(), batches()
    before = sparse.router.weight.detach().clone()
    centre_routers(sparse, sparse, data)
    mean = torch.cat(data).flatten(0, 1).mean(dim=0)
    difference = sparse.router.weight.detach() - before
    assert torch.linalg.matrix_rank(difference, atol=1e-5) == 1
    torch.testing.assert_close(difference @ mean, -before @ mean, atol=1e-4, rtol=1e-4)


def test_without_batches_nothing_changes_and_no_hook_stays():
    sparse = layer()
    before = sparse.router.weight.detach().clone()
    centre_routers(sparse, sparse, [])
    assert torch.equal(sparse.router.weight, before)
    assert not sparse.router._forward_pre_hooks
