"""The control costs what the student cost: its steps, the teacher's answers, labels made in advance."""

from __future__ import annotations

import importlib
import json

import pytest

import potstill
from potstill.tasks import control as calibrate
from potstill.tasks.control import control_steps
from potstill.tasks.forecasting import prepare
from potstill.tasks.training_data import TrainingData
from potstill.teaching.stores.forecasts import LabelStore

DISTILLING = importlib.import_module("potstill.verbs.distill")  # the package's attribute is the verb


@pytest.fixture
def slow_teacher(monkeypatch):
    """A step with a teacher takes three seconds, one without takes two."""
    monkeypatch.setattr(calibrate.Step, "seconds", lambda _, dataset, objective, teach: 3.0 if teach else 2.0)


@pytest.fixture
def setup(recipe):
    return prepare(recipe)


def fresh(setup):
    return setup.family.build(setup.architecture, 0.0)


def test_steps_follow_the_ratio_and_the_labels(setup, slow_teacher):
    lessons = TrainingData.of(setup, None)
    assert control_steps(setup, lessons, fresh(setup), taken=12) == 18
    assert control_steps(setup, lessons, fresh(setup), taken=8) == 12
    lessons.labelling = 20.0
    assert control_steps(setup, lessons, fresh(setup), taken=12) == 28


def test_labels_are_paid_in_steps_of_the_mean_length(setup, monkeypatch):
    """Seven batches, of which the first warms up: five short steps and a long one, 12 seconds together."""
    times = iter([9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 7.0])
    monkeypatch.setattr(calibrate.Step, "seconds", lambda _, dataset, objective, teach: 0.0 if teach else next(times))
    lessons = TrainingData.of(setup, None)
    lessons.labelling = 40.0
    assert control_steps(setup, lessons, fresh(setup), taken=0) == 20


def test_real_steps_are_timed(setup):
    assert control_steps(setup, TrainingData.of(setup, None), fresh(setup), taken=100) >= 100


def test_rollouts_are_part_of_a_step_with_a_teacher(setup, monkeypatch):
    rolled = []
    original = calibrate.on_policy
    monkeypatch.setattr(calibrate, "on_policy", lambda *given: rolled.append(given[2:]) or original(*given))
    setup.recipe.training.rollout.share = 0.5
    control_steps(setup, TrainingData.of(setup, None), fresh(setup), taken=10)
    assert rolled == [(setup.recipe.training.rollout, 0, step) for step in range(1, calibrate.ROUNDS + 1)]


def test_labels_are_charged_for_what_a_run_reads_of_them(recipe, tmp_path):
    short = recipe.model_copy(deep=True)
    short.training.max_steps = 2
    store = LabelStore.open(potstill.label(short, tmp_path / "labels"))
    setup = prepare(short)
    windows = len(setup.windows)
    (store.folder / "times.jsonl").write_text(f'{{"shard": 0, "windows": {windows}, "seconds": {windows * 0.5}}}\n')
    setup.recipe.labels = str(store.folder)
    assert TrainingData.of(setup, store).labelling == pytest.approx(2 * 8 * 0.5)
    setup.recipe.labels = "auto"
    assert TrainingData.of(setup, store).labelling == pytest.approx(windows * 0.5)


def test_a_student_that_patience_ended_is_charged_for_the_steps_it_took(recipe, tmp_path, monkeypatch, quick_trainer):
    recipe = recipe.model_copy(deep=True)
    recipe.training.patience, recipe.training.learning_rate = 1, 1e-30  # nothing improves
    seen = []
    monkeypatch.setattr(DISTILLING, "finish", lambda *_: None)
    monkeypatch.setattr(DISTILLING, "control_steps", lambda setup, lessons, student, taken: seen.append(taken) or 1)
    potstill.distill(recipe, tmp_path / "run")
    assert seen == [8]


def test_trls_steps_are_charged_by_the_clock(setup, tmp_path):
    lines = [
        {"event": "train", "model": "student", "seconds": 2.5},
        {"event": "eval", "model": "student"},
        {"event": "train", "model": "student", "seconds": 3.5},
        {"event": "train", "model": "control", "seconds": 100.0},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lessons = TrainingData.of(setup, None)
    assert calibrate.charged(lessons, 12, setup.recipe, tmp_path) == (lessons, 12)
    setup.recipe.training.engine = "trl"
    found, taken = calibrate.charged(lessons, 12, setup.recipe, tmp_path)
    assert (found.labelling, taken) == (6.0, 0)
