"""The objective of the control: the student's loss on the ground truth, and nothing of the teacher."""

from __future__ import annotations

from potstill.objectives.objective import Objective
from potstill.recipe import Recipe
from potstill.tasks.settings import objective_config


def test_the_control_has_neither_a_schedule_nor_a_gate():
    settings = {"alpha": 0.8, "alpha_end": 0.5, "gate": True, "horizon_weights": {"kind": "linear"}}
    recipe = Recipe.model_validate({"objective": settings})
    control = Objective(objective_config(recipe, 0.0))
    assert set(control.terms) == {"pinball"}
    assert not control.requires
    assert control.alpha(1.0) == 0
    assert control.gate_steps(96) == 0
    assert control.horizon_weights.kind == "linear", "it minimises the same loss on the truth"
    assert recipe.objective.alpha_end == 0.5
