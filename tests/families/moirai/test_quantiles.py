"""Quantiles of mixtures, compared with their definition, SciPy and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import stdtr
from torch import Tensor
from torch.distributions import Categorical, LogNormal, Normal, StudentT
from torch.nn.functional import softplus

from potstill.families.moirai.mixture_distribution import Mixture, mixture_of
from potstill.families.moirai.quantiles import mixture_quantiles
from potstill.families.moirai.student_t import cdf_curve, student_t_cdf

LEVELS = torch.arange(1, 10, dtype=torch.float64) / 10


class NegativeBinomial:
    """The attributes of uni2ts's class that are used."""

    def __init__(self, total_count: Tensor, logits: Tensor):
        self.total_count, self.logits = total_count, logits


class RandomMixture:
    """A mixture of up to four components with random parameters, wide and narrow."""

    def __init__(self, parameters: Tensor, components: str = "tncl"):
        r = iter(parameters)
        self.weights = Categorical(logits=torch.stack([next(r) for _ in components], -1))
        made = {
            "t": lambda: StudentT(2 + softplus(next(r)), next(r), softplus(next(r)) + 1e-7),
            "n": lambda: Normal(next(r), 1e-3),
            "c": lambda: NegativeBinomial(softplus(next(r)), next(r)),
            "l": lambda: LogNormal(next(r), softplus(next(r)) + 1e-7),
        }
        self.components = [made[name]() for name in components]


def random_mixture(seed: int, width: float, count: int = 200, components: str = "tncl") -> Mixture:
    generator = torch.Generator().manual_seed(seed)
    return mixture_of(
        RandomMixture(torch.randn(12, count, generator=generator, dtype=torch.float64) * width, components)
    )


def test_student_t_agrees_with_scipy():
    generator = torch.Generator().manual_seed(0)
    df = 2 + 10 ** (torch.rand(20_000, generator=generator, dtype=torch.float64) * 10 - 4)
    t = torch.sinh(torch.randn(20_000, generator=generator, dtype=torch.float64) * 2)
    assert (student_t_cdf(t, df, cdf_curve(df))[0] - torch.from_numpy(stdtr(df.numpy(), t.numpy()))).abs().max() < 2e-8


def test_distribution_functions_agree_with_scipy():
    one = torch.ones(1, dtype=torch.float64)
    x = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.5, 31.0, 32.0, 40.0, 700.0], dtype=torch.float64)[:, None]
    known = {
        "counts": (NegativeBinomial(3.7 * one, 1.8 * one), stats.nbinom(3.7, 1 / (1 + math.exp(1.8))).cdf),
        "log-normal": (LogNormal(0.3 * one, 0.8 * one), stats.lognorm(0.8, scale=math.exp(0.3)).cdf),
        "normal": (Normal(0.3 * one, 1.2 * one), stats.norm(0.3, 1.2).cdf),
        "t": (StudentT(3.1 * one, 0.4 * one, 2.0 * one), stats.t(3.1, 0.4, 2.0).cdf),
    }
    for name, (distribution, function) in known.items():
        found = mixture_of(distribution).cdf(x)
        assert torch.allclose(found, torch.from_numpy(function(x.numpy())), atol=2e-8), name


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 1.0, 3.0, 8.0]), st.sampled_from(["tncl", "tnl", "c", "cl"]))
def test_quantiles_satisfy_their_definition(seed: int, width: float, components: str):
    mixture = random_mixture(seed, width, 50, components)
    found = mixture_quantiles(mixture, LEVELS)
    assert found.isfinite().all()
    assert (mixture.cdf(found) >= LEVELS[:, None] - 1e-6).all()
    just_below = torch.nextafter(found, torch.tensor(-torch.inf, dtype=torch.float64))
    assert (mixture.cdf(just_below) <= LEVELS[:, None] + 1e-6).all()


