"""Several teachers as one: averaged quantile by quantile in one scale."""

from __future__ import annotations

import pytest
import torch

from potstill.teaching.average import average_forecasts
from potstill.types import Forecast


def forecast(raw, levels, loc, scale, arcsinh=False):
    loc, scale = torch.tensor([[loc]], dtype=torch.float64), torch.tensor([[scale]], dtype=torch.float64)
    values = (torch.tensor(raw, dtype=torch.float64)[None, :, None] - loc) / scale
    values = values.asinh() if arcsinh else values
    return Forecast(torch.tensor(levels), values.float(), loc, scale, arcsinh)


def test_levels_and_scales_are_brought_together_by_hand():
    first = forecast([10.0, 20.0, 30.0], [0.1, 0.5, 0.9], loc=20.0, scale=5.0)
    second = forecast([20.0, 40.0], [0.1, 0.9], loc=0.0, scale=2.0, arcsinh=False)  # its median: 30, halfway
    mean = average_forecasts([first, second], [3, 1])
    assert mean.loc is first.loc
    expected = torch.tensor([10 * 0.75 + 20 * 0.25, 20 * 0.75 + 30 * 0.25, 30 * 0.75 + 40 * 0.25])
    torch.testing.assert_close(mean.quantiles.flatten(), expected)


def test_the_average_is_taken_in_the_space_of_the_loss():
    first = forecast([10.0, 20.0, 30.0], [0.1, 0.5, 0.9], loc=20.0, scale=5.0, arcsinh=True)
    second = forecast([20.0, 30.0, 40.0], [0.1, 0.5, 0.9], loc=0.0, scale=2.0)
    mean = average_forecasts([first, second])
    assert mean.arcsinh
    expected = torch.tensor([[-2.0, 0.0, 2.0], [0.0, 2.0, 4.0]]).asinh().mean(0)
    torch.testing.assert_close(mean.values.flatten(), expected)


def test_weights_by_window_choose_a_teacher():
    one = Forecast(torch.tensor([0.5]), torch.ones(2, 1, 3), torch.zeros(2, 1).double(), torch.ones(2, 1).double())
    two = Forecast(torch.tensor([0.5]), 3 * torch.ones(2, 1, 3), one.loc, one.scale)
    values = average_forecasts([one, two], torch.tensor([[1.0, 1.0], [0.0, 1.0]])).values
    assert values[0].unique().tolist() == [1.0]
    assert values[1].unique().tolist() == [2.0]
    assert average_forecasts([one, two]).values.unique().tolist() == [2.0]


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_senseless_weights_raise(weights):
    one = Forecast(torch.tensor([0.5]), torch.ones(2, 1, 3), torch.zeros(2, 1).double(), torch.ones(2, 1).double())
    with pytest.raises(ValueError, match="weights"):
        average_forecasts([one, one], weights)
