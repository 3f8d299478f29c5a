"""The teacher's backtest: its error by hand, live and from labels, and the windows that it is made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from label_fakes import FakeTeacher, FakeWindows, GroupTeacher
from usage_errors import usage_error

from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective
from potstill.teaching.backtest import relative_error
from potstill.teaching.engines.forecasts import label_forecasts
from potstill.teaching.live import LiveTeachers
from potstill.teaching.stored import StoredForecasts
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.types import ENSEMBLE, Forecast, Request, Windows

NAN = math.nan


def forecast_of(median: torch.Tensor, loc: float = 0.0, scale: float = 1.0) -> Forecast:
    at = torch.ones(len(median), 1).double()
    values = torch.stack([median - 1, median, median + 1], dim=1)
    return Forecast(torch.tensor([0.1, 0.5, 0.9]), values, loc * at, scale * at)


def windows_of(context: torch.Tensor, future: torch.Tensor) -> Windows:
    ids = torch.arange(len(context))
    return Windows(context, future, ids, ids, ids)


def test_the_error_is_relative_to_copying_the_best_lag():
    # a season of 8 with a level that rises by 1 each time: the copy of the last season is 1 too low at every step
    context = torch.arange(64)[None] % 8 + torch.arange(64)[None] // 8
    truth = torch.arange(64, 72)[None] % 8 + 8.0
    windows = windows_of(context.float(), truth)
    for error in (0.25, 1.5):
        found = relative_error(windows, forecast_of(truth + error))
        torch.testing.assert_close(found, torch.tensor([error]))


def test_the_error_is_that_of_the_steps_that_can_be_compared():
    context = (torch.arange(32) % 4).float().repeat(3, 1)
    truth = torch.tensor([[1.0, 1.0, NAN, NAN], [1.0, NAN, NAN, NAN], [1.0, 2.0, 3.0, 4.0]])
    context[2, -4:] = torch.tensor([0.0, NAN, 2.0, NAN])
    # errors of the copy 0 1 2 3 on the first window: 1 and 0; of the forecast 3: 2 and 2
    found = relative_error(windows_of(context, truth), forecast_of(torch.full((3, 4), 3.0)))
    assert found[0].item() == pytest.approx(4.0)
    assert found[1].isnan(), "one of four steps is too few"
    assert found[2].item() == pytest.approx((2 + 0) / (1 + 1))


def test_a_perfect_copy_beats_every_teacher_that_is_not_perfect():
    context = (torch.arange(32) % 4).float()[None]
    truth = torch.arange(4)[None].float()
    assert relative_error(windows_of(context, truth), forecast_of(truth + 0.1)).item() == math.inf
    assert relative_error(windows_of(context, truth), forecast_of(truth)).isnan().all()
    unknown = torch.full((1, 32), NAN)
    assert relative_error(windows_of(unknown, truth), forecast_of(truth)).isnan().all()


def test_earlier_windows_end_where_the_backtest_begins():
    context, future = torch.arange(10.0).repeat(2, 1), torch.arange(10.0, 14.0).repeat(2, 1)
    known = torch.arange(14.0).expand(2, 3, 14)
    windows = windows_of(context, future)
    windows.past_covariates, windows.future_covariates = 100 + known[..., :10], known
    earlier: Any = windows.earlier(3)
    assert earlier.future.tolist() == [[7.0, 8.0, 9.0]] * 2
    assert earlier.context[0, 3:].tolist() == list(range(7))
    assert earlier.past_covariates[0, 0, 3:].tolist() == [100.0 + t for t in range(7)]
    assert earlier.future_covariates[0, 0, 3:].tolist() == list(range(10))
    for padded in (earlier.context, earlier.past_covariates, earlier.future_covariates):
        assert padded[..., :3].isnan().all()
    assert earlier.future_covariates.shape[-1] == earlier.context.shape[1] + earlier.future.shape[1]
    assert (earlier.origin == windows.origin - 3).all()
    assert windows.context.shape == (2, 10), "the windows themselves are not changed"


def expected(teacher: FakeTeacher, windows: Windows, steps: int) -> torch.Tensor:
    earlier = windows.earlier(steps)
    return relative_error(earlier, teacher.forward(earlier, Request(steps)).forecast).detach()


@pytest.mark.parametrize("stores_inputs", [False, True])
def test_labels_hold_the_backtest_of_the_live_teacher(tmp_path, stores_inputs):
    teacher, source = FakeTeacher(), FakeWindows(40, context=32, stores_inputs=stores_inputs)
    store = label_forecasts(teacher, source, tmp_path / "labels", shard_windows=16, backtest=4)
    windows = source.batch([3, 30, 17, 0])
    (live,) = LiveTeachers({"fake": teacher}).outputs(windows, {"fake": Request(4, backtest=4)}).values()
    (stored,) = StoredForecasts(store).outputs(windows, {}).values()
    assert live.backtest.isfinite().all()
    torch.testing.assert_close(live.backtest, expected(teacher, windows, 4))
    torch.testing.assert_close(stored.backtest, live.backtest)
    assert stored.backtest.dtype == torch.float32
    (without,) = LiveTeachers({"fake": teacher}).outputs(windows, {"fake": Request(4)}).values()
    assert without.backtest is None
    torch.testing.assert_close(without.forecast.values, live.forecast.values)


def test_a_batch_of_labels_loses_the_same_windows_as_the_live_teacher(tmp_path):
    teacher, source = FakeTeacher(), FakeWindows(64, context=32)
    store = label_forecasts(teacher, source, tmp_path / "labels", backtest=4)
    windows, student = source.batch(np.arange(64)), FakeTeacher(gain=0.7)
    objective = Objective(ForecastObjective(gate=True))
    objective.bind(student.info, {"fake": teacher.info})
    found = []
    for provider in (LiveTeachers({"fake": teacher}), StoredForecasts(store)):
        outputs = provider.outputs(windows, objective.teacher_requests(4))
        total, values = objective(LossInputs(windows, student.forward(windows, Request(4)), outputs))
        found.append((total.item(), values["gated"].item()))
    assert 0 < found[0][1] < 1
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_of_several_teachers_the_average_is_tried():
    teachers = {"low": FakeTeacher(gain=-8.0), "high": FakeTeacher(gain=8.0)}
    windows = FakeWindows(8, context=32).batch(np.arange(8))
    requests = dict.fromkeys(teachers, Request(4, backtest=4))
    outputs: Any = LiveTeachers(teachers).outputs(windows, requests)
    torch.testing.assert_close(outputs["high"].backtest, expected(teachers["high"], windows, 4))
    assert (outputs[ENSEMBLE].backtest < outputs["high"].backtest).all()


def test_groups_and_covariates_are_tried_as_they_were():
    teacher = GroupTeacher()
    windows = FakeWindows(4, context=32).batch(np.arange(4))
    windows.group = torch.tensor([0, 0, 1, 1])
    windows.future_covariates = torch.randn(4, 2, 36)
    (output,) = LiveTeachers({"fake": teacher}).outputs(windows, {"fake": Request(4, backtest=4)}).values()
    torch.testing.assert_close(output.backtest, expected(teacher, windows, 4))


@pytest.mark.parametrize(("held", "needed"), [(0, 4), (2, 4)])
def test_labels_without_the_backtest_that_a_run_needs_are_refused(tmp_path, held, needed):
    source = FakeWindows(20, context=32)
    label_forecasts(FakeTeacher(), source, tmp_path / "labels", backtest=held)
    store = ForecastStore.open(tmp_path / "labels", source)
    store.check_backtest(0)
    store.check_backtest(held)
    with usage_error("labels.other_backtest", str(tmp_path / "labels"), "objective.gate", "4 steps"):
        store.check_backtest(needed)
    with usage_error("labels.other_backtest", "4 steps"):  # more labels into the same folder
        label_forecasts(FakeTeacher(), source, tmp_path / "labels", backtest=needed)
