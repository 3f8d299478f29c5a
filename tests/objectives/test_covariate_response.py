"""The response to covariates: its distance by hand, its gradient, what it needs, and that it changes a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from usage_errors import usage_error

import potstill
from potstill.families.load import load_forecaster
from potstill.objectives.covariate_response import CovariateResponse
from potstill.recipe import Recipe
from potstill.tasks.prepare import prepare
from potstill.teaching.live import LiveTeachers
from potstill.types import ENSEMBLE, Request, Windows

LEVELS = [0.1, 0.5, 0.9]


@pytest.fixture
def inputs(made, passed):
    """Inputs from the values with and without covariates, ``[B, Q, H]``, of student and teacher."""

    def build(student, student_alone, teacher, teacher_alone, **scale):
        found = passed(made(student, LEVELS), made(teacher, LEVELS, **scale))
        found.student.without_covariates = made(student_alone, LEVELS)
        found.teacher.without_covariates = made(teacher_alone, LEVELS, **scale)
        return found

    return build


def test_by_hand(inputs):
    student, alone = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]], [[[0.0, 2.0], [3.0, 3.0], [4.0, 6.0]]]
    teacher, teacher_alone = [[[0.0, 1.0], [3.0, 6.0], [9.0, 9.0]]], [[[-0.5, 1.0], [3.0, 3.0], [5.0, 9.0]]]
    # responses 1, 0 | 0, 1 | 1, 0 and 0.5, 0 | 0, 3 | 4, 0: distances 0.5, 0 | 0, 2 | 3, 0; Huber with delta 1
    expected = (0.25 * 0.125 + 0.4 * 1.5 + 0.25 * 2.5) / 2 / 0.9
    found = CovariateResponse(delta=1.0)(inputs(student, alone, teacher, teacher_alone))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_the_teachers_scale_does_not_matter(inputs):
    """A teacher in units of 10 with a level of 5: the same forecasts, the same loss."""
    values = torch.randn(4, 2, 3, 5, generator=torch.Generator().manual_seed(0)).sort(2).values
    plain = CovariateResponse()(inputs(*values))
    other = [(one - 5.0) / 10.0 if number > 1 else one for number, one in enumerate(values)]
    torch.testing.assert_close(CovariateResponse()(inputs(*other, loc=5.0, scale=10.0)), plain, rtol=1e-5, atol=1e-6)


def test_the_same_response_costs_nothing_whatever_the_forecasts(inputs):
    """The student forecasts 3 more than the teacher in both passes."""
    values = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0)).sort(2).values
    found = CovariateResponse()(inputs(values[0] + 3, values[1] + 3, *values))
    torch.testing.assert_close(found, torch.zeros(2), atol=1e-5, rtol=0)


def test_gradients_reach_both_passes_of_the_student(inputs):
    values = torch.randn(4, 2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).sort(2).values
    found = inputs(*values)
    passes = found.student.forecast, found.student.without_covariates
    for one in passes:
        one.values.requires_grad_()
    loss = CovariateResponse()(found).sum()
    gradients = torch.autograd.grad(loss, [one.values for one in passes])
    torch.testing.assert_close(gradients[0], -gradients[1])
    assert (gradients[0] != 0).all()


def test_windows_without_covariates_have_no_loss(made, passed):
    found = passed(made(torch.ones(2, 3, 4), LEVELS), made(torch.zeros(2, 3, 4), LEVELS))
    found.student.without_covariates = None
    assert CovariateResponse()(found).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("delta", [0, -1.0])
def test_a_delta_that_is_none(delta):
    with usage_error("objective.bad_delta", "covariate_response.delta"):
        CovariateResponse(delta)


def windows() -> Windows:
    values = torch.randn(6, 96, generator=torch.Generator().manual_seed(1))
    known = torch.randn(6, 2, 96, generator=torch.Generator().manual_seed(2))
    return Windows(values[:, :64], values[:, 64:], *(torch.arange(6),) * 3, future_covariates=known)


def test_a_live_teacher_forecasts_the_windows_again_without_covariates(tiny_teacher: Path):
    teacher, batch, request = load_forecaster(str(tiny_teacher)), windows(), Request(32, without_covariates=True)
    with torch.no_grad():
        expected = teacher.forward(batch.alone(), Request(32)).forecast
        together = teacher.forward(batch, Request(32)).forecast
    found = LiveTeachers({"a": teacher, "b": teacher}).outputs(batch, {"a": request, "b": request})
    for name in ("a", "b", ENSEMBLE):
        alone = found[name].without_covariates
        assert alone is not None
        torch.testing.assert_close(alone.quantiles, expected.quantiles, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[name].forecast.quantiles, together.quantiles, rtol=1e-5, atol=1e-5)
        assert found[name].take(torch.tensor([3])).first_steps(8).without_covariates.values.shape[::2] == (1, 8)
    single = LiveTeachers({"a": teacher}).outputs(replace(batch, future_covariates=None), {"a": request})
    assert single["a"].without_covariates is None


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    promo = (rng.random(400) < 0.2).astype(int)
    sold = 10 + 5 * promo + rng.normal(size=400)
    return pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=400, freq="h"), "y": sold, "promo": promo})


def recipe(tiny_teacher: Path, weight: float | None, **more) -> Recipe:
    keys = {
        "teacher": str(tiny_teacher),
        "data.context_length": 64,
        "data.prediction_length": 16,
        "student.overrides": {"num_layers": 1, "d_model": 32, "d_ff": 32, "num_heads": 2, "d_kv": 16},
        "training.max_steps": 2,
        "training.batch_size": 8,
        "training.eval_windows": 4,
        "training.device": "cpu",
        "evaluation.max_windows": 4,
        "evaluation.baselines": [],
        **({} if weight is None else {"objective.terms": {"covariate_response": {"weight": weight}}}),
        **more,
    }
    return Recipe.lay_over({}, keys)


def test_it_is_trained_and_logged(tiny_teacher: Path, table: pd.DataFrame, tmp_path: Path):
    """With a weight of 0 and of 3 the students differ; the logged loss has the term in it."""
    runs = {
        weight: potstill.distill(
            recipe(tiny_teacher, weight), tmp_path / f"{weight}", data=table, target="y", known="promo"
        )
        for weight in (None, 3.0)
    }
    logs = {weight: pd.read_json(run / "log.jsonl", lines=True) for weight, run in runs.items()}
    first = {weight: log[log["event"] == "train"].iloc[0] for weight, log in logs.items()}
    assert "covariate_response" not in first[None]["terms"]
    term = first[3.0]["terms"]["covariate_response"]
    assert term > 0
    assert first[3.0]["loss"] == pytest.approx(first[None]["loss"] + 3 * term, rel=1e-5)
    students = [load_forecaster(str(run / "student")).fingerprint for run in runs.values()]
    assert students[0] != students[1]


def test_the_student_runs_once_where_the_truth_alone_counts(tiny_teacher: Path, table: pd.DataFrame, tmp_path: Path):
    """``objective.grouped: truth`` compares with no teacher where there are covariates."""
    passes = {}
    for grouped in ("all", "truth"):
        given = recipe(
            tiny_teacher, 3.0, **{"objective.grouped": grouped, "data.known": ["promo"], "data.target": ["y"]}
        )
        table.to_csv(tmp_path / "table.csv", index=False)
        given.data.paths = [str(tmp_path / "table.csv")]
        task = prepare(given)
        run = task.training("student", task.training_data(tmp_path / grouped, None), 2, dict, random_start=True)
        step, calls = run.step(), []
        forward = run.student.forward
        run.student.forward = lambda *args, calls=calls, forward=forward: calls.append(args) or forward(*args)
        step(step.module, run.data.dataset.batch([0, 1]), None, 0)
        passes[grouped] = len(calls)
    assert passes == {"all": 2, "truth": 1}


def test_data_without_covariates_are_refused(tiny_teacher: Path, table: pd.DataFrame, tmp_path: Path):
    with usage_error("objective.no_covariates", "covariate_response", "--known"):
        potstill.distill(recipe(tiny_teacher, 1.0), tmp_path / "run", data=table[["ds", "y"]])


def test_stored_labels_are_refused(tiny_teacher: Path, table: pd.DataFrame, tmp_path: Path):
    with usage_error("objective.signal_missing", "without_covariates", "stored labels"):
        potstill.distill(
            recipe(tiny_teacher, 1.0, labels="auto"), tmp_path / "run", data=table, target="y", known="promo"
        )


def test_the_recipe_to_copy_prepares(tiny_teacher: Path, table: pd.DataFrame, tmp_path: Path):
    """recipes/covariate-response.yaml on a small table and teacher; two steps."""
    table.rename(columns={"y": "Demand", "promo": "Holiday"}).assign(Temperature=1.0 * np.arange(400)).to_csv(
        tmp_path / "table.csv", index=False
    )
    given = Path(__file__).parents[2] / "recipes" / "covariate-response.yaml"
    short = {
        "teacher": str(tiny_teacher),
        "data.paths": [str(tmp_path / "table.csv")],
        "data.context_length": 64,
        "data.prediction_length": 16,
        "training.max_steps": 2,
        "training.eval_windows": 4,
        "training.device": "cpu",
        "evaluation.max_windows": 4,
    }
    run = potstill.distill(Recipe.read(given, short), tmp_path / "run")
    log = pd.read_json(run / "log.jsonl", lines=True)
    terms = log[log["event"] == "train"].iloc[-1]["terms"]
    assert set(terms) == {"expected_pinball", "pinball", "covariate_response"}
    assert prepare(Recipe.read(run / "recipe.yaml")).grouped
