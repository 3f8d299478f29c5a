"""The control costs what the student cost: its steps, the teacher's answers, labels made in advance."""

from __future__ import annotations

import json

import pytest
import torch

import potstill
from potstill.tasks import stages
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData
from potstill.teaching.stored import StoredForecasts
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.training import control
from potstill.training.control import control_steps, logged_seconds, steps_in


@pytest.fixture
def task(recipe):
    return prepare_forecasting(recipe)


@pytest.fixture
def trainings(task):
    """Makers of a training with a teacher and of one without."""

    def maker(data):
        return lambda: task.training("control", data, task.steps, task.validation(), random_start=True)

    dataset = task.dataset(task.steps)
    return maker(TrainingData(dataset, task.live_teachers())), maker(TrainingData(dataset))


@pytest.fixture
def slow_teacher(monkeypatch):
    """A step with a teacher takes three seconds, one without takes two."""
    monkeypatch.setattr(control, "_seconds", lambda run, place: [3.0 if run.data.provider else 2.0] * 4)


def test_steps_follow_the_ratio_and_the_labels(trainings, slow_teacher):
    assert control_steps(*trainings, taken=12, labelling=0.0) == 18
    assert control_steps(*trainings, taken=8, labelling=0.0) == 12
    assert control_steps(*trainings, taken=12, labelling=20.0) == 28


def test_a_control_that_is_slower_gets_fewer_steps(trainings, slow_teacher):
    taught, alone = trainings
    assert control_steps(alone, taught, taken=12, labelling=0.0) == 8


def test_labels_are_paid_in_steps_of_the_mean_length(trainings, monkeypatch):
    """Texts differ in length: five short steps and a long one take 12 seconds together."""
    times = iter([[1.0, 1.0], [1.0, 1.0], [1.0, 7.0], [1.0, 3.0]])
    monkeypatch.setattr(control, "_seconds", lambda run, place: [0.0, 0.0] if run.data.provider else next(times))
    assert control_steps(*trainings, taken=0, labelling=40.0) == 20


def test_a_step_on_an_accelerator_is_timed_to_its_end(monkeypatch):
    ended, clock = [], control._Clock()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: ended.append(len(clock.seconds)))
    for _ in range(3):
        clock.on_step_end()
    assert ended == [0, 0, 1]
    assert len(clock.seconds) == 2


def test_real_steps_are_timed_by_the_trainers_clock(trainings, tmp_path):
    taught, alone = trainings
    assert control_steps(taught, alone, taken=100, labelling=0.0) >= 50
    assert len(control._seconds(alone(), 0)) == control.TIMED_STEPS


def test_each_round_sees_other_batches(trainings):
    """A sampler is entered further on at each place; it still ends."""
    later = control._WithoutFirst(range(10), 7)
    assert list(later) == [7, 8, 9]
    assert len(later) == 3


def test_labels_are_charged_for_what_a_run_reads_of_them(recipe, tmp_path):
    short = recipe.model_copy(deep=True)
    short.training.max_steps = 2
    potstill.label(short, tmp_path / "labels")
    task = prepare_forecasting(short)
    windows = len(task.windows)
    store = ForecastStore.open(tmp_path / "labels")
    (store.folder / "times.jsonl").write_text(f'{{"shard": 0, "windows": {windows}, "seconds": {windows * 0.5}}}\n')
    task.recipe.labels = str(store.folder)
    assert task.seconds_of_labels(StoredForecasts(store)) == pytest.approx(2 * 8 * 0.5)
    task.recipe.labels = "auto"
    assert task.seconds_of_labels(StoredForecasts(store)) == pytest.approx(windows * 0.5)


def test_a_student_that_patience_ended_is_charged_for_the_steps_it_took(recipe, tmp_path, monkeypatch):
    recipe = recipe.model_copy(deep=True)
    recipe.control = True
    recipe.training.patience, recipe.training.learning_rate = 1, 1e-30  # nothing improves
    seen = []
    monkeypatch.setattr(ForecastTask, "finish", lambda *_: None)
    monkeypatch.setattr(stages, "control_steps", lambda student, alone, taken, labelling: seen.append(taken) or 1)
    potstill.distill(recipe, tmp_path / "run")
    assert seen == [4]


def test_a_generating_student_is_charged_by_its_log(trainings, slow_teacher, tmp_path):
    lines = [
        {"event": "train", "model": "student", "seconds": 2.5},
        {"event": "eval", "model": "student"},
        {"event": "train", "model": "student", "seconds": 3.5},
        {"event": "train", "model": "control", "seconds": 100.0},
    ]
    torn = '{"event": "train", "model": "student", "sec'  # by a kill
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)
    assert logged_seconds(tmp_path / "log.jsonl", "student") == 6.0
    assert steps_in(6.0, trainings[1]) == 3
