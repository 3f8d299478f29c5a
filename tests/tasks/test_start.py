"""Which start a student gets, and what it prints."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from training_fakes import small_recipe
from usage_errors import usage_error

from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.tasks.start import calibration_batches, default_rate
from potstill.teaching.base import TrainingData


@pytest.fixture
def recipe(tiny_teacher: Path, small_csv: Path):
    recipe = small_recipe(tiny_teacher, small_csv)
    recipe.student.overrides = {"num_layers": 1, "d_model": 16, "d_ff": 32, "num_heads": 1}
    return recipe


def test_a_student_of_the_teachers_family_is_cut_from_it_by_default(recipe, capsys):
    task = prepare_forecasting(recipe)
    assert task.start == task.recipe.student.start == "teacher"
    first, second = task.fresh(), task.fresh()
    line = "The student is cut from its teacher: layers 0 of 2; 16 of 32 dimensions, which hold"
    assert capsys.readouterr().err.count(line) == 1  # for student and control together
    assert first.fingerprint == second.fingerprint == prepare_forecasting(recipe).fresh().fingerprint
    recipe.student.start = "importance"
    assert prepare_forecasting(recipe).fresh().fingerprint != first.fingerprint


def test_the_student_and_its_copy_share_no_memory(recipe):
    task = prepare_forecasting(recipe)
    first = task.fresh()
    torch.nn.init.zeros_(next(first.module.parameters()))
    assert next(task.fresh().module.parameters()).abs().sum() > 0


def test_calibration_windows_follow_the_seed(recipe):
    dataset = prepare_forecasting(recipe).dataset(1)
    ids = [torch.cat([batch.ids for batch in calibration_batches(dataset, 256, seed)]) for seed in (0, 0, 1)]
    assert len(ids[0]) == 256 == len(ids[0].unique())
    assert torch.equal(ids[0], ids[1])
    assert not torch.equal(ids[0], ids[2])


def test_other_models_start_from_random_weights(recipe, capsys):
    recipe.student.overrides["d_model"] = 64
    task = prepare_forecasting(recipe)
    assert task.start == "random"
    assert "random weights: d_model=64 is larger than the teacher's 32" in capsys.readouterr().err
    recipe.student.family, recipe.student.overrides = "linear", {}
    assert prepare_forecasting(recipe).start == "random"


def test_without_a_teacher_the_start_is_random(small_csv):
    recipe = small_recipe(None, small_csv)
    assert prepare_forecasting(recipe).start == "random"
    recipe.student.start = "teacher"
    with usage_error("teacher.missing", "student.start: teacher", "--teacher"):
        prepare_forecasting(recipe).start  # noqa: B018


def test_a_cut_that_is_not_possible_is_a_usage_error(recipe):
    recipe.student.start, recipe.student.overrides["d_kv"] = "teacher", 8
    with usage_error("student.start_mismatch", "d_kv=8 differs", "start: copy"):
        prepare_forecasting(recipe).start  # noqa: B018


def test_layers_may_be_named(recipe, capsys):
    recipe.student.layers = [1]
    prepare_forecasting(recipe).fresh()
    assert "layers 1 of 2" in capsys.readouterr().err


@pytest.mark.parametrize("layers", [[0, 1], [2], [-1], []])
def test_layers_that_do_not_fit(recipe, layers):
    recipe.student.layers = layers
    with usage_error("student.bad_layers", "1 ascending numbers from 0 to 1"):
        _ = prepare_forecasting(recipe).start  # known before the run has a folder


@pytest.mark.parametrize("start", ["random", "copy"])
def test_layers_of_a_student_that_is_not_cut_are_refused(recipe, start):
    recipe.student.start, recipe.student.layers = start, [1]
    with usage_error("student.layers_without_cut", f"start: {start} keeps no chosen layers"):
        prepare_forecasting(recipe).fresh()


def test_calibration_takes_as_many_windows_of_each_data_set(recipe, tmp_path: Path, small_csv: Path):
    long = pd.read_csv(small_csv)
    for name, rows in (("long", 500), ("short", 200)):
        long[:rows].to_csv(tmp_path / f"{name}.csv", index=False)
    recipe.data.paths = [str(tmp_path)]
    task = prepare_forecasting(recipe)
    batches = task.calibration()
    names = [task.store.datasets[task.store.dataset_of[i]] for batch in batches for i in batch.series.tolist()]
    assert names.count("long") == names.count("short") == 128
    assert len(set(names[:32])) == 2  # shuffled, so that every batch has both
    recipe.data.synthetic = 0.5
    drawn = [i for batch in prepare_forecasting(recipe).calibration() for i in batch.series.tolist()]
    assert 40 < drawn.count(-1) < 90


def test_a_small_cut_is_trained_faster():
    assert [default_rate("teacher", share) for share in (0.34, 0.2, 0.1)] == [3e-4, 3e-4, 1e-3]
    assert default_rate("random", 0.9) == 1e-3


def test_a_student_that_has_weights_learns_slowly_and_its_control_from_random_weights_does_not(recipe):
    def rates(recipe) -> tuple[float | None, float | None]:
        task = prepare_forecasting(recipe)
        data = TrainingData(task.dataset(task.steps))
        student, control = (task.training("x", data, 1, dict, random_start=start) for start in (False, True))
        return student.config.learning_rate, control.config.learning_rate

    recipe.training.learning_rate = None
    assert rates(recipe) == (3e-4, 1e-3)
    recipe.student.start = "copy"
    assert rates(recipe) == (1e-3, 1e-3)
    recipe.student.start, recipe.training.learning_rate = "teacher", 2e-4
    assert rates(recipe) == (2e-4, 2e-4)


def test_only_a_start_with_weights_is_a_candidate(recipe):
    task = prepare_forecasting(recipe)

    def training(random_start: bool):
        return task.training("x", TrainingData(task.dataset(2)), 2, task.validation(), random_start)

    assert [training(False).random_start, training(True).random_start] == [False, True]
    recipe.student.start = "random"
    task = prepare_forecasting(recipe)
    assert training(False).random_start
