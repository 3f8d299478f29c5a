"""Soft-DTW against all alignments of short sequences, its gradient, and what the divergence measures."""

from __future__ import annotations

import math

import pytest
import torch

from potstill.objectives.alignment import soft_dtw
from potstill.objectives.soft_dtw import SoftDtw, SoftDtwTruth

NAN = math.nan


def paths(n: int, cell: tuple[int, int] = (0, 0)):
    """All monotone alignments of two sequences of length n."""
    i, j = cell
    if cell == (n - 1, n - 1):
        yield [cell]
        return
    for step in ((i + 1, j), (i, j + 1), (i + 1, j + 1)):
        if max(step) < n:
            for rest in paths(n, step):
                yield [cell, *rest]


@pytest.mark.parametrize("gamma", [0.05, 1.0])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_it_is_the_soft_minimum_over_all_alignments(n, gamma):
    torch.manual_seed(n)
    cost = torch.rand(3, n, n, dtype=torch.float64)
    totals = torch.stack([sum(cost[:, i, j] for i, j in path) for path in paths(n)])
    expected = -gamma * torch.logsumexp(-totals / gamma, dim=0)
    torch.testing.assert_close(soft_dtw(cost, gamma), expected)


def test_the_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    cost = torch.rand(2, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: soft_dtw(c, 0.3), (cost,))


def test_a_reversed_forecast_is_worse_than_a_shifted_one(made, passed):
    t = torch.arange(96.0)
    truth = torch.exp(-((t - 30) ** 2) / 20)[None]
    losses = {}
    for name, forecast in {"same": truth, "shifted": truth.roll(5, 1), "reversed": truth.flip(1)}.items():
        student = made(forecast[:, None], [0.5])
        teacher = made(truth[:, None], [0.5])
        losses[name] = SoftDtw()(passed(student, teacher)).item()
        of_truth = SoftDtwTruth()(passed(student, None, truth)).item()
        assert of_truth == pytest.approx(losses[name], abs=1e-6)
    assert losses["same"] == pytest.approx(0, abs=1e-6)
    assert 0 < losses["shifted"] < losses["reversed"]


def test_the_gradient_reaches_all_steps(made, passed):
    torch.manual_seed(2)
    values = torch.randn(2, 1, 96, requires_grad=True)
    loss = SoftDtw()(passed(made(values, [0.5]), made(torch.randn(2, 1, 96), [0.5])))
    (gradient,) = torch.autograd.grad(loss.sum(), values)
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.99


def test_unknown_steps_are_left_out_of_both_sequences(made, passed):
    student = made([[[1.0, 7.0, 2.0, 9.0]], [[0.0] * 4]], [0.5])
    loss = SoftDtwTruth()(passed(student, None, torch.tensor([[1.0, NAN, 3.0, NAN], [NAN] * 4])))
    alone = SoftDtwTruth()(passed(made([[[1.0, 2.0]]], [0.5]), None, torch.tensor([[1.0, 3.0]])))
    assert loss[0].item() == pytest.approx(alone.item(), rel=1e-5)
    assert loss[1].isnan()
