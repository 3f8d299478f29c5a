"""The linear student: its maps by hand, the folded matrix, and its size."""

from __future__ import annotations

import torch
from usage_errors import usage_error

from potstill.families.small.linear import LinearFamily, LinearModel


def model(context: int = 12, horizon: int = 3, **overrides: object) -> LinearModel:
    family = LinearFamily()
    torch.manual_seed(0)
    return family.build(family.design(None, {"window": 5, "rank": 4, **overrides}, context, horizon), 0.0).module


def test_the_folded_map_equals_separate_trend_and_season_maps():
    linear = model()
    with torch.no_grad():
        linear.trend.normal_()
        linear.season.normal_()
    x = torch.randn(7, 12)
    trend = torch.stack([x[:, max(0, i - 2) : i + 3].mean(dim=1) for i in range(12)], dim=1)
    separate = trend @ linear.trend.T + (x - trend) @ linear.season.T
    torch.testing.assert_close(x @ linear.folded().T, separate)


def test_a_window_wider_than_the_context_averages_all_of_it():
    linear = model(context=6, window=25)
    with torch.no_grad():
        linear.trend.normal_()
    x = torch.randn(4, 6)
    expected = x.mean(dim=1, keepdim=True).expand(-1, 6) @ linear.trend.T
    torch.testing.assert_close(x @ linear.folded().T, expected)


def test_known_weights_give_a_known_median():
    family = LinearFamily()
    student = family.build(family.design(None, {"levels": [0.5]}, 4, 2), 0.0)
    with torch.no_grad():
        # both maps select the last step and the one before it, so that the average does not matter
        for weight in (student.module.trend, student.module.season):
            weight.copy_(torch.tensor([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]))
    context = torch.tensor([[1.0, 2.0, 4.0, 3.0], [10.0, 20.0, torch.nan, torch.nan]])
    quantiles = student.predict(context, 2).quantiles
    torch.testing.assert_close(quantiles[:, 0], torch.tensor([[3.0, 4.0], [20.0, 20.0]]))


def test_the_spread_grows_with_the_changes_of_the_context():
    linear = model(context=32, horizon=2, levels=[0.1, 0.5, 0.9])
    with torch.no_grad():
        linear.spread_in.weight.zero_()
        linear.spread_in.bias.zero_()
        linear.spread_in.weight[:, 32:] = 1.0  # the two blocks of mean absolute changes
        linear.spread_out.weight.fill_(0.5)
    calm, restless = torch.linspace(-1, 1, 32), torch.tensor([-1.0, 1.0]).repeat(16)
    values = linear(torch.stack([calm, restless]), torch.ones(2, 32, dtype=torch.bool))
    width = values[:, 2] - values[:, 0]
    assert (width[1] > width[0] + 1).all()


def test_it_is_small_and_has_no_layers():
    family = LinearFamily()
    architecture = family.design(None, {}, 512, 96)
    assert architecture.parameters <= 300_000
    student = family.build(family.design(None, {}, 64, 20), 0.0)
    assert (student.info.layers, student.info.signals) == (0, {"forecast"})


def test_an_even_window_is_rejected():
    with usage_error("student.bad_value", "window=24"):
        LinearFamily().design(None, {"window": 24}, 64, 20)
