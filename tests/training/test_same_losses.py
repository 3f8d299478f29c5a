"""Two processes take the steps that one process takes with a batch of twice the size."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_gpt2 import save_gpt2
from torch.utils.data import BatchSampler
from training_fakes import log_lines, losses, small_recipe
from usage_errors import usage_error

from potstill.families.load import load
from potstill.families.registry import family
from potstill.recipe import Recipe, TrainingConfig
from potstill.training.division import batches_per_step, fix_processes, windows_per_step
from potstill.training.sampler import PermutedSampler, SharedBatches, SpareBatch

#: of which steps of sixteen leave a remainder of one: at the end of an epoch one process has no window
WINDOWS = 33
STEPS = {"max_steps": 7, "eval_steps": 7, "learning_rate": 0.01, "eval_windows": 8}
KINDS = ["live teacher", "stored labels", "several batches", "text", "router"]


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hours of two waves, of which many are missing: batches differ in the steps that are known."""
    rng, hours = np.random.default_rng(0), np.arange(500)
    waves = {name: np.sin(2 * np.pi * hours / 24) + 0.3 * rng.normal(size=500) for name in ("first", "second")}
    frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=500, freq="h"), **waves})
    frame.loc[rng.random(500) < 0.3, ["first", "second"]] = np.nan
    path = tmp_path_factory.mktemp("gaps") / "gaps.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def recipes(tiny_teacher: Path, gaps: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By what is trained, for one process: in fp32, without dropout."""
    folder = tmp_path_factory.mktemp("models")

    def forecaster(**training: Any) -> Any:
        recipe = small_recipe(tiny_teacher, gaps, **{"batch_size": 16, **STEPS, **training})
        recipe.data.train_windows = WINDOWS
        return recipe

    live, stored = forecaster(), forecaster(ema=0.5)
    live.objective.terms = {"hidden_states": {"weight": 0.5, "layers": "last"}}  # for which there are no labels
    live.student.overrides |= {"num_layers": 2, "experts": 2}
    stored.labels = "auto"
    return {
        "live teacher": live,
        "stored labels": stored,
        "several batches": forecaster(accumulate=2, batch_size=8),
        "text": _text(save_gpt2(folder / "gpt2", positions=128), folder),
        "router": _router(gaps, folder),
    }


def _text(teacher: Path, folder: Path) -> Any:
    words = ["two", "and", "four", "course", "answer", "write"]
    records = [{"instruction": f"Say {words[i % 6]} {i}.", "output": " ".join(words[: 1 + i % 6])} for i in range(50)]
    (folder / "alpaca.json").write_text(json.dumps(records), encoding="utf-8")
    tree = {
        "task": "language",
        "teacher": [str(teacher)],
        "student": "gpt2:n_layer=1,n_embd=16,n_head=2",
        "data": {"paths": [str(folder / "alpaca.json")], "max_length": 128},
        "training": {"batch_size": 8, "precision": "fp32", **STEPS},
    }
    return Recipe.lay_over(tree, {})


def _router(data: Path, folder: Path) -> Any:
    """Over three linear experts, with all losses of routers."""
    linear = family("linear")
    for name in "abc":
        torch.manual_seed(ord(name))
        linear.build(linear.design(None, {}, 64, 32), 0.0).save(folder / name)
    tree = {
        "task": "mixture",
        "experts": [str(folder / name) for name in "abc"],
        "data": {
            "paths": [str(data)],
            "context_length": 64,
            "prediction_length": 32,
            "distinct_windows": WINDOWS,
        },
        "objective": {"auxiliary": {"usage_mse": 1.0, "balance": 1.0}},
        "router": {"dropout": 0.0},
        "training": {"batch_size": 16, "precision": "fp32", **STEPS},
    }
    return Recipe.lay_over(tree, {})


@pytest.fixture(scope="module")
def alone(launch, recipes, tmp_path_factory):
    """The run of one process, by what is trained; made once."""
    made: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in made:
            made[kind] = started(launch, recipes[kind], tmp_path_factory.mktemp("alone"), 1)
        return made[kind]

    return run


