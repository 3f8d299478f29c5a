"""The covariate task: what its forecasts of reference reach, and what it says of models that do or do not look."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from potstill.types import Forecast, Windows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


@pytest.fixture
def task() -> Any:
    from covariates import Task

    return Task(200, seed=0)


class Regression:
    """Forecasts by least squares on the wave and on the covariates that are known ahead, if there are any."""

    levels, max_context, max_horizon = torch.tensor([0.5]), 512, 96

    def __init__(self, task: Any):
        self.task = task

    def predict(self, windows: Windows, horizon: int) -> Forecast:
        known = windows.future_covariates
        inputs = [self.task.wave.transpose(1, 0, 2), np.ones_like(self.task.covariates[:, :1])]
        inputs = np.concatenate([*inputs, *([known.numpy()] if known is not None else [])], axis=1)
        context = windows.context.numpy()
        values = []
        for x, y in zip(inputs, context, strict=True):
            effects = np.linalg.lstsq(x[:, : len(y)].T, y, rcond=None)[0]
            values.append(effects @ x[:, len(y) :])
        zero, one = torch.zeros(len(values), 1).double(), torch.ones(len(values), 1).double()
        return Forecast(torch.tensor([0.5]), torch.tensor(np.array(values)).float()[:, None], zero, one)


def test_the_noise_is_all_that_a_perfect_forecast_misses(task):
    from covariates import CONTEXT, NOISE_MAE

    assert task.errors(task.mean[:, CONTEXT:]).mean() == pytest.approx(NOISE_MAE, rel=0.02)
    assert task.errors(task.regression()).mean() == pytest.approx(NOISE_MAE, rel=0.03)


def test_a_model_that_uses_what_is_known_gains_all_and_unrelated_covariates_do_not_help(task):
    from covariates import CONTEXT, measure, used

    found: Any = measure(Regression(task), task)  # type: ignore[arg-type]
    perfect = task.errors(task.mean[:, CONTEXT:])
    share = used(found["without"], found["known"], perfect)
    assert share["value"] == pytest.approx(1.0, abs=0.02)
    assert share["low"] < share["value"] < share["high"]
    np.testing.assert_array_equal(found["past"], found["without"])  # this model has no use for them
    assert found["without"].mean() > 1.5
    assert found["unrelated"].mean() >= found["without"].mean()
    assert used(found["without"], found["without"], perfect)["value"] == 0.0
    assert used(found["without"], found["by regression"], perfect)["value"] == pytest.approx(0.97, abs=0.02)
