"""Distilling with covariates: the student uses them, labels are stored with them, others are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from training_fakes import small_recipe
from usage_errors import usage_error

import potstill
from potstill.families.load import load_forecaster
from potstill.recipe import Recipe
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.types import Windows


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target that follows an event of the same step, and a level that is known late."""
    rng = np.random.default_rng(0)
    event = rng.integers(0, 2, 900)
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=900, freq="h")})
    frame["y"] = 10 + 5 * event + 0.2 * rng.normal(size=900)
    frame["event"] = np.where(event == 1, "yes", "no")
    frame["level"] = rng.normal(size=900)
    path = tmp_path_factory.mktemp("covariates") / "table.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def recipe(tiny_teacher: Path, table: Path) -> Recipe:
    small = small_recipe(tiny_teacher, table)
    keys = {"data.target": ["y"], "data.known": ["event"], "data.past": ["level"]}
    return Recipe.lay_over(small.model_dump(mode="json", exclude_unset=True), keys)


def changed(recipe: Recipe, **keys: Any) -> Recipe:
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    tree["student"] = keys.pop("student", tree["student"])
    return Recipe.lay_over(tree, {key.replace("__", "."): value for key, value in keys.items()})


def test_a_run_with_covariates(recipe: Recipe, tmp_path: Path, capsys: Any):
    run = potstill.distill(changed(recipe, labels="auto"), tmp_path / "run")
    said = capsys.readouterr().err
    assert "Covariates event (known ahead); level (past only)" in said
    assert "they " in said.split("Covariates")[1]
    student = load_forecaster(run)
    task = prepare_forecasting(recipe)
    windows: Windows = task.validation_windows.batch(np.arange(4))
    other = task.validation_windows.batch(np.arange(4))
    assert other.future_covariates is not None
    other.future_covariates[:, :, -1] += 3  # the last step of the future
    forecasts = [student.predict(one, 32).quantiles for one in (windows, other)]
    assert not torch.equal(*forecasts)


def test_the_student_learns_what_decides_the_answer(recipe: Recipe, tmp_path: Path):
    """The teacher has random weights and knows nothing of the event; the truth teaches it."""
    keys: dict[str, Any] = {"student__overrides": {"num_layers": 2, "d_model": 64, "d_ff": 128, "d_kv": 16}}
    keys |= {"training__max_steps": 400, "training__batch_size": 32, "training__learning_rate": 5e-3}
    keys |= {"student__start": "random", "data__prediction_length": 16, "data__past": [], "training__eval_steps": 200}
    errors = {}
    for name, known in {"with": ["event"], "without": []}.items():
        run = potstill.distill(changed(recipe, objective__grouped="truth", data__known=known, **keys), tmp_path / name)
        errors[name] = json.loads((run / "metrics.json").read_text())["models"]["student"]["table"]["mae_raw"]
    assert errors["with"] < 0.5 * errors["without"], errors


def test_no_labels_are_stored_where_the_truth_teaches_all(recipe: Recipe):
    repeated = {"training__max_steps": 100, "training__batch_size": 32}
    assert prepare_forecasting(changed(recipe, **repeated)).recipe.labels == "auto"
    alone = changed(recipe, objective__grouped="truth", **repeated)
    assert getattr(prepare_forecasting(alone).recipe, "labels", None) is None


def test_models_that_cannot_use_them_are_refused_by_name(recipe: Recipe, tmp_path: Path):
    with usage_error("model.no_groups", "linear student"):
        potstill.distill(
            changed(recipe, teacher=[], objective__alpha=0.0, student={"family": "linear"}), tmp_path / "run"
        )
    run = potstill.distill(
        changed(recipe, data__known=[], data__past=[], student={"family": "linear"}), tmp_path / "linear"
    )
    with usage_error("objective.signal_missing", "a linear model", "covariates"):
        potstill.distill(changed(recipe, teacher=str(run), student__family="chronos2"), tmp_path / "other")


def test_gkd_has_covariates_too(recipe: Recipe):
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    del tree["objective"]
    task = prepare_forecasting(Recipe.lay_over(tree, {"training.algorithm": "gkd"}))
    assert any("event (known ahead)" in line for line in task.source_lines())


def test_a_teacher_that_hardly_uses_them_is_reported(recipe: Recipe, tmp_path: Path, capsys: Any):
    potstill.distill(recipe, tmp_path / "run", dry_run=True)
    assert "objective.grouped: truth" in capsys.readouterr().err
    potstill.distill(changed(recipe, objective__grouped="truth"), tmp_path / "run", dry_run=True)
    assert "objective.grouped: truth" not in capsys.readouterr().err


@pytest.mark.parametrize("labels", ["auto", None])
def test_series_of_a_table_are_distilled_together(tiny_teacher: Path, table: Path, labels: str | None, tmp_path: Path):
    """Teacher, labels, validation and student see the other series: each changes the student."""
    small = changed(small_recipe(tiny_teacher, table), data__target=["y", "level"], labels=labels)
    runs = {
        name: potstill.distill(changed(small, data__groups=groups), tmp_path / name)
        for name, groups in {"together": "table", "alone": None}.items()
    }
    assert runs["together"].recipe.data.groups == "table"
    students = [load_forecaster(run).module.state_dict() for run in runs.values()]
    assert any(not torch.equal(value, students[1][name]) for name, value in students[0].items())
    events = [json.loads(line) for line in (runs["together"] / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(event["loss"]) for event in events if event["event"] == "train")


def test_a_model_that_cannot_see_other_series_is_refused(tiny_teacher: Path, table: Path, tmp_path: Path):
    recipe = changed(small_recipe(tiny_teacher, table), data__groups="table", data__target=["y", "level"])
    with usage_error("model.no_groups", "linear student"):
        potstill.distill(
            changed(recipe, teacher=[], objective__alpha=0.0, student={"family": "linear"}), tmp_path / "run"
        )
