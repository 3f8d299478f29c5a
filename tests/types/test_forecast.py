"""Forecasts: other levels, other scales, and values with a large mean and a small spread."""

import sys

import pandas as pd
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


def small_forecast() -> Forecast:
    """Two windows, levels 0.1, 0.5, 0.9, two steps; quantiles 0, 1, 3 plus 10 for the second step of each window."""
    values = torch.tensor([0.0, 1.0, 3.0])[None, :, None] + torch.tensor([0.0, 10.0])
    one = torch.ones(2, 1, dtype=torch.float64)
    return Forecast(torch.tensor([0.1, 0.5, 0.9]), values.expand(2, -1, -1), 0 * one, one)


def test_the_mean_is_that_of_the_quantile_function():
    # 0 below 0.1, linear to 1 at 0.5 and to 3 at 0.9, 3 above: 0.4 * 0.5 + 0.4 * 2 + 0.1 * 3
    torch.testing.assert_close(small_forecast().mean, torch.tensor([[1.3, 11.3]] * 2))


def test_a_frame_has_a_row_for_each_window_and_step():
    frame = small_forecast().to_frame(["a", "b"], pd.date_range("2024-01-01", periods=2))
    assert list(frame.columns) == ["unique_id", "ds", "q0.1", "q0.5", "q0.9"]
    assert frame["unique_id"].tolist() == ["a", "a", "b", "b"]
    assert frame["ds"].tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")] * 2
    assert frame["q0.9"].tolist() == [3, 13, 3, 13]
    assert small_forecast().to_frame()["ds"].tolist() == [1, 2, 1, 2]
    with pytest.raises(ValueError, match="3 for 2 windows"):
        small_forecast().to_frame([1, 2, 3])
    with pytest.raises(ValueError, match=r"give \[2\] or \[2, 2\]"):
        small_forecast().to_frame(times=[1, 2, 3])


class Axes:
    """Notes what is drawn."""

    def __init__(self) -> None:
        self.lines: list[tuple] = []
        self.bands: list[tuple] = []

    def plot(self, x, y, **_):
        self.lines.append((list(x), list(y)))

    def fill_between(self, x, low, high, **_):
        self.bands.append((list(low), list(high)))

    def legend(self):
        pass


def test_a_plot_shows_history_median_and_bands():
    axes = small_forecast().plot([7, 8], window=1, axes=Axes())
    assert axes.lines == [([-1, 0], [7, 8]), ([1, 2], [1, 11])]
    assert axes.bands == [([0, 10], [3, 13])]


def test_without_matplotlib_a_plot_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
        small_forecast().plot()
