"""The metric that selects the best checkpoint: its windows, and the input of the forecaster."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from eval_fakes import FakeStore, FakeWindows, Last
from usage_errors import usage_error

from potstill.evaluation.validation import Validation
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
