"""Layers that cost accuracy stay in fp32: the search, on losses that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from potstill.exporting.calibration import Calibration
from potstill.exporting.forecaster import write_forecaster
from potstill.exporting.options import ExportOptions
from potstill.exporting.quantise import _kept
from potstill.families.base import Forecaster
from potstill.runtime.sessions import OnnxSession
from potstill.types import Forecast

COSTS = {"a": 0.001, "b": 0.02, "c": 0.004, "d": 0.03, "e": 0.0, "f": 0.001}


def loss_of(ignored: Sequence[str]) -> float:
    return sum(cost for name, cost in COSTS.items() if name not in ignored)


@pytest.mark.parametrize(
    ("limit", "kept"),
    [(0.1, []), (0.03, ["d"]), (0.007, ["d", "b"]), (0.001, ["d", "b", "c", "a"])],
)
def test_those_whose_quantisation_costs_most_are_kept_first(limit: float, kept: list[str]):
    candidate, ignored = _kept(list, list(COSTS), loss_of, limit)
    assert ignored == kept
    assert candidate == kept


def test_all_are_tried_if_none_suffices():
    _, ignored = _kept(list, list(COSTS), lambda ignored: 1.0, 0.01)
    assert len(ignored) == 4  # 1, 2, 4; eight are more than there are


def test_a_candidate_whose_forecasts_are_not_finite_has_an_infinite_loss(
    calibration: Calibration, make_model: Callable[..., Forecaster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loss = calibration.loss_of(make_model("linear"))
    write_forecaster(make_model("linear"), tmp_path, ExportOptions(), calibration)
    assert loss(tmp_path) == pytest.approx(0, abs=1e-5)
    monkeypatch.setattr(OnnxSession, "run", lambda self, inputs: np.full((len(inputs["context"]), 9, 32), np.nan))
    assert loss(tmp_path) == float("inf")


def test_the_loss_is_the_mean_over_data_sets(make_model: Callable[..., Forecaster], tmp_path: Path, monkeypatch):
    """Two data sets by hand: forecasts of 0 and then 1 for a truth of 2 at every level, scales 1 and 10."""
    model = make_model("linear")
    windows = Calibration(np.ones((3, 64)), np.full((3, 32), 2.0), np.array([0, 0, 1]), np.array([1.0, 1.0, 10.0]))
    windows.futures[2] = np.nan  # no true value is known: the data set does not count
    found = iter((np.full((3, 9, 32), 0.0), np.full((3, 9, 32), 1.0)))
    monkeypatch.setattr(Forecast, "quantiles", property(lambda _: torch.from_numpy(next(found))))
    loss = windows.loss_of(model)
    write_forecaster(model, tmp_path, ExportOptions(), windows)
    assert loss(tmp_path) == pytest.approx(-0.5)


def test_a_single_window_is_both_halves():
    one = Calibration(np.ones((1, 4)), np.ones((1, 2)), np.zeros(1), np.ones(1))
    assert one.halves() == (one, one)
    three = Calibration(np.arange(12.0).reshape(3, 4), np.ones((3, 2)), np.arange(3), np.ones(3))
    assert [half.dataset.tolist() for half in three.halves()] == [[0, 2], [1]]
