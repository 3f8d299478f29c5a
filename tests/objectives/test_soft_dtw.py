"""Soft-DTW against the sum over all alignments, and what it rewards."""

from __future__ import annotations

import math
import time

import pytest
import torch
from usage_errors import usage_error

from potstill.objectives.alignment import soft_dtw
from potstill.objectives.soft_dtw import SoftDtw, SoftDtwTruth

NAN = math.nan


def paths(i: int, j: int):
    """All monotone paths from cell (0, 0) to cell (i, j), as lists of cells."""
    if (i, j) == (0, 0):
        yield [(0, 0)]
        return
    for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)):
        if a >= 0 and b >= 0:
            yield from ([*path, (i, j)] for path in paths(a, b))


def by_paths(cost: torch.Tensor, gamma: float) -> torch.Tensor:
    """The soft minimum over all alignments, one by one."""
    n = len(cost)
    totals = torch.stack([torch.stack([cost[cell] for cell in path]).sum() for path in paths(n - 1, n - 1)])
    return -gamma * (-totals / gamma).logsumexp(dim=0)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("gamma", [0.01, 0.5, 5.0])
def test_it_is_the_soft_minimum_over_all_alignments(n, gamma):
    torch.manual_seed(n)
    cost = torch.rand(2, n, n, dtype=torch.float64, requires_grad=True)
    expected = torch.stack([by_paths(one, gamma) for one in cost])
    found = soft_dtw(cost, gamma)
    torch.testing.assert_close(found, expected)
    weights = torch.tensor([1.0, -3.0], dtype=torch.float64)
    gradients = [torch.autograd.grad((weights * value).sum(), cost)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradcheck(lambda cost: soft_dtw(cost, gamma), cost)


def test_with_a_small_gamma_it_is_dtw():
    # one row of hand-made costs: the path (0,0) (1,1) (1,2) (2,2) costs 1 + 0 + 2 + 1
    cost = torch.tensor([[[1.0, 9.0, 9.0], [9.0, 0.0, 2.0], [9.0, 9.0, 1.0]]])
    assert soft_dtw(cost, 1e-3).item() == pytest.approx(min(1 + 0 + 1, 1 + 0 + 2 + 1), abs=1e-3)


def wave(shift: int = 0, steps: int = 96) -> torch.Tensor:
    time = torch.arange(steps) - shift
    return (2 * math.pi * time / 48).sin() + time / steps


@pytest.fixture
def of_median(made, passed):
    """The value of a term for medians ``[B, H]`` of student and teacher; the teacher's is also the truth."""

    def value(term, student, target):
        forecasts = [made(x[:, None], [0.5]) for x in (student, target)]
        return term(passed(*forecasts, target))

    return value


@pytest.mark.parametrize("term", [SoftDtw(), SoftDtwTruth()])
def test_a_shifted_forecast_is_better_than_a_reversed_or_a_flat_one(of_median, term):
    target = wave()[None]
    shifted = of_median(term, wave(4)[None], target).item()
    reverse = of_median(term, target.flip(1), target).item()
    flat = of_median(term, target.mean(dim=1, keepdim=True).expand(-1, 96), target).item()
    assert of_median(term, target, target).item() == pytest.approx(0, abs=1e-5)
    assert 0 < shifted < 0.3 * min(flat, reverse)
    mse = ((wave(4) - wave()).square().mean()).item()
    assert shifted < 0.3 * mse


@pytest.mark.parametrize("term", [SoftDtw(), SoftDtwTruth()])
def test_the_gradient_reaches_every_step(of_median, term):
    torch.manual_seed(0)
    student = torch.randn(2, 96, requires_grad=True)
    (gradient,) = torch.autograd.grad(of_median(term, student, wave().expand(2, -1)).sum(), student)
    share = gradient.abs() / gradient.abs().sum(dim=1, keepdim=True)
    assert (share > 0).all()
    assert (share.max(dim=1).values < 0.2).all()


def test_the_divergence_has_its_minimum_at_the_target(of_median):
    """Unlike soft-DTW itself, whose gradient at the target flattens it."""
    student = wave()[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(of_median(SoftDtw(gamma=1.0), student, wave()[None]).sum(), student)
    assert gradient.abs().max() < 1e-6
    cost = (student[:, :, None] - wave()[None, None]).square()
    (biased,) = torch.autograd.grad(soft_dtw(cost, 1.0).sum(), student)
    assert biased.abs().max() > 0.1


def test_unknown_steps_are_left_out_of_both_sequences(made, passed):
    torch.manual_seed(0)
    student, truth = torch.randn(3, 6), torch.randn(3, 6)
    truth[0, [0, 3]] = NAN
    truth[2] = NAN
    found = SoftDtwTruth()(passed(made(student[:, None], [0.5]), truth=truth))
    for row, known in ((0, [1, 2, 4, 5]), (1, list(range(6)))):
        alone = passed(made(student[row : row + 1, None, known], [0.5]), truth=truth[row : row + 1, known])
        torch.testing.assert_close(found[row], SoftDtwTruth()(alone)[0])
    assert found[2].isnan()


def test_unknown_steps_have_no_gradient(made, passed):
    values = torch.randn(2, 1, 6, requires_grad=True)
    truth = torch.randn(2, 6)
    truth[0, 2] = NAN
    truth[1] = NAN
    student = made(torch.zeros(2, 1, 6), [0.5])
    student.values = values
    (gradient,) = torch.autograd.grad(SoftDtwTruth()(passed(student, truth=truth))[0], values)
    assert gradient.isfinite().all()
    assert gradient[0, 0, 2] == 0
    assert (gradient[0, 0, [0, 1, 3, 4, 5]] != 0).all()
    assert (gradient[1] == 0).all()


def test_it_is_fast_enough_for_a_term(of_median):
    """32 windows of 96 steps, forward and backward: 0.2 s, with room for a busy machine."""
    student, target = torch.randn(32, 96, requires_grad=True), torch.randn(32, 96)
    took = []
    for _ in range(3):
        start = time.process_time()
        of_median(SoftDtw(), student, target).sum().backward()
        took.append(time.process_time() - start)
    assert min(took) < 0.4


@pytest.mark.parametrize("gamma", [0, -1, None, math.inf])
def test_a_gamma_that_is_none(gamma):
    for term in (SoftDtw, SoftDtwTruth):
        with usage_error("objective.bad_gamma", f"{term.name}.gamma"):
            term(gamma)
