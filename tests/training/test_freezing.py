"""Weights that are frozen in the first steps: which they are, and that they do not move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from training_fakes import Stop, small_recipe, small_run, stopping

from potstill.training.freezing import Freeze


def test_named_weights_are_frozen_until_a_step():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    freeze = Freeze(frozenset({"0.weight"}), 3)
    for step, frozen in ((0, True), (2, True), (3, False), (9, False), (1, True)):
        freeze.apply(module, step)
        assert {name for name, w in module.named_parameters() if not w.requires_grad} == (
            {"0.weight"} if frozen else set()
        )


@pytest.fixture
def run_of(tiny_teacher, small_csv):
    """A run of six steps, an evaluation every two, in which the embedding and a norm are frozen for four steps."""

    def run(**changes):
        recipe = small_recipe(tiny_teacher, small_csv, max_steps=6, eval_steps=2, weight_decay=0.1, learning_rate=0.01)
        run = small_run(recipe, validate=lambda _: {"sql": 1.0})
        names = {name for name, _ in run.student.module.named_parameters() if name.startswith("input_patch")}
        return replace(run, freeze=Freeze(frozenset({*names, "encoder.final_layer_norm.weight"}), 4), **changes)

    return run


def test_frozen_weights_do_not_move_and_are_trained_later(run_of, tmp_path):
    run = run_of()
    first = {name: w.detach().clone() for name, w in run.student.module.named_parameters()}
    seen = []

    def validate(student):
        seen.append({name: not torch.equal(w, first[name]) for name, w in student.module.named_parameters()})
        return {"sql": 1.0}

    replace(run, validate=validate).run(tmp_path, resume=False)
    after_two, after_four, after_six = seen
    for moved in (after_two, after_four):
        assert {name for name, changed in moved.items() if not changed} >= run.freeze.names
        assert moved["output_patch_embedding.hidden_layer.weight"]
    assert all(after_six[name] for name in run.freeze.names)


@pytest.mark.parametrize("evaluation", [2, 3])
def test_a_resumed_run_freezes_and_releases_as_an_unbroken_one(run_of, tmp_path, evaluation):
    unbroken = run_of()
    unbroken.run(tmp_path / "whole", resume=False)
    with pytest.raises(Stop):
        run_of(validate=stopping(evaluation)).run(tmp_path / "parts", resume=False)
    resumed = run_of()
    resumed.run(tmp_path / "parts", resume=True)
    mine, theirs = (run.student.module.state_dict() for run in (resumed, unbroken))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
