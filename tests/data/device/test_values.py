"""Missing values: shortened histories, gaps, and futures that teach nothing."""

import pytest
import torch

from potstill.data.device.draws import Draws
from potstill.data.device.values import SHORTEST, remove_useless_futures, remove_values, unit

NAN = torch.nan


def test_unit_has_mean_zero_and_deviation_one_over_known_values():
    x = torch.tensor([[1.0, NAN, 3.0], [5.0, 5.0, 5.0], [NAN, NAN, NAN]])
    torch.testing.assert_close(unit(x)[:2], torch.tensor([[-1.0, NAN, 1.0], [0.0, 0.0, 0.0]]), equal_nan=True)
    assert unit(x)[2].isnan().all()


def test_histories_are_shortened_from_the_left_and_gaps_keep_some_values():
    context = torch.arange(256.0).expand(4000, 256)
    known = ~remove_values(Draws(0, 0, "cpu"), context).isnan()
    begin = known.int().argmax(dim=1)
    whole = known.sum(dim=1) + begin == 256  # nothing missing after the first known value
    shortened = begin > 0
    assert float(whole.float().mean()) == pytest.approx(0.94, abs=0.02)
    assert float(shortened[whole].float().mean()) == pytest.approx(0.35, abs=0.03)
    lengths = 256 - begin[whole & shortened]
    assert lengths.float().quantile(0.01) >= SHORTEST  # a few are shorter, by gaps
    # log-uniform: half of them are shorter than the geometric mean of 8 and 256
    assert float((lengths < 45.3).float().mean()) == pytest.approx(0.5, abs=0.05)
    rates = 1 - known[~whole].float().mean(dim=1)
    assert (rates < 1).all()


def test_futures_count_only_after_a_context_that_tells_something():
    context = torch.tensor(
        [[NAN, 1.0, 2.0, 3.0, 4.0], [NAN, NAN, 1.0, 2.0, 3.0], [2.0] * 5, [0.0, 0.0, 0.0, 0.0, 1e-6]]
    )
    future = torch.tensor([[5.0, NAN], [4.0, 5.0], [2.0, 3.0], [1e-6, 1.0]])
    expected = torch.tensor([[5.0, NAN], [NAN, NAN], [2.0, NAN], [1e-6, NAN]])
    torch.testing.assert_close(remove_useless_futures(context, future), expected, equal_nan=True)
