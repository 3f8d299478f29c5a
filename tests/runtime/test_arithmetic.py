"""Units, scaling and quantiles: values worked out by hand, and the same values as in PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from potstill.families.base import in_safe_units as in_safe_units_torch
from potstill.families.chronos2.model import instance_scale
from potstill.families.standardise import standardise as standardise_torch
from potstill.runtime import Forecast, arithmetic
from potstill.runtime.scaling import standardise
from potstill.runtime.units import in_safe_units
from potstill.types import Windows

NAN = np.nan


def test_ordinary_contexts_keep_their_units():
    x = np.array([[1.0, 2.0, NAN, 4.0], [1e9, -1e9, 0.0, 5.0], [3.0, 3.0, 3.0, 3.0]])
    safe = in_safe_units(x)
    np.testing.assert_array_equal(safe.values, x.astype(np.float32))
    np.testing.assert_array_equal(safe.loc, 0)
    np.testing.assert_array_equal(safe.scale, 1)
    assert safe.varies[:, 0].tolist() == [True, True, False]


def test_a_high_level_is_removed():
    """The middle between lowest and highest value; a range of 2 needs no other unit."""
    safe = in_safe_units(np.array([[2e9, 2e9 + 2, NAN]]))
    assert safe.loc[0, 0] == 2e9 + 1
    assert safe.scale[0, 0] == 1
    np.testing.assert_array_equal(safe.values, np.array([[-1, 1, NAN]], np.float32))


def test_small_and_large_units_become_a_power_of_two():
    """A range of 3 · 2^-40 becomes one of 2^6 to 2^7: 96 units of 2^-45."""
    safe = in_safe_units(np.array([[0.0, 3 * 2.0**-40], [0.0, 3 * 2.0**60]]))
    assert safe.scale[:, 0].tolist() == [2.0**-45, 2.0**55]
    np.testing.assert_array_equal(safe.values, np.array([[0, 96], [0, 96]], np.float32))


def test_standardised_by_hand():
    """Mean 2 and population standard deviation sqrt(8/3) of 0, 2 and 4; then arcsinh."""
    scaled = standardise(in_safe_units(np.array([[0.0, NAN, 2.0, 4.0]])), 1e-5, rounding=True, arcsinh=True)
    assert scaled.loc[0, 0] == 2
    assert scaled.scale[0, 0] == pytest.approx(math.sqrt(8 / 3), rel=1e-12)
    wanted = [-math.asinh(2 / math.sqrt(8 / 3)), NAN, 0.0, math.asinh(2 / math.sqrt(8 / 3))]
    np.testing.assert_allclose(scaled.values[0], wanted, rtol=1e-6)
    plain = standardise(in_safe_units(np.array([[0.0, NAN, 2.0, 4.0]])), 1e-5, rounding=True, arcsinh=False)
    np.testing.assert_allclose(plain.values[0, 3], 2 / math.sqrt(8 / 3), rtol=1e-6)


def test_contexts_without_a_spread():
    """A constant has the scale that it is given, or a millionth of its level; without values it is 1 around 0."""
    safe = in_safe_units(np.array([[0.0, 0.0], [5e6, 5e6], [NAN, NAN]]))
    own = standardise(safe, 1e-5, rounding=True, arcsinh=True)
    assert own.loc[:, 0].tolist() == [0, 5e6, 0]
    assert own.scale[:, 0] == pytest.approx([1e-5, 5.0, 1.0])
    chronos = standardise(safe, 1e-5, rounding=False, arcsinh=True)
    assert chronos.scale[:, 0] == pytest.approx([1e-5, 1e-5, 1.0])


contexts = st.builds(
    lambda x, level, power: (x + level) * 10.0**power,
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 4), st.integers(1, 20)),
        elements=st.one_of(st.just(NAN), st.floats(-100, 100, width=32)),
    ),
    st.sampled_from([0.0, 10.0, 1e5, 1e9]),
    st.integers(-30, 30),
)


@given(contexts)
def test_units_are_those_of_pytorch(x: np.ndarray):
    safe = in_safe_units(x)
    windows, units = in_safe_units_torch(Windows.of_context(torch.from_numpy(x), 1))
    np.testing.assert_array_equal(safe.values, windows.context.numpy())
    if units is None:
        assert (safe.loc == 0).all()
        assert (safe.scale == 1).all()
    else:
        np.testing.assert_array_equal(safe.loc, units.loc.numpy())
        np.testing.assert_array_equal(safe.scale, units.scale.numpy())


@given(contexts)
def test_the_scale_is_that_of_pytorch(x: np.ndarray):
    """Of Potstill's own students and of Chronos-2, for contexts at a moderate level; values are float32."""
    safe = in_safe_units(x)
    values = torch.from_numpy(safe.values)
    one_unit = safe._replace(loc=np.zeros_like(safe.loc), scale=np.ones_like(safe.scale))
    level = np.nanmax(np.abs(safe.values), axis=1, initial=0)
    rows = level <= 20 * np.ptp(np.nan_to_num(safe.values - np.nanmin(safe.values, axis=1, keepdims=True, initial=0)))
    ours = standardise(one_unit, 1e-5, rounding=True, arcsinh=True)
    theirs = standardise_torch(values)
    np.testing.assert_allclose(ours.scale[rows], theirs[3].numpy()[rows], rtol=1e-4, atol=1e-30)
    loc, _ = instance_scale(values, 1e-5)
    ours = standardise(one_unit, 1e-5, rounding=False, arcsinh=True)
    np.testing.assert_allclose(
        ours.loc[rows], loc.numpy()[rows], rtol=1e-4, atol=1e-5 * np.abs(ours.scale[rows]).max(initial=1)
    )


