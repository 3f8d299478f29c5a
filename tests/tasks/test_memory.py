"""The plan of several processes: their number, the batch of all, and the memory of each."""

from __future__ import annotations

import pytest

from potstill.tasks.memory import bytes_by_part
from potstill.tasks.plan import plan_lines
from potstill.tasks.prepare_forecasting import prepare_forecasting


@pytest.fixture
def recipe(tiny_teacher, small_csv):
    from training_fakes import small_recipe

    return small_recipe(tiny_teacher, small_csv, accumulate=2)


@pytest.fixture
def launched(monkeypatch):
    """Sets the number of processes of the run, without starting any."""

    def launch(processes: int) -> None:
        for module in ("tasks.memory", "training.division", "training.sharding"):
            monkeypatch.setattr(f"potstill.{module}.world_size", lambda: processes)

    return launch


def plan_of(recipe) -> str:
    return "\n".join(plan_lines(prepare_forecasting(recipe), None))


def test_one_process_is_not_mentioned(recipe, launched):
    launched(1)
    plan = plan_of(recipe)
    assert "Processes" not in plan
    assert "in each process" not in plan
    assert "12 steps of 16 windows" in plan


@pytest.mark.parametrize(("sharded", "words"), [(True, "a part of every weight (FSDP)"), (False, "all weights")])
def test_several_share_a_step(recipe, launched, sharded, words):
    recipe.training.arguments = {"fsdp": sharded}
    launched(4)
    plan = plan_of(recipe)
    assert "12 steps of 64 windows" in plan
    assert f"Processes  4, each with {words} and 2 batches of 8 windows a step" in plan
    assert "MB in each process: " in plan


def test_the_plan_of_a_run_meant_for_fewer_keeps_its_windows(recipe, launched):
    recipe.training.processes = 1
    launched(4)
    plan = plan_of(recipe)
    assert "12 steps of 16 windows" in plan
    assert "Processes  4 (the recipe is meant for 1), each with all weights and one batch of 4 windows a step" in plan


def test_one_process_continues_what_several_began(recipe, launched):
    recipe.training.processes = 4
    launched(1)
    plan = plan_of(recipe)
    assert "12 steps of 64 windows" in plan
    assert "Processes  1 (the recipe is meant for 4), each with all weights and 8 batches of 8 windows a step" in plan


def test_sharding_divides_weights_gradients_and_state(recipe, launched):
    task = prepare_forecasting(recipe)
    whole, teacher = 4 * task.architecture.parameters, next(iter(task.teachers.values()))
    assert bytes_by_part(task, 5) == {
        "weights": whole,
        "whole student": 0,
        "gradients": whole,
        "optimizer": 2 * whole,
        "teacher": teacher.bytes,
        "one batch": 5,
    }
    launched(4)
    assert bytes_by_part(task, 5)["gradients"] == 2 * whole  # and the buckets of DDP
    task.recipe.training.arguments = {"fsdp": True}
    found = bytes_by_part(task, 5)
    blocks = sum(weight.element_size() * weight.numel() for weight in teacher.module.encoder.block.parameters())
    assert found["teacher"] == teacher.bytes - blocks * 3 / 4
    assert (found["weights"], found["gradients"], found["optimizer"]) == (whole / 4, whole / 4, whole / 2)
