"""When a training ends, what it keeps, and what it leaves to resume from."""

from __future__ import annotations

import json
import math
import signal

import pytest
from training_fakes import log_lines, small_run
from usage_errors import usage_error

from potstill.families.load import load
from potstill.training.checkpoints import newest_checkpoint
from potstill.training.hooks import Diverged


def test_a_loss_that_is_no_number_stops_and_names_the_series(recipe, tmp_path, term):
    calls = []

    def diverge(self, inputs):
        calls.append(1)
        loss = inputs.student.forecast.values.square().mean(dim=(1, 2))
        return loss * math.nan if len(calls) == 7 else loss

    term("diverging", diverge)
    recipe.objective.terms = {"diverging": {"weight": 0.1}}
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Diverged) as caught:
        small_run(recipe).run(tmp_path, resume=False)
    message = str(caught.value)
    assert "at step 7" in message
    assert "small/" in message
    assert "diverging nan" in message
    assert "\n" not in message
    assert newest_checkpoint(tmp_path / "checkpoints" / "student").name == "checkpoint-4"
    assert load(tmp_path / "student").parameters > 0
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_gradient_that_is_no_number_never_reaches_a_checkpoint(recipe, tmp_path, term):
    calls = []

    def overflow(self, inputs):
        calls.append(1)
        values = inputs.student.forecast.values
        if len(calls) == 8:  # the last step before an evaluation
            values.register_hook(lambda gradient: gradient * math.nan)
        return values.square().mean(dim=(1, 2))

    term("overflowing", overflow)
    recipe.objective.terms = {"overflowing": {}}
    with usage_error("training.diverged", "at step 8"):
        small_run(recipe).run(tmp_path, resume=False)
    assert newest_checkpoint(tmp_path / "checkpoints" / "student").name == "checkpoint-4"
    assert all(p.isfinite().all() for p in load(tmp_path / "student").module.parameters())


class Scripted:
    """Validation whose scores are given beforehand; it records the weights it scored."""

    def __init__(self, *scores):
        self.scores, self.seen = list(scores), []

    def __call__(self, student):
        self.seen.append(student.fingerprint)
        return {"sql": self.scores[len(self.seen) - 1]}


def test_the_best_student_by_validation_is_kept(recipe, tmp_path):
    recipe.training.eval_steps = 2
    judge = Scripted(0.9, 0.7, 0.8, 0.75, 0.9, 1.0)
    small_run(recipe, validate=judge).run(tmp_path, resume=False)
    assert len(judge.seen) == len(set(judge.seen)) == 6
    assert load(tmp_path / "student").fingerprint == judge.seen[1]
    assert [line["sql"] for line in log_lines(tmp_path, "eval")] == judge.scores
    checkpoints = tmp_path / "checkpoints" / "student"
    assert {p.name for p in checkpoints.iterdir()} == {"checkpoint-4", "checkpoint-10", "checkpoint-12"}
    history = json.loads((checkpoints / "checkpoint-4" / "trainer_state.json").read_text())["log_history"]
    assert history[-1]["eval_sql"] == 0.7
    assert (checkpoints / "checkpoint-4" / "optimizer.pt").exists()


def test_patience_ends_the_run_and_resuming_leaves_it_ended(recipe, tmp_path):
    recipe.training.eval_steps, recipe.training.patience = 2, 2
    judge = Scripted(0.9, 0.7, 0.8, 0.75)
    small_run(recipe, validate=judge).run(tmp_path, resume=False)
    assert len(judge.seen) == 4
    assert log_lines(tmp_path, "eval")[-1]["step"] == 8
    written = (tmp_path / "log.jsonl").read_bytes()
    small_run(recipe, validate=Scripted()).run(tmp_path, resume=True)
    assert (tmp_path / "log.jsonl").read_bytes() == written
    assert load(tmp_path / "student").fingerprint == judge.seen[1]


def test_a_start_that_no_evaluation_improves_on_is_kept(recipe, tmp_path, capsys):
    judge = Scripted(0.7, 0.9, 0.8, 0.71)
    run = small_run(recipe, validate=judge, random_start=False)
    before = run.student.fingerprint
    run.run(tmp_path, resume=False)
    assert load(tmp_path / "student").fingerprint == judge.seen[0] == before
    assert "student was best on the validation part before its first step" in capsys.readouterr().err
    lines = log_lines(tmp_path, "eval")
    assert [(line["step"], line["sql"]) for line in lines] == [(0, 0.7), (4, 0.9), (8, 0.8), (12, 0.71)]


def test_random_weights_are_never_kept(recipe, tmp_path):
    judge = Scripted(0.9, 0.8, 0.71)
    small_run(recipe, validate=judge, random_start=True).run(tmp_path, resume=False)
    assert [line["step"] for line in log_lines(tmp_path, "eval")] == [4, 8, 12]


def test_an_improved_start_is_not_mentioned(recipe, tmp_path, capsys):
    judge = Scripted(0.7, 0.9, 0.8, 0.7)  # of equal ones the last is kept
    small_run(recipe, validate=judge, random_start=False).run(tmp_path, resume=False)
    assert "before its first step" not in capsys.readouterr().err


def test_a_run_that_ended_before_its_first_checkpoint_starts_its_log_again(recipe, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    judge = Scripted(0.9)
    interrupted = small_run(
        recipe, validate=lambda student: stop(student) if judge.seen else judge(student), random_start=False
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(tmp_path, resume=False)
    assert [line["step"] for line in log_lines(tmp_path, "eval")] == [0]
    small_run(recipe, validate=Scripted(0.9, 0.8, 0.7, 0.6), random_start=False).run(tmp_path, resume=True)
    assert [line["step"] for line in log_lines(tmp_path, "eval")] == [0, 4, 8, 12]
    assert [line["step"] for line in log_lines(tmp_path, "train")] == list(range(1, 13))


def test_a_finished_run_resumed_takes_no_further_step(recipe, tmp_path):
    judge = Scripted(0.9, 0.8, 0.7)
    small_run(recipe, validate=judge).run(tmp_path, resume=False)
    written = (tmp_path / "log.jsonl").read_bytes()
    small_run(recipe, validate=Scripted()).run(tmp_path, resume=True)
    assert (tmp_path / "log.jsonl").read_bytes() == written
    assert load(tmp_path / "student").fingerprint == judge.seen[-1]


def test_left_overs_of_a_kill_are_swept_up(recipe, tmp_path):
    for name in (".student.abc123", ".student.old"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoints" / "student" / ".checkpoint-4.xyz").mkdir(parents=True)
    small_run(recipe, validate=lambda _: {"sql": 1.0}).run(tmp_path, resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoints", "log.jsonl", "student"]
    assert not list((tmp_path / "checkpoints" / "student").glob(".*"))
    assert newest_checkpoint(tmp_path / "checkpoints" / "student").name == "checkpoint-12"
