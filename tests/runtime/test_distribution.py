"""Quantiles of mixtures without torch and SciPy: those of the main package."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import gammaln, ndtr
from torch.distributions import Categorical, LogNormal, Normal, StudentT
from uni2ts.distribution.mixture import Mixture

from potstill.families.moirai.mixture_distribution import mixture_of
from potstill.families.moirai.quantiles import mixture_quantiles
from potstill.families.moirai.student_t import cdf_table
from potstill.runtime.distribution import _log_gamma_ratio, _phi, quantiles_of

KINDS = ["student_t", "normal", "log_normal"]
LEVELS = np.array([1e-4, 0.01, 0.1, 0.3, 0.5, 0.77, 0.9, 0.999])


def parameters(seed: int, spread: float) -> np.ndarray:
    """``[3, 10, 50]``: logits, then df, loc, scale of a Student-t, loc and scale of a normal and a log-normal."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((3, 10, 50))
    rows[:, :3] *= 3
    rows[:, 3] = 2 + np.exp(spread * rows[:, 3])
    rows[:, [4, 6]] *= spread
    for scale in (5, 7, 9):
        rows[:, scale] = np.exp(spread * rows[:, scale]).clip(1e-6, 5 if scale == 9 else None)
    return rows.astype(np.float32)


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_quantiles_are_those_of_the_main_package(spread: float):
    rows = parameters(int(10 * spread), spread)
    logits, df, *others = torch.from_numpy(rows).split([3, *[1] * 7], dim=1)
    locs, scales = ([x[:, 0] for x in others[start::2]] for start in range(2))
    parts = [StudentT(df[:, 0], locs[0], scales[0]), Normal(locs[1], scales[1]), LogNormal(locs[2], scales[2])]
    mixture = mixture_of(Mixture(Categorical(logits=logits.movedim(1, 2)), parts, validate_args=False))
    wanted = mixture_quantiles(mixture, torch.from_numpy(LEVELS)).view(len(LEVELS), 3, 50).transpose(0, 1)
    found = torch.from_numpy(quantiles_of(rows, KINDS, cdf_table(), LEVELS))
    assert found.shape == (3, len(LEVELS), 50)
    flat = found.transpose(0, 1).reshape(len(LEVELS), -1)
    assert (mixture.cdf(flat) - torch.from_numpy(LEVELS)[:, None]).abs().max() < 1e-7
    size = (wanted.amax(1) - wanted.amin(1))[:, None] + 1e-6
    assert ((found - wanted).abs() / size)[:, 1:-1].median() < 1e-9
    assert ((found - wanted).abs() / size).max() < 1e-4  # where the density is almost 0


def test_a_component_without_weight_does_not_matter():
    rows = np.array([0.0, -60, 0.5, 2.0, 1e6, 1e3], np.float32)[None, :, None]
    found = quantiles_of(rows, ["normal", "normal"], [], np.array([0.5, 0.9]))
    np.testing.assert_allclose(found[0, :, 0], [0.5, 0.5 + 2 * 1.2815515655446], rtol=1e-7)


def test_parameters_that_are_not_finite_end_the_search():
    rows = np.full((1, 6, 2), np.nan, np.float32)
    assert not np.isfinite(quantiles_of(rows, ["normal", "normal"], [], np.array([0.5]))).any()


def test_the_table_of_the_normal_distribution():
    z = np.random.default_rng(0).uniform(-9, 9, 10_000)
    np.testing.assert_allclose(_phi(z), ndtr(z), rtol=0, atol=1e-11)
    assert _phi(np.array([-math.inf, math.inf])).tolist() == pytest.approx([0, 1])


def test_the_ratio_of_gamma_functions():
    df = np.geomspace(2, 1e6, 50)
    np.testing.assert_allclose(_log_gamma_ratio(df), gammaln((df + 1) / 2) - gammaln(df / 2), atol=2e-3)
