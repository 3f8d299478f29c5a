"""The auxiliary losses and statistics of routers, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from potstill.families.sparse import Routing, auxiliary_losses, routing_statistics


def routing(logits: Tensor, top_k: int, counted: Tensor | None = None) -> Routing:
    kept, chosen = logits.softmax(dim=1).topk(top_k, dim=1)
    return Routing(logits, chosen, kept / kept.sum(dim=1, keepdim=True), counted)


def balanced(experts: int = 4) -> Tensor:
    """Each token prefers another expert a little."""
    return 0.01 * torch.eye(experts).repeat(3, 1)


def collapsed(experts: int = 4) -> Tensor:
    """All tokens prefer the same experts, in the same order, strongly."""
    return 40.0 * torch.arange(experts, 0, -1).float().expand(12, -1)


def test_without_sparse_layers_there_are_none():
    assert auxiliary_losses([]) == routing_statistics([]) == {}


def test_a_balanced_router_has_a_loss_of_one_and_a_collapsed_one_of_n():
    assert auxiliary_losses([routing(balanced(), 1)])["balance"].item() == pytest.approx(1.0)
    assert auxiliary_losses([routing(collapsed(), 1)])["balance"].item() == pytest.approx(4.0)
    assert auxiliary_losses([routing(collapsed(), 2)])["balance"].item() == pytest.approx(2.0)  # N / K


def test_balance_by_hand():
    logits = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    probability = logits.softmax(dim=1).mean(dim=0)
    expected = 2 * (2 / 3 * probability[0] + 1 / 3 * probability[1])
    torch.testing.assert_close(auxiliary_losses([routing(logits, 1)])["balance"], expected)


def test_router_z_is_the_mean_square_of_the_log_of_the_sum():
    logits = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    expected = (math.log(2) ** 2 + (1 + math.log(2)) ** 2) / 2
    assert auxiliary_losses([routing(logits, 1)])["router_z"].item() == pytest.approx(expected)


def test_padded_tokens_do_not_count():
    logits = torch.cat([balanced(), collapsed()])
    counted = torch.arange(24) < 12
    for name, loss in auxiliary_losses([routing(logits, 2, counted)]).items():
        torch.testing.assert_close(loss, auxiliary_losses([routing(balanced(), 2)])[name])
    none = auxiliary_losses([routing(logits, 2, torch.zeros(24, dtype=torch.bool))])
    assert [loss.item() for loss in none.values()] == [0.0, 0.0]


def test_several_layers_are_averaged():
    losses = auxiliary_losses([routing(balanced(), 1), routing(collapsed(), 1)])
    assert losses["balance"].item() == pytest.approx(2.5)


def test_descent_on_the_balance_loss_spreads_the_tokens():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(200, 8, generator=generator)
    weight = (torch.randn(4, 8, generator=generator)).requires_grad_()
    bias = torch.tensor([2.0, 0.0, 0.0, 0.0]).requires_grad_()

    def usage() -> Tensor:
        return routing_statistics([routing(tokens @ weight.T + bias, 1)])["busiest_expert"]

    before = usage()
    for _ in range(100):
        (step,) = torch.autograd.grad(auxiliary_losses([routing(tokens @ weight.T + bias, 1)])["balance"], bias)
        bias = (bias - step).detach().requires_grad_()
    assert usage() < before - 0.1


def test_statistics_show_a_collapsed_layer_among_others():
    found = routing_statistics([routing(balanced(), 1), routing(collapsed(), 1)])
    assert found["busiest_expert"].item() == 1.0
    assert found["idle_experts"].item() == 3 / 8
    healthy = routing_statistics([routing(balanced(), 1)])
    assert (healthy["busiest_expert"].item(), healthy["idle_experts"].item()) == (0.25, 0.0)
