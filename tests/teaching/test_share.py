"""Labels for only a share of the windows: live and stored, and what the objective makes of it."""

from __future__ import annotations

import pytest
import torch

from potstill.families.load import load_forecaster
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import ForecastObjective
from potstill.teaching.live import LiveTeachers
from potstill.teaching.share import labelled
from potstill.types import Forecast, Output, Request, Windows


def windows(count: int) -> Windows:
    torch.manual_seed(0)
    batch = Windows.of_context(torch.randn(count, 64).cumsum(dim=1), 32)
    batch.ids = torch.arange(count)
    return batch


def test_a_window_is_labelled_in_every_batch_or_in_none():
    batch = windows(4000)
    chosen = labelled(batch, 0, 0.3)
    assert chosen.float().mean() == pytest.approx(0.3, abs=0.03)
    rows = torch.tensor([5, 3999, 17])
    assert labelled(batch.take(rows), 0, 0.3).tolist() == chosen[rows].tolist()
    assert (labelled(batch, 1, 0.3) != chosen).any()
    assert labelled(batch, 0, 1.0).all()


def test_a_group_is_labelled_as_a_whole():
    batch = windows(400)
    batch.group = batch.ids // 4
    chosen = labelled(batch, 0, 0.5).view(100, 4)
    assert (chosen == chosen[:, :1]).all()
    assert 20 < chosen[:, 0].sum() < 80


def test_teachers_run_on_the_labelled_windows_alone(tiny_teacher, monkeypatch):
    teacher, batch = load_forecaster(tiny_teacher).freeze(), windows(40)
    sizes = []
    forward = type(teacher).forward
    monkeypatch.setattr(type(teacher), "forward", lambda self, w, r: (sizes.append(len(w)), forward(self, w, r))[1])
    request = {"tiny": Request(32, hidden=(0,))}
    whole = LiveTeachers({"tiny": teacher}).outputs(batch, request)["tiny"]
    part = LiveTeachers({"tiny": teacher}, share=0.4, seed=3).outputs(batch, request)["tiny"]
    chosen = labelled(batch, 3, 0.4)
    assert sizes == [40, int(chosen.sum())]
    assert part.labelled.tolist() == chosen.tolist()
    torch.testing.assert_close(part.forecast.values[chosen], whole.forecast.values[chosen], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(part.hidden[0][chosen], whole.hidden[0][chosen], atol=1e-4, rtol=1e-4)
    assert torch.equal(part.forecast.loc[chosen], whole.forecast.loc[chosen])
    none = LiveTeachers({"tiny": teacher}, share=1e-9).outputs(batch, request)["tiny"]
    assert not none.labelled.any()
    assert none.forecast.values.shape == whole.forecast.values.shape


def test_windows_without_labels_rely_on_the_truth():
    """Losses of two windows: soft 2 and (meaningless) 7, hard 1 and 3; the second window is not labelled."""
    levels, one = torch.tensor([0.5]), torch.ones(2, 1).double()
    student = Output(Forecast(levels, torch.zeros(2, 1, 4), 0 * one, one))
    values = torch.tensor([2.0, 7.0])[:, None, None].expand(2, 1, 4)
    teacher = Output(Forecast(levels, values, 0 * one, one), labelled=torch.tensor([True, False]))
    batch = Windows.of_context(torch.zeros(2, 8), 4)
    batch.future[:] = torch.tensor([[1.0], [3.0]])
    objective = Objective(ForecastObjective(alpha=0.75, soft="quantile_match"))
    total, terms = objective(LossInputs(batch, student, {"t": teacher}))
    assert total.item() == pytest.approx((0.75 * 2 + 0.25 * 1 + 3) / 2)
    assert terms["gated"].item() == 0.5
    assert terms["quantile_match"].item() == pytest.approx(2 / 2)
