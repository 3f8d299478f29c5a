"""From data to a mixture in one call: a general student is distilled first, then experts branch from it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from usage_errors import usage_error

import potstill
from potstill.families.load import load_forecaster
from potstill.recipe import Recipe
from potstill.tasks.experts.general import general_recipe
from potstill.training.run import Interrupted, TrainingRun

GENERAL: dict[str, Any] = {
    "student": {"family": "linear"},
    "training": {"max_steps": 30, "batch_size": 16, "learning_rate": 0.01, "eval_steps": 10, "precision": "fp32"},
    "evaluation": {"baselines": ["seasonal_naive"], "max_windows": 5},
}


@pytest.fixture
def general(tmp_path: Path) -> Path:
    """The file of the general student's recipe: few steps of a linear student."""
    path = tmp_path / "general.yaml"
    path.write_text(yaml.safe_dump(GENERAL))
    return path


@pytest.fixture
def recipe(make_recipe: Any, base: Path, general: Path) -> Recipe:
    """A mixture without a finished student."""
    branch = {"source": str(general), "by": "domain", "alpha": 0, "max_steps": 60, "batch_size": 16}
    branch["learning_rate"] = 3e-3
    return make_recipe([], branch=branch, teacher=str(base))


def test_one_call_from_data_to_a_mixture(recipe, tmp_path, capsys):
    run = potstill.mix(recipe, tmp_path / "run")
    said = capsys.readouterr().err
    order = [said.index(t) for t in ("Training the student", "The general student is finished", "Branches   2 more")]
    assert order == sorted(order)
    mixture = load_forecaster(run)
    assert set(mixture.experts) == {"base", "daily", "weekly"}
    assert mixture.experts["base"].fingerprint == load_forecaster(run / "general").fingerprint
    assert (run / "general" / "report.html").exists()
    potstill.mix(recipe, run, resume=True)  # the same call, although the general student is finished
    assert load_forecaster(run).fingerprint == mixture.fingerprint


def test_an_interrupted_general_student_is_continued(recipe, tmp_path, monkeypatch):
    whole = potstill.mix(recipe, tmp_path / "whole")
    run_training = TrainingRun.run

    def stop(self: TrainingRun, *given: Any) -> int:
        run_training(self, *given)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "run", stop)
        with pytest.raises(Interrupted):
            potstill.mix(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    run = potstill.mix(recipe, tmp_path / "run", resume=True)
    assert load_forecaster(run).fingerprint == load_forecaster(whole).fingerprint


def test_a_finished_general_student_is_only_used_by_a_resumed_run_of_the_same_options(recipe, general, tmp_path):
    run = potstill.mix(recipe, tmp_path / "run")
    for path in run.iterdir():  # as if the run had been interrupted after the general student
        if path.name != "general":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with usage_error("run.exists", "--resume"):
        potstill.mix(recipe, run)
    general.write_text(yaml.safe_dump(GENERAL | {"data": {"stride": 2}}))
    with usage_error("run.other_recipe", "stride"):
        potstill.mix(recipe, run, resume=True)


def test_a_frame_is_the_data_of_both(base, files, general, tmp_path):
    frame = pd.read_csv(files[0])
    keys = {"context_length": 64, "prediction_length": 16, "max_steps": 10, "teacher": str(base)}
    run = potstill.mix(data=frame, branch=str(general), by="cluster:1", output=tmp_path / "run", **keys)
    assert (run / "frame.parquet").exists()
    assert (run / "general" / "frame.parquet").exists()


def test_the_plan_of_both_is_shown_without_writing(recipe, tmp_path, capsys):
    potstill.mix(recipe, tmp_path / "run", dry_run=True)
    said = capsys.readouterr().err
    assert "Student    linear" in said
    assert "Then       experts branch from this student by domain" in said
    assert not (tmp_path / "run").exists()


def test_the_general_student_has_the_teachers_and_data_of_the_mixture(recipe, general):
    found = general_recipe(recipe)
    assert found.teacher == recipe.teacher
    assert found.data.paths == recipe.data.paths
    assert found.data.context_length == recipe.data.context_length
    assert found.data.distinct_windows is None  # those of the mixture are the experts' forecasts
    assert found.training.max_steps == 30
    general.write_text(yaml.safe_dump(GENERAL | {"teacher": "embedded", "data": {"context_length": 32}}))
    own = general_recipe(recipe)
    assert [teacher.source for teacher in own.teacher] == ["embedded"]
    assert (own.data.context_length, own.data.paths) == (32, recipe.data.paths)
    recipe.branch.source = None
    assert general_recipe(recipe).training.max_steps == Recipe.lay_over({}, {}).training.max_steps


def test_mistakes_are_found_before_the_general_student_is_trained(make_recipe, files, general, tmp_path):
    with usage_error("mixture.no_teacher_of_general", "--teacher embedded"):
        potstill.mix(data=str(files[0]), by="domain", output=tmp_path / "run")
    branch = {"source": str(general), "by": "domain"}
    with usage_error("mixture.top_k_above_experts", "top_k"):
        recipe = make_recipe([], branch=branch, teacher="embedded", router={"top_k": 9})
        potstill.mix(recipe, tmp_path / "run")
    general.write_text("task: language")
    with usage_error("mixture.general_of_other_task", "language models"):
        potstill.mix(make_recipe([], branch=branch, teacher="embedded"), tmp_path / "run")
    with usage_error("mixture.no_base", "potstill mix"):
        potstill.distill(make_recipe([], branch={"by": "domain"}, teacher="embedded"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
