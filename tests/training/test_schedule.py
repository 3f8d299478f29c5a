"""A schedule of alpha and a gate in a training: what is logged, also after a resume, with live teachers and labels."""

from __future__ import annotations

import pytest
from training_fakes import log_lines, small_run
from usage_errors import usage_error

from potstill.recipe import Recipe
from potstill.tasks.prepare_forecasting import prepare_forecasting


def fixed(_):
    return {"sql": 1.0}


def without_times(lines):
    return [
        {key: value for key, value in line.items() if key not in ("windows_per_second", "seconds")} for line in lines
    ]


def test_alpha_is_logged_and_weighs_the_terms(recipe, tmp_path):
    recipe.objective.alpha_end = 0.25
    small_run(recipe, validate=fixed).run(tmp_path, resume=False)
    lines = log_lines(tmp_path, "train")
    assert [line["alpha"] for line in lines] == pytest.approx([0.8 - 0.55 * step / 11 for step in range(12)])
    for line in lines:
        soft, hard = line["terms"]["expected_pinball"], line["terms"]["pinball"]
        assert line["loss"] == pytest.approx(line["alpha"] * soft + (1 - line["alpha"]) * hard, abs=1e-5)


def test_a_constant_alpha_is_logged_too(recipe, tmp_path):
    small_run(recipe, validate=fixed, steps=2).run(tmp_path, resume=False)
    assert [line["alpha"] for line in log_lines(tmp_path, "train")] == [0.8, 0.8]


def test_a_resumed_run_continues_the_schedule(recipe, tmp_path):
    recipe.objective.alpha_end, recipe.objective.alpha_schedule = 0.0, "cosine"
    small_run(recipe, validate=fixed).run(tmp_path / "whole", resume=False)
    evaluations = iter([fixed, fixed])  # a checkpoint follows each; the third evaluation fails

    with pytest.raises(StopIteration):
        small_run(recipe, validate=lambda student: next(evaluations)(student)).run(tmp_path / "broken", resume=False)
    resumed = small_run(recipe, validate=fixed)
    resumed.run(tmp_path / "broken", resume=True)
    lines = [without_times(log_lines(tmp_path / name, "train")) for name in ("whole", "broken")]
    assert lines[0] == lines[1]
    assert (lines[0][0]["alpha"], lines[0][-1]["alpha"]) == (0.8, 0.0)


def test_where_the_teacher_fails_its_backtest_only_the_truth_counts(recipe, tmp_path):
    """An untrained teacher is worse than a seasonal naive forecast on every window, live and in labels."""
    recipe.objective.gate = 16
    stored = prepare_forecasting(recipe).label(tmp_path / "labels")
    for name, provider in (("live", None), ("stored", stored)):
        small_run(recipe, provider=provider, validate=fixed).run(tmp_path / name, resume=False)
        for line in log_lines(tmp_path / name, "train"):
            assert line["terms"]["gated"] == 1
            assert line["loss"] == pytest.approx(line["terms"]["pinball"], abs=1e-5)


def test_a_gate_does_not_depend_on_the_horizon_of_a_step(recipe, tmp_path):
    recipe.objective.gate, recipe.training.random_horizon = True, True
    small_run(recipe, validate=fixed).run(tmp_path, resume=False)
    assert all(0 <= line["terms"]["gated"] <= 1 for line in log_lines(tmp_path, "train"))


def test_labels_without_the_backtest_are_refused_before_the_run(recipe, tmp_path):
    prepare_forecasting(recipe).label(tmp_path / "labels")
    recipe.labels, recipe.objective.gate = str(tmp_path / "labels"), True
    with usage_error("labels.other_backtest", "no backtest", "32 steps"):
        prepare_forecasting(recipe).ready_labels()


@pytest.mark.parametrize("gate", [33, 64])
def test_a_gate_longer_than_horizon_or_half_a_context_is_refused(recipe, gate):
    recipe.objective.gate = gate
    with usage_error("objective.gate_too_long", f"{gate} steps", "at most 32", "gate: 32"):
        prepare_forecasting(recipe)


def test_a_gate_and_rollouts_are_refused():
    tree = {"objective": {"gate": True}, "training": {"rollout": {"share": 0.5}}}
    with usage_error("objective.gate_with_rollout", "objective.gate", "training.rollout"):
        Recipe.lay_over(tree, {})
