"""Forecasts: other levels, other scales, and values with a large mean and a small spread."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from potstill.types import Forecast


def _forecast(values: list, levels: list, loc: float = 0.0, scale: float = 1.0, arcsinh: bool = False) -> Forecast:
    """One window, one step: ``values`` are its quantiles."""
    column = torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1)
    where = torch.tensor([[loc]], dtype=torch.float64), torch.tensor([[scale]], dtype=torch.float64)
    return Forecast(torch.tensor(levels), column, *where, arcsinh=arcsinh)


def test_other_levels_by_hand():
    forecast = _forecast([0.0, 10.0, 30.0], [0.1, 0.5, 0.9])
    wanted = torch.tensor([0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
    assert forecast.at_levels(wanted).values.flatten().tolist() == pytest.approx([0, 0, 5, 10, 20, 30, 30], abs=1e-5)


def test_other_levels_sort_crossed_quantiles_first():
    crossed = _forecast([10.0, 0.0, 30.0], [0.1, 0.5, 0.9])
    assert crossed.at_levels(torch.tensor([0.3])).values.item() == pytest.approx(5.0)
    assert crossed.at_levels(crossed.levels).values.flatten().tolist() == [0.0, 10.0, 30.0]


def test_a_single_level_is_used_for_all_levels():
    assert _forecast([7.0], [0.5]).at_levels(torch.tensor([0.1, 0.9])).values.flatten().tolist() == [7.0, 7.0]


def test_gradients_flow_through_other_levels():
    forecast = _forecast([0.0, 10.0], [0.1, 0.9])
    forecast.values.requires_grad_()
    forecast.at_levels(torch.tensor([0.3])).values.sum().backward()
    assert forecast.values.grad is not None
    assert forecast.values.grad.flatten().tolist() == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize("arcsinh", [False, True])
def test_a_mean_of_48000_with_a_spread_of_3_keeps_its_precision(arcsinh: bool):
    forecast = _forecast([-1.0, 0.0, 1.0], [0.1, 0.5, 0.9], loc=48_000.0, scale=3.0)
    if arcsinh:
        forecast = Forecast(forecast.levels, forecast.values.asinh(), forecast.loc, forecast.scale, arcsinh=True)
    assert forecast.quantiles.flatten().tolist() == pytest.approx([47_997, 48_000, 48_003], abs=0.01)
    assert forecast.scaled(torch.tensor([[48_003.0]])).sinh().item() == pytest.approx(
        1.0 if arcsinh else torch.tensor(1.0).sinh().item(), rel=1e-6
    )


@given(
    values=st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3),
    loc=st.floats(-1e5, 1e5),
    scale=st.floats(0.1, 1e3),
    ratio=st.floats(0.2, 5),
    shift=st.floats(-5, 5),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_into_another_scale_and_back(values, loc, scale, ratio, shift, flags):
    forecast = _forecast(values, [0.1, 0.5, 0.9], loc, scale, flags[0])
    other = _forecast(values, [0.1, 0.5, 0.9], loc + shift * scale, scale * ratio, flags[1])
    moved = forecast.in_scale_of(other)
    assert (moved.loc, moved.scale, moved.arcsinh) == (other.loc, other.scale, other.arcsinh)
    back = moved.in_scale_of(forecast).values
    raw = forecast.values.sinh() if flags[0] else forecast.values
    again = back.sinh() if flags[0] else back
    torch.testing.assert_close(again, raw, rtol=1e-4, atol=1e-4)


def test_the_same_scale_is_the_same_object():
    forecast = _forecast([1.0, 2.0], [0.1, 0.9])
    assert forecast.in_scale_of(forecast) is forecast