def test_quantiles_ascend_and_do_not_depend_on_the_others():
    mixture = random_mixture(1, 2.0)
    found = mixture_quantiles(mixture, LEVELS)
    assert (found.diff(dim=0) >= 0).all()
    alone = mixture_quantiles(mixture.map(lambda x: x[..., 7:8]), LEVELS[4:5])
    assert torch.equal(alone[0, 0], found[4, 7])


def test_the_negative_binomial_steps_at_whole_numbers():
    """0.6 of a normal far to the left, 0.4 of counts: P(X ≤ 0) = 0.6 + 0.4 · 0.5, so 0.7 and 0.79 sit on the step."""
    one = torch.ones(1, dtype=torch.float64)

    class Mixed:
        weights = Categorical(probs=torch.tensor([[0.6, 0.4]], dtype=torch.float64))
        components = (Normal(-9 * one, 0.1 * one), NegativeBinomial(one, 0 * one))  # geometric: 1/2, 1/4, …

    found = mixture_quantiles(mixture_of(Mixed()), torch.tensor([0.3, 0.7, 0.79, 0.85, 0.93, 0.99]).double())[:, 0]
    assert found[0] == pytest.approx(-9, abs=1e-8)
    assert found[1:].tolist() == [0, 0, 1, 2, 5]


def test_one_distribution_is_a_mixture_of_one():
    df = torch.tensor([2.5, 30.0], dtype=torch.float64)
    found = mixture_quantiles(mixture_of(StudentT(df, 1.0, 2.0)), LEVELS)
    wanted = torch.from_numpy(stats.t(df.numpy(), 1, 2).ppf(LEVELS.numpy()[:, None]))
    assert torch.allclose(found, wanted, atol=1e-6)


def test_nan_parameters_lead_to_nan_quantiles():
    mixture = random_mixture(0, 1.0, 4)
    mixture.parts[0].loc[1] = torch.nan
    found = mixture_quantiles(mixture, LEVELS)
    assert found[:, 1].isnan().all()
    assert found[:, [0, 2, 3]].isfinite().all()


def test_an_unknown_distribution_is_named():
    with pytest.raises(TypeError, match="Laplace"):
        mixture_of(torch.distributions.Laplace(torch.zeros(1), torch.ones(1)))


def test_gradient_agrees_with_finite_differences():
    generator = torch.Generator().manual_seed(3)
    parameters = torch.randn(9, 40, generator=generator, dtype=torch.float64).requires_grad_()

    def quantiles(values: Tensor) -> Tensor:
        """A Student-t, a broad normal and a log-normal: smooth everywhere, so that no gradient is damped."""
        shape = RandomMixture(values, "tnl")
        shape.components[1] = Normal(values[6], 0.5)
        return mixture_quantiles(mixture_of(shape), LEVELS)

    found = quantiles(parameters)
    direction = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((found * direction).sum(), parameters)
    step = 1e-5
    for row in range(9):
        move = torch.zeros_like(parameters)
        move[row] = step
        with torch.no_grad():
            wanted = ((quantiles(parameters + move) - quantiles(parameters - move)) * direction).sum(0) / (2 * step)
        assert torch.allclose(gradient[row], wanted, atol=1e-3, rtol=1e-3), row


@pytest.mark.parametrize("width", [1.0, 8.0, 40.0])
def test_gradients_are_finite_for_all_parameters(width: float):
    generator = torch.Generator().manual_seed(5)
    parameters = (torch.randn(12, 500, generator=generator, dtype=torch.float64) * width).requires_grad_()
    mixture_quantiles(mixture_of(RandomMixture(parameters)), LEVELS).clamp(-1e3, 1e3).sum().backward()
    assert parameters.grad is not None
    assert parameters.grad.isfinite().all()


def test_quantiles_on_a_step_have_no_gradient():
    count = torch.ones(1, dtype=torch.float64, requires_grad=True)
    mixture_quantiles(mixture_of(NegativeBinomial(count, torch.zeros(1).double())), LEVELS).sum().backward()
    assert count.grad is not None
    assert count.grad.item() == 0
