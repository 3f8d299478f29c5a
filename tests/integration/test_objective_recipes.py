"""The recipes in recipes/objectives: each trains a few steps, with the terms that it is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import potstill
from potstill.objectives.names import TERM_CLASSES
from potstill.objectives.registry import find_term
from potstill.recipe import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "objectives").glob("*.yaml"))
SHORT = {
    "data.context_length": 64,
    "data.prediction_length": 32,
    "data.stride": 1,
    "student": "mixer:num_layers=1,d_model=16,d_ff=16",
    "training.max_steps": 3,
    "training.batch_size": 8,
    "training.eval_windows": 4,
    "training.device": "cpu",
    "evaluation.max_windows": 4,
    "evaluation.baselines": [],
}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(path: Path, small_csv: Path, tiny_teacher: Path, tmp_path: Path):
    given = Recipe.read(path)
    short = Recipe.read(path, {**SHORT, "data.paths": [str(small_csv)], "teacher": str(tiny_teacher)})
    short.data.split, short.objective.gate = "8:1:1", short.objective.gate and 32
    run = potstill.distill(short, tmp_path / "run")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["event"] == "train"]
    objective = given.objective
    terms = {objective.soft, objective.hard, *objective.terms} | ({"gated"} if objective.gate else set())
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(set(line["terms"]) == terms for line in lines)
    last = objective.alpha if objective.alpha_end is None else objective.alpha_end
    assert (lines[0]["alpha"], lines[-1]["alpha"]) == (objective.alpha, last)
    assert lines[0]["terms"] != lines[-1]["terms"]


def test_every_further_term_of_forecasters_has_a_recipe():
    shown = set()
    for path in RECIPES:
        objective = Recipe.read(path).objective
        shown |= {objective.soft, objective.hard, *objective.terms}
    further = {"huber_match", "cramer", "distribution_kl", "distribution_cross_entropy", "soft_dtw", "soft_dtw_truth"}
    assert further <= shown
    assert all(find_term(name).task == "forecast" for name in shown)
    assert further <= set(TERM_CLASSES)
