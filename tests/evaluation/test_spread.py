"""The factor that gives a band its coverage."""

import numpy as np
import pytest

from potstill.evaluation.spread import HIGHEST, LOWEST, spread_factor

NAN = np.nan


def band(truth: np.ndarray, half: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    zero = np.zeros_like(truth)
    return zero - half, zero, zero + half, truth


def test_by_hand():
    truth = np.array([[0.5, -1.0, 1.5, -2.0, 2.5]])  # ratios 0.5, 1, 1.5, 2, 2.5: four of five are within 2
    assert spread_factor(*band(truth), np.ones(1), 0.8) == 2.0
    assert spread_factor(*band(truth), np.ones(1), 0.4) == 1.0


def test_each_side_is_measured_by_its_own_half_width():
    truth = np.array([[3.0, -3.0]])
    low, median, high = np.full((1, 2), -1.0), np.zeros((1, 2)), np.full((1, 2), 2.0)
    assert spread_factor(low, median, high, truth, np.ones(1), 0.5) == 1.5
    assert spread_factor(low, median, high, truth, np.ones(1), 1.0) == 3.0


def test_the_band_has_the_coverage_afterwards():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((400, 10))
    factor = spread_factor(*band(truth, 0.7), np.ones(400), 0.8)
    assert factor == pytest.approx(1.2816 / 0.7, rel=0.05)
    assert np.mean(np.abs(truth) <= 0.7 * factor) == pytest.approx(0.8, abs=0.001)


def test_windows_count_by_their_weight_and_unknown_steps_do_not():
    truth = np.array([[0.8, NAN, NAN], [2.0, 2.0, 2.0]])
    assert spread_factor(*band(truth), np.array([0.9, 0.1]), 0.8) == 0.8
    assert spread_factor(*band(truth), np.array([0.5, 0.5]), 0.8) == 2.0
    assert spread_factor(*band(np.full((2, 3), NAN)), np.ones(2), 0.8) == 1.0


def test_the_factor_is_limited():
    assert spread_factor(*band(np.full((1, 5), 99.0)), np.ones(1), 0.8) == HIGHEST
    assert spread_factor(*band(np.full((1, 5), 0.01)), np.ones(1), 0.8) == LOWEST
    # a band without width, and true values on the median
    assert spread_factor(*band(np.array([[0.0, 0.0, 1.0]]), 0.0), np.ones(1), 0.5) == LOWEST
