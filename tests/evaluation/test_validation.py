"""The metric that selects the best checkpoint: its windows, and the input of the forecaster."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from eval_fakes import FakeStore, FakeWindows, Last
from usage_errors import usage_error

from potstill.evaluation.validation import PRIOR_BLOCKS, Validation
from potstill.types import Windows


class Sampled(FakeWindows):
    """Windows of series with common origins; windows of one origin are a group if ``grouped``."""

    def __init__(self, series: list[np.ndarray], grouped: bool):
        super().__init__(FakeStore(series), 16, 4)
        self.grouped = grouped

    def sample(self, count: int, seed: int) -> np.ndarray:
        return np.arange(len(self))[:count]

    def batch(self, ids) -> Windows:
        windows = super().batch(ids)
        windows.group = windows.origin if self.grouped else None
        return windows


class Recorder(Last):
    def predict(self, windows, prediction_length):
        self.received = windows
        return super().predict(windows, prediction_length)


def random_walk(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=40).cumsum()


CONSTANT = np.full(40, 5.0)  # cannot be scored: its seasonal naive error is zero


def test_a_shift_worsens_both_metrics():
    validation = Validation(Sampled([random_walk(0), random_walk(1)], grouped=False), 100)
    near, far = validation(Last()), validation(Last(shift=3.0))
    assert len(validation) == 10
    assert far["sql"] > near["sql"] > 0
    assert far["sql"] / near["sql"] == pytest.approx(far["rel_naive"] / near["rel_naive"])


def test_only_scored_windows_are_forecast():
    model = Recorder()
    Validation(Sampled([random_walk(0), CONSTANT], grouped=False), 100)(model)
    assert model.received.series.unique().tolist() == [0]


def test_other_members_of_a_group_are_input_but_not_scored():
    model = Recorder()
    series = [CONSTANT, random_walk(0)]
    grouped = Validation(Sampled(series, grouped=True), 100)
    found = grouped(model)
    assert model.received.series.unique().tolist() == [0, 1]
    assert torch.equal(model.received.group, model.received.origin)
    assert len(grouped) == 5
    assert found == pytest.approx(Validation(Sampled(series, grouped=False), 100)(Last()))


def test_no_usable_validation_window_is_a_usage_error():
    with usage_error("evaluation.no_usable_validation_window", "set0", "data.split"):
        Validation(Sampled([CONSTANT], grouped=False), 100)


def test_intervals_are_never_made_narrower():
    validation = Validation(Sampled([0.1 * random_walk(0)], grouped=False), 100)
    assert validation.spread_factor(Last(width=100.0)) == 1
    assert validation.spread_factor(Last(width=0.01)) > 1


def test_the_spread_factor_covers_data_sets_equally():
    store = FakeStore([0.1 * random_walk(seed) * (1 + (seed > 7)) for seed in range(10)], dataset_of=[0] * 8 + [1] * 2)
    windows = Sampled(store.arrays, grouped=False)
    windows.store = store
    validation, model = Validation(windows, 1000), Last(width=0.4)
    # 40 steps: the last 8 of each of 10 series, in blocks of 4: three origins // 4 each
    assert validation.blocks == 20
    shrunk = validation.spread_factor(model)
    factor = shrunk ** ((20 + PRIOR_BLOCKS) / 20)
    assert 1 < shrunk < factor < 3
    forecast = model.predict(validation.windows, 4).at_levels(torch.tensor([0.1, 0.5, 0.9])).quantiles.numpy()
    low, median, high = forecast.swapaxes(0, 1)
    half = np.where(validation.future > median, high - median, median - low)

    def coverage(factor: float) -> float:
        inside = np.abs(validation.future - median) <= factor * half + 1e-6
        return float(np.mean([inside[validation.dataset == one].mean() for one in (0, 1)]))

    assert coverage(0.98 * factor) < 0.8 <= coverage(factor)
