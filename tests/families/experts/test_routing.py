"""Weights of experts from logits, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from potstill.families.experts.features import FEATURE_NAMES
from potstill.families.experts.router import Router, RouterSettings
from potstill.families.experts.routing import balance_losses, gumbel_noise, gumbel_softmax, smallest_mass, top_k
from potstill.types import Windows

P = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])


def test_the_k_largest_are_renormalised():
    torch.testing.assert_close(top_k(P, 2), torch.tensor([[0.625, 0.375, 0], [1 / 9, 0, 8 / 9]]))
    torch.testing.assert_close(top_k(P, 1), torch.tensor([[1.0, 0, 0], [0, 0, 1]]))
    torch.testing.assert_close(top_k(P, 7), P)


def test_scores_choose_and_probabilities_weigh():
    scores = torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    torch.testing.assert_close(top_k(P, 2, scores), torch.tensor([[0, 0.6, 0.4], [0.5, 0.5, 0]]))


def test_as_few_experts_as_have_the_mass():
    torch.testing.assert_close(smallest_mass(P, 0.75, 3), torch.tensor([[0.625, 0.375, 0], [0, 0, 1]]))
    torch.testing.assert_close(smallest_mass(P, 0.95, 2), torch.tensor([[0.625, 0.375, 0], [1 / 9, 0, 8 / 9]]))
    torch.testing.assert_close(smallest_mass(P, 0.0001, 3), top_k(P, 1))


def test_gumbel_chooses_by_probability():
    logits, noise = P[:1].log().expand(20_000, -1), gumbel_noise(torch.arange(20_000), 3, torch.tensor(7))
    chosen = gumbel_softmax(logits, noise, 0.01).argmax(dim=1).bincount() / 20_000
    torch.testing.assert_close(chosen, P[0], atol=0.015, rtol=0)
    assert gumbel_softmax(logits, noise, 1e-3).amax(dim=1).median() > 0.999
    assert gumbel_softmax(logits, noise, 100.0).amax() < 0.5


def test_the_noise_of_a_window_does_not_depend_on_its_batch():
    whole, ids = gumbel_noise(torch.arange(2000), 3, torch.tensor(7)), torch.tensor([1999, 3])
    torch.testing.assert_close(gumbel_noise(ids, 3, torch.tensor(7)), whole[ids])
    other = gumbel_noise(torch.arange(2000), 3, torch.tensor(8))
    columns = torch.cat([whole, other], dim=1)
    assert columns.T.corrcoef().fill_diagonal_(0).abs().max() < 0.1  # independent by expert and by step
    assert columns.mean().item() == pytest.approx(0.5772, abs=0.05)  # of the Gumbel distribution
    assert columns.std().item() == pytest.approx(math.pi / math.sqrt(6), abs=0.05)


def test_balance_by_hand():
    even = torch.full((4, 2), 0.5)
    assert {n: v.item() for n, v in balance_losses(even, even).items()} == {"usage_mse": 0.0, "balance": 1.0}
    collapsed = torch.tensor([[1.0, 0.0]] * 4)
    found = balance_losses(collapsed, collapsed)
    assert found["usage_mse"].item() == pytest.approx(2 * (0.25 + 0.25))
    assert found["balance"].item() == pytest.approx(2.0)


def test_an_uncertain_window_gets_the_mean_of_all(monkeypatch):
    router = Router(3, RouterSettings(top_k=1, gate=0.45)).eval()
    monkeypatch.setattr(router, "logits", lambda _: torch.tensor([[0.4, 0.3, 0.3], [0.1, 0.8, 0.1]]).log())
    _, weights = router(Windows.of_context(torch.zeros(2, 8), 4))
    torch.testing.assert_close(weights, torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0, 1, 0]]))


@pytest.mark.parametrize("routing", ["top_k", "mass", "gumbel"])
def test_noise_falls_during_training_and_is_absent_afterwards(routing):
    torch.manual_seed(0)
    router = Router(4, RouterSettings(routing, top_k=2, anneal=10, temperatures=(1.0, 0.1)))
    windows = Windows.of_context(torch.randn(16, 32), 4)
    assert router.temperature == 1.0
    tried = torch.stack([router(windows)[1] for _ in range(10)])
    assert (tried > 0).any(dim=0).any(dim=0).all()  # all experts are tried, although all logits are equal
    assert router.temperature == pytest.approx(0.1)
    state = router.state_dict()
    router.eval()
    torch.testing.assert_close(router(windows)[1], router(windows)[1])
    again = Router(4, RouterSettings(routing, top_k=2, anneal=10, temperatures=(1.0, 0.1)))
    again.load_state_dict(state)
    assert again.temperature == router.temperature  # a resumed training goes on from here


def test_a_router_of_a_single_expert_is_trained():
    torch.manual_seed(0)
    router = Router(3, RouterSettings(top_k=1))
    windows = Windows.of_context(torch.randn(16, 32), 4)
    values = torch.tensor([1.0, 2.0, 3.0])
    (router(windows)[1] @ values).mean().backward()
    last = router.network[-1]
    assert isinstance(last, torch.nn.Linear)
    assert last.bias.grad is not None
    assert last.bias.grad.abs().max() > 1e-3


def test_what_no_training_window_had_does_not_decide():
    torch.manual_seed(0)
    router = Router(2, RouterSettings()).eval()
    router.fit_scale(torch.randn(64, 96))  # too short for long lags, and never 0
    ignored = {name for name, spread in zip(FEATURE_NAMES, router.spread.tolist(), strict=True) if spread == math.inf}
    assert {"autocorrelation_168", "autocorrelation_336", "zeros"} <= ignored
    assert "autocorrelation_24" not in ignored
    seen: list[torch.Tensor] = []
    router.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    router(Windows.of_context(1000 * torch.arange(512.0).repeat(8, 1), 4))
    assert seen[0].abs().max() == 5
    router.fit_scale(torch.randn(1, 96))
    assert router(Windows.of_context(torch.randn(8, 512), 4))[0].isfinite().all()


def test_padding_does_not_change_the_choice():
    torch.manual_seed(0)
    router = Router(3, RouterSettings(context=128)).eval()
    last: Any = router.network[-1]
    torch.nn.init.normal_(last.weight)
    contexts = torch.randn(8, 48).cumsum(1)
    router.fit_scale(contexts)
    padded = torch.nn.functional.pad(contexts, (60, 0), value=torch.nan)
    older = torch.cat([torch.full((8, 200), torch.nan), contexts], dim=1)
    alone = router(Windows.of_context(contexts, 4))[0]
    for same in (padded, older):
        torch.testing.assert_close(router(Windows.of_context(same, 4))[0], alone)


@pytest.mark.parametrize("routing", ["top_k", "mass"])
def test_weights_are_computed_on_the_device_of_the_contexts(routing):
    router: Any = Router(3, RouterSettings(routing=routing, gate=0.5)).to("meta").eval()
    windows = Windows.of_context(torch.empty(4, 64, device="meta"), 8)
    found = router._routed(windows)  # not the forward pass: its autocast does not know the device "meta"
    noise = gumbel_noise(windows.ids, 3, torch.empty((), dtype=torch.long, device="meta"))
    losses = balance_losses(*found).values()
    assert {one.device.type for one in (*found, noise, *losses, gumbel_softmax(found[0], noise, 1.0))} == {"meta"}
