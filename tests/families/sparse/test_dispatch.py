"""Dispatch to experts: the grouped products against a plain loop over tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from potstill.families.sparse import Router, Routing, SparseMLP
from potstill.families.sparse.dispatch import dispatch, grouped_linear, load_of, one_kernel

WIDTH, HIDDEN = 16, 24


def layer(experts: int = 4, top_k: int = 2) -> SparseMLP:
    torch.manual_seed(0)
    return SparseMLP(WIDTH, HIDDEN, experts, top_k, nn.ReLU(), dropout=0.0)


def token_by_token(sparse: SparseMLP, x: Tensor) -> Tensor:
    """The definition: each token through each of its experts, one by one."""
    rows = []
    for token in x.reshape(-1, WIDTH):
        logits = sparse.router.weight @ token
        best = logits.argsort(descending=True)[: sparse.router.top_k]
        weights = logits[best].softmax(dim=0)
        rows.append(sum(w * (sparse.wo[i] @ (sparse.wi[i] @ token).relu()) for w, i in zip(weights, best, strict=True)))
    return torch.stack(rows).view_as(x)


def skewed(tokens: int) -> Tensor:
    """Tokens of which most go to one expert."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(tokens, WIDTH, generator=generator) + 2 * torch.ones(WIDTH)


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
@pytest.mark.parametrize("tokens", [1, 7, 60])
def test_grouped_products_equal_a_loop_over_tokens(top_k: int, tokens: int):
    sparse, x = layer(top_k=top_k), skewed(tokens)
    torch.testing.assert_close(sparse(x), token_by_token(sparse, x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("top_k", [2, 3])
def test_gradients_equal_those_of_the_loop_and_reach_router_and_experts(top_k: int):
    sparse, x = layer(top_k=top_k), skewed(60).requires_grad_()
    target = torch.randn(60, WIDTH, generator=torch.Generator().manual_seed(2))
    weights = [x, *sparse.parameters()]
    found, expected = (
        torch.autograd.grad((out * target).sum(), weights) for out in (sparse(x), token_by_token(sparse, x))
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
        assert mine.abs().max() > 1e-3


def test_the_router_learns_with_one_expert_per_token():
    """The weight of the only expert is 1, but its gradient is that of the expert's log-probability."""
    sparse, x = layer(top_k=1), skewed(30)
    routing = sparse.router(x)
    torch.testing.assert_close(routing.weights, torch.ones(30, 1))
    (gradient,) = torch.autograd.grad(routing.weights.sum(), sparse.router.weight)
    logarithm = sparse.router(x).logits.log_softmax(dim=1).gather(1, routing.chosen).sum()
    (expected,) = torch.autograd.grad(logarithm, sparse.router.weight)
    torch.testing.assert_close(gradient, expected)
    assert expected.abs().max() > 1e-3


def test_experts_without_tokens_have_a_gradient_of_zero():
    sparse, x = layer(top_k=2), skewed(20)
    with torch.no_grad():
        sparse.router.weight.copy_(torch.tensor([3.0, 2.0, -2.0, -3.0])[:, None].expand(4, WIDTH))
    positive = x.abs()
    assert load_of(sparse.router(positive)).tolist() == [20, 20, 0, 0]
    torch.testing.assert_close(sparse(positive), token_by_token(sparse, positive), atol=1e-5, rtol=1e-5)
    sparse(positive).square().sum().backward()
    assert sparse.wi.grad is not None
    assert (sparse.wi.grad[2:] == 0).all()
    assert (sparse.wi.grad[:2] != 0).any()


def test_all_experts_with_a_uniform_router_are_averaged():
    sparse, x = layer(experts=5, top_k=5), skewed(12)
    nn.init.zeros_(sparse.router.weight)
    each = torch.stack([(x @ wi.T).relu() @ wo.T for wi, wo in zip(sparse.wi, sparse.wo, strict=True)])
    torch.testing.assert_close(sparse(x), each.mean(dim=0), atol=1e-6, rtol=1e-6)


def test_identical_experts_equal_one_dense_network():
    sparse, x = layer(), skewed(40)
    with torch.no_grad():
        for matrix in (sparse.wi, sparse.wo):
            matrix.copy_(matrix[:1].expand_as(matrix))
    dense = (x @ sparse.wi[0].T).relu() @ sparse.wo[0].T
    torch.testing.assert_close(sparse(x), dense, atol=1e-6, rtol=1e-6)


def test_a_token_does_not_depend_on_the_others():
    sparse, x = layer(), skewed(50)
    torch.testing.assert_close(sparse(x)[7:9], sparse(x[7:9]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("load", [[3, 0, 5, 2], [10, 0, 0, 0], [0, 0, 0, 10]])
def test_torchs_grouped_kernel_computes_the_same(load: list[int]):
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(10, WIDTH, generator=generator).bfloat16()
    weight = torch.randn(4, HIDDEN, WIDTH, generator=generator).bfloat16()
    loads = torch.tensor(load)
    expected = torch.cat([part @ w.T for part, w in zip(rows.split(load), weight, strict=True)])
    torch.testing.assert_close(grouped_linear(rows, weight, loads), expected)
    torch.testing.assert_close(one_kernel(rows, weight, loads), expected, atol=0.05, rtol=0.02)


def test_under_autocast_products_are_bf16_and_the_router_is_fp32():
    sparse, x = layer(), skewed(40)
    exact, routing = sparse.routed(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, same = sparse.routed(x)
    assert torch.equal(routing.logits, same.logits)
    assert rounded.dtype == x.dtype
    error = (rounded - exact).abs().max()
    assert 1e-5 < error < 0.05 * exact.abs().max()


def test_bf16_weights_give_nearly_the_same():
    sparse, x = layer(), skewed(40)
    exact = sparse(x)
    half = sparse.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).abs().median() < 0.02 * exact.abs().max()


def test_dispatch_hands_each_expert_its_tokens_with_their_weights():
    """By hand: expert i multiplies by i + 1."""
    tokens = torch.tensor([[1.0], [10.0], [100.0]])
    chosen = torch.tensor([[2, 0], [0, 2], [2, 1]])
    weights = torch.tensor([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])

    def experts(rows: Tensor, load: Tensor) -> Tensor:
        assert load.tolist() == [2, 1, 3]
        return rows * torch.repeat_interleave(torch.arange(1.0, 4.0), load)[:, None]

    mixed = dispatch(tokens, Routing(torch.zeros(3, 3), chosen, weights), experts)
    assert mixed.tolist() == [[0.5 * 3 + 0.5], [10 * (0.25 + 0.75 * 3)], [300.0]]


def test_the_router_picks_the_highest_logits():
    router = Router(2, 3, 2)
    with torch.no_grad():
        router.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    routing = router(torch.tensor([[3.0, 1.0], [-4.0, -3.0]]))
    assert routing.chosen.tolist() == [[0, 1], [2, 1]]
    torch.testing.assert_close(routing.weights[0], torch.tensor([3.0, 1.0]).softmax(dim=0))
