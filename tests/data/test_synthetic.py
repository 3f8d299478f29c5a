"""Synthetic series: reproducible by index, with valid values and many structures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potstill.data.rng import Rng, uniforms
from potstill.data.synthetic import FAMILIES, generate
from potstill.data.synthetic.finish import finish
from potstill.data.synthetic.noise import autoregressive, cycle, fast_length, fractal


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=6), st.integers(0, 2**31))
def test_a_series_is_the_same_in_every_batch(indices, seed):
    batch = generate(seed, np.array(indices), 96)
    alone = np.concatenate([generate(seed, np.array([i]), 96) for i in indices])
    np.testing.assert_array_equal(batch, alone)


def test_values_are_valid():
    x = generate(1, np.arange(800), 608)
    assert x.dtype == np.float32
    assert x.shape == (800, 608)
    assert np.isfinite(x).all()
    assert np.abs(x).max() < 1e6
    assert (np.ptp(x, axis=1) > 0).all()


@pytest.mark.parametrize("length", [8, 33, 2048])
def test_any_length(length):
    assert np.isfinite(generate(0, np.arange(60), length)).all()


def test_seeds_and_indices_differ():
    x = np.concatenate([generate(0, np.arange(64)), generate(1, np.arange(64))])
    assert len(np.unique(x, axis=0)) == 128


def test_every_series_has_a_different_structure():
    """Smoothed log-spectra of neighbours differ far more than two draws of one process."""
    x = generate(3, np.arange(160), 608).astype(np.float64)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    power = np.abs(np.fft.rfft(x, axis=1))[:, 1:301].reshape(160, 20, 15) ** 2
    spectrum = np.log(power.mean(2) + 1e-6)
    gap = np.abs(np.diff(spectrum, axis=0)).mean(1)
    rng = np.random.default_rng(0)
    same = np.abs(np.fft.rfft(rng.normal(size=(160, 608)), axis=1))[:, 1:301].reshape(160, 20, 15) ** 2
    assert np.median(gap) > 3 * np.abs(np.diff(np.log(same.mean(2)), axis=0)).mean()
    for block in gap[: 8 * 19].reshape(19, 8):
        assert block.max() > 0.5


def test_there_are_many_seasons():
    """Some series have strong autocorrelation at each lag that is common in real calendars."""
    x = generate(5, np.arange(1500), 608).astype(np.float64)
    x = np.diff(x, axis=1)
    x = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-9)
    for lag in (4, 7, 12, 24, 48, 52, 96, 144, 288):
        correlation = (x[:, lag:] * x[:, :-lag]).mean(1)
        assert (correlation > 0.25).sum() >= 10, lag


@pytest.mark.parametrize("family", [family for _, family in FAMILIES], ids=lambda f: f.__name__)
def test_each_family_makes_usable_series(family):
    for index in range(60):
        x = finish(Rng(0, index, 2), family(Rng(0, index, 1), 256))
        assert x.shape == (256,)
        assert np.isfinite(x).all()
        assert np.ptp(x) > 0


def test_noise_has_the_expected_variance_and_correlation():
    n, draws = 512, 400
    ar = np.stack([autoregressive(Rng(0, i, 0), n, 0.8) for i in range(draws)])
    assert np.isclose(ar.var(), 1, atol=0.08)
    assert np.isclose((ar[:, 1:] * ar[:, :-1]).mean(), 0.8, atol=0.08)
    ring = np.stack([cycle(Rng(0, i, 0), n, 20, 0.95) for i in range(draws)])
    # AR(2): rho(1) = a / (1 - b) with a = 2 r cos(2 pi / p), b = -r^2
    assert np.isclose((ring[:, 1:] * ring[:, :-1]).mean(), 1.9 * np.cos(2 * np.pi / 20) / (1 + 0.95**2), atol=0.05)
    assert np.isclose(np.mean([fractal(Rng(0, i, 0), n, 1.0).var() for i in range(draws)]), 1, atol=0.3)


def test_fast_length():
    assert [fast_length(n) for n in (5, 7, 512, 608)] == [10, 16, 1024, 1250]


def test_finish_repairs_invalid_values():
    for x in (np.full(50, 3.0), np.full(50, np.nan), np.linspace(0, 1e12, 50), np.array([np.inf, 1.0] * 25)):
        y = finish(Rng(0, 0, 0), x)
        assert np.isfinite(y).all()
        assert np.ptp(y) > 0
        assert np.abs(y).max() < 1e6


def test_hashes_are_uniform_and_independent():
    ids = np.arange(20000)
    a, b = uniforms(0, ids, 1), uniforms(0, ids, 2)
    assert a.min() >= 0
    assert a.max() < 1
    assert np.abs(np.histogram(a, 20, (0, 1))[0] - 1000).max() < 150
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
    assert abs(np.corrcoef(a, uniforms(1, ids, 1))[0, 1]) < 0.03
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 0.03