quantiles = arrays.arrays(np.float64, (2, 3, 4), elements=st.floats(-1e6, 1e6))


@given(quantiles)
def test_numpy_and_torch_agree(x: np.ndarray):
    levels = np.array([0.1, 0.5, 0.8])
    tensor, own = torch.from_numpy(x), torch.from_numpy(levels)
    pairs = [
        (arithmetic.increasing(x), arithmetic.increasing(tensor)),
        (arithmetic.sort(x, 1), arithmetic.sort(tensor, 1)),
        (arithmetic.mean_of_quantiles(x, levels), arithmetic.mean_of_quantiles(tensor, own)),
        (arithmetic.masses(levels), arithmetic.masses(own)),
        (arithmetic.edges(levels), arithmetic.edges(own)),
    ]
    wanted = np.array([0.05, 0.1, 0.3, 0.5, 0.99])
    ordered = np.sort(x, 1)
    pairs.append(
        (
            arithmetic.interpolate_levels(ordered, levels, wanted),
            arithmetic.interpolate_levels(torch.from_numpy(ordered), own, torch.from_numpy(wanted)),
        )
    )
    small = x / 1e5  # sinh
    loc, scale = np.array([[1.0], [2e9]]), np.array([[1e-9], [3.0]])
    for arcsinh in (False, True):
        pairs.append(
            (
                arithmetic.unscale(small.astype(np.float32), loc, scale, arcsinh),
                arithmetic.unscale(
                    torch.from_numpy(small).float(), torch.from_numpy(loc), torch.from_numpy(scale), arcsinh
                ),
            )
        )
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-9)


def test_a_mean_and_levels_by_hand():
    """Levels 0.1, 0.5 and 0.9 stand for 0.3, 0.4 and 0.3 of the probability; half of the way from 0.1 to 0.5 is 0.3."""
    forecast = Forecast(
        np.array([0.1, 0.5, 0.9], np.float32),
        np.array([[[0.0], [1.0], [4.0]]], np.float32),
        np.array([[100.0]]),
        np.array([[10.0]]),
        False,
    )
    np.testing.assert_allclose(forecast.quantiles[0, :, 0], [100, 110, 140])
    np.testing.assert_allclose(forecast.mean, [[0.3 * 100 + 0.4 * 110 + 0.3 * 140]], rtol=1e-6)
    np.testing.assert_allclose(
        forecast.at_levels([0.01, 0.3, 0.7, 0.99]).quantiles[0, :, 0], [100, 105, 125, 140], rtol=1e-5
    )


def test_quantiles_that_cross_are_sorted():
    values = np.array([[[2.0], [1.0], [3.0]]], np.float32)
    forecast = Forecast(np.array([0.1, 0.5, 0.9], np.float32), values, np.zeros((1, 1)), np.ones((1, 1)), False)
    assert forecast.quantiles[0, :, 0].tolist() == [1, 2, 3]
    assert forecast.in_units()[0, :, 0].tolist() == [2, 1, 3]
