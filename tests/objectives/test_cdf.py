"""Forecasts as distributions: probabilities by hand, in both tails, and for quantiles that cross or are equal."""

from __future__ import annotations

import pytest
import torch

from potstill.objectives import cdf
from potstill.objectives.cdf import Distributions
from potstill.types import Forecast

LEVELS = [0.25, 0.75]


@pytest.fixture
def exact(monkeypatch):
    """Quantiles are not widened, so that values by hand are simple."""
    monkeypatch.setattr(cdf, "RESOLUTION", 0.0)


def of(values, levels=LEVELS) -> Distributions:
    """The distribution of one window and step."""
    values = torch.as_tensor(values, dtype=torch.float64)[None, :, None]
    one = torch.ones(1, 1).double()
    return Distributions.of(Forecast(torch.tensor(levels), values, 0 * one, one))


def edges(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, None]


def tail(x: float) -> float:
    """Probability above x ≥ 1 for quantiles −1 and 1: a power tail from −1 on, where it is 0.75, through 0.25 at 1."""
    rise = 3**0.25 - 1
    return 0.75 * (1 + rise * (x + 1) / 2) ** -4


def test_probabilities_by_hand(exact):
    found = of([-1.0, 1.0]).masses(edges(-3.0, -1.0, 0.0, 0.5, 1.0, 3.0))[0, 0]
    far, body = tail(3.0), torch.tensor([0.25, 0.125, 0.125], dtype=torch.float64)
    expected = torch.cat([torch.tensor([far, 0.25 - far]), body, torch.tensor([0.25 - far, far])])
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=0)


def test_a_single_level_has_the_scale_of_the_context():
    found = of([2.0], [0.5]).masses(edges(0.0, 2.0, 5.0))[0, 0]
    below, above = 0.5 * (1 + 2 / 4) ** -4, 0.5 * (1 + 3 / 4) ** -4
    torch.testing.assert_close(found, torch.tensor([below, 0.5 - below, 0.5 - above, above]).double())


def test_small_probabilities_keep_their_digits(exact):
    # from 1e6 to 1e6 + 1 the tail loses 4 / 1e6 of itself; as a difference of numbers close to 1 nothing would be left
    found = of([-1.0, 1.0]).masses(edges(1e6, 1e6 + 1))[0, 0]
    assert found[1].item() == pytest.approx(tail(1e6) - tail(1e6 + 1), rel=1e-4)
    assert found[2].item() == pytest.approx(tail(1e6 + 1), rel=1e-6)
    assert 1e-30 < found[1].item() < 1e-25


def test_quantiles_are_widened_less_the_wider_they_are():
    r = cdf.RESOLUTION * 2 * torch.tensor(3.0).log()  # the logits of 0.25 and 0.75 are 2 log 3 apart
    for width in (0.0, 0.1, 5.0):
        points = of([1.0 - width, 1.0]).points[0, 0]
        assert points[1].item() == 1.0
        assert (points[1] - points[0]).item() == pytest.approx((width**2 + r.item() ** 2) ** 0.5)


@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0], [0.0, 0.0, 0.0], [0.0, 1e-9, 2e-9], [-1e6, 0.0, 1e6]])
def test_all_probability_is_somewhere_and_the_gradient_is_finite(values):
    values = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    found = of(values, [0.1, 0.5, 0.9]).masses(edges(-1e9, -2.0, 0.0, 1e-9, 1.5, 1.5, 1e12))
    assert (found > 0).all()
    assert found.sum().item() == pytest.approx(1, abs=1e-9)
    (gradient,) = torch.autograd.grad(found.log().sum(), values)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("levels", [[0.5], [0.1, 0.5, 0.9], [0.3, 0.4, 0.6, 0.95]])
def test_gradients(levels):
    torch.manual_seed(0)
    values = torch.randn(2, len(levels), 3, dtype=torch.float64, requires_grad=True)
    at = torch.tensor([-3.0, -0.4, 0.1, 0.7, 4.0], dtype=torch.float64).expand(2, 3, 5)
    one = torch.ones(2, 1).double()

    def masses(values):
        return Distributions.of(Forecast(torch.tensor(levels), values, 0 * one, one)).masses(at)

    assert torch.autograd.gradcheck(masses, values)


def test_points_between_and_beyond_levels(exact):
    found = of([-1.0, 1.0]).points_at(torch.tensor([0.1, 0.25, 0.5, 0.6, 0.9], dtype=torch.float64))
    torch.testing.assert_close(found[0, 0], torch.tensor([-1.0, -1.0, 0.0, 0.4, 1.0]).double(), rtol=1e-6, atol=1e-7)
    assert of([2.0], [0.5]).points_at(torch.tensor([0.1, 0.9], dtype=torch.float64)).tolist() == [[[2.0, 2.0]]]