def started(launch: Any, recipe: Any, folder: Path, processes: int, *options: str) -> Path:
    """A run in a number of processes that share the batches of the recipe."""
    recipe = recipe.model_copy(deep=True)
    recipe.training.batch_size //= processes
    recipe.write(folder / "recipe.yaml")
    verb = "mix" if recipe.task == "mixture" else "distill"
    codes = launch(verb, folder / "recipe.yaml", "--output", folder / "run", *options, processes=processes)
    assert codes == [0] * processes
    return folder / "run"


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_figures_are_those_of_one_process_with_the_whole_batch(launch, recipes, alone, tmp_path, kind):
    check_equal(started(launch, recipes[kind], tmp_path, 2), alone(kind))


@pytest.mark.parametrize("kind", ["live teacher", "several batches", "text"])
def test_sharded_weights_change_no_loss(launch, recipes, alone, tmp_path, kind):
    control = ["--control"] if kind == "several batches" else []
    run = started(launch, recipes[kind], tmp_path, 2, "--set", "training.arguments.fsdp=true", *control)
    assert (run / "control").exists() == bool(control)
    check_equal(run, alone(kind))
    assert load(run / "student").parameters == load(alone(kind) / "student").parameters


def check_equal(together: Path, single: Path) -> None:
    assert len(losses(single)) == STEPS["max_steps"]
    np.testing.assert_allclose(losses(together), losses(single), rtol=0, atol=1e-5)
    assert losses(together, "epoch") == losses(single, "epoch")
    for one, other in zip(*(log_lines(run, "train", "student") for run in (together, single)), strict=True):
        windows = [line["windows_per_second"] * line["seconds"] for line in (one, other)]
        assert windows[0] == pytest.approx(windows[1])
        assert set(one["terms"]) == set(other["terms"])
    metrics = [log_lines(run, "eval", "student")[-1] for run in (together, single)]
    metric = "sql" if "sql" in metrics[0] else "loss"
    assert metrics[0][metric] == pytest.approx(metrics[1][metric], abs=1e-5)


@pytest.mark.parametrize(("before", "after", "sharded"), [(2, 1, False), (2, 1, True), (1, 2, True)])
def test_another_number_of_processes_continues_with_the_same_steps(
    launch, recipes, alone, tmp_path, before, after, sharded
):
    recipe = recipes["several batches"].model_copy(deep=True)
    recipe.training.batch_size //= before
    recipe.training.eval_steps = 2
    recipe.training.arguments = {"fsdp": sharded}
    recipe.write(tmp_path / "recipe.yaml")
    arguments = "distill", tmp_path / "recipe.yaml", "--output", tmp_path / "run"
    codes = launch(*arguments, processes=before, moment="between two checkpoints")
    assert codes[0] == -signal.SIGKILL
    assert launch(*arguments, "--resume", processes=after) == [0] * after
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(alone("several batches")), rtol=0, atol=1e-5)


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 8), st.integers(1, 16))
def test_a_step_is_divided_into_equal_batches(batch_size, accumulate, planned, started):
    config = TrainingConfig(batch_size=batch_size, accumulate=accumulate, processes=planned)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", str(started))
        whole = windows_per_step(config)
        assert whole == batch_size * accumulate * planned
        if whole % started:
            with usage_error("training.windows_not_divisible", str(whole), str(started)):
                fix_processes(SimpleNamespace(training=config), resume=True)
            return
        own, count = batches_per_step(config)
        assert own * count * started == whole
        assert own <= batch_size
        if planned == started:
            assert (own, count) == (batch_size, accumulate)


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 4))
def test_the_parts_of_all_processes_are_the_batch_of_one(length, batch_size, processes):
    order = PermutedSampler(length, seed=0)
    parts = [list(SharedBatches(order, batch_size, False, rank, processes)) for rank in range(processes)]
    whole = list(BatchSampler(order, batch_size * processes, False))
    steps = zip(*parts, strict=True)
    counted = [[ids for part in step if not isinstance(part, SpareBatch) for ids in part] for step in steps]
    assert counted == whole
    assert len(SharedBatches(order, batch_size, False, 0, processes)) == len(whole)
    assert all(part for step in parts for part in step)
