"""Killed at any moment, a run resumes and ends bit for bit where the unbroken run ends."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import run_apart
import torch
from training_fakes import log_lines, small_recipe, small_run
from usage_errors import usage_error

from potstill.families.load import load
from potstill.training.checkpoints import newest_checkpoint

Start = Callable[..., int | None]


@pytest.fixture(scope="module")
def start() -> Start:
    """Runs ``potstill`` in a process of its own and gives its exit code; minus the signal where one ended it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["potstill.cli", "potstill.verbs"])

    def process(*arguments: object, moment: str | None = None, number: int = signal.SIGKILL) -> int | None:
        child = context.Process(target=run_apart.run, args=([str(a) for a in arguments], moment, number))
        child.start()
        child.join()
        return child.exitcode

    return process


@pytest.fixture(scope="module")
def recipe_file(tiny_teacher: Path, small_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dropout, random horizons and short epochs: whatever a resumed run could get wrong."""
    recipe = small_recipe(tiny_teacher, small_csv, dropout=0.1, random_horizon=True, learning_rate=0.01)
    recipe.objective.alpha = 0.2  # an untrained teacher teaches nothing that validation rewards
    recipe.data.train_windows = 40
    recipe.control, recipe.control_steps = True, 9
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe.write(path)
    return path


@pytest.fixture(scope="module")
def unbroken(start: Start, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbs."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    assert start("distill", recipe_file, "--output", run) == 0
    return run


def end(run: Path) -> dict[str, bytes]:
    """The files of student and control."""
    files = [p for name in ("student", "control") for p in (run / name).iterdir()]
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in files}


def log(run: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k not in ("windows_per_second", "seconds")} for line in log_lines(run)]


def assert_same(run: Path, unbroken: Path) -> None:
    assert end(run) == end(unbroken)
    assert log(run) == log(unbroken)
    assert sorted(p.name for p in run.iterdir()) == sorted(p.name for p in unbroken.iterdir())


def test_the_same_seed_gives_the_same_bytes(start, recipe_file, unbroken, tmp_path):
    assert start("distill", recipe_file, "--output", tmp_path / "run") == 0
    assert set(end(unbroken)) == {
        f"{m}/{f}" for m in ("student", "control") for f in ("config.json", "model.safetensors")
    }
    assert_same(tmp_path / "run", unbroken)
    assert start("distill", recipe_file, "--output", tmp_path / "other", "--seed", 1) == 0
    assert end(tmp_path / "other")["student/model.safetensors"] != end(unbroken)["student/model.safetensors"]


@pytest.mark.parametrize("moment", [moment for moment in run_apart.MOMENTS if moment != "in the labelling"])
def test_killed_and_resumed_a_run_ends_where_the_unbroken_one_does(start, recipe_file, unbroken, tmp_path, moment):
    run = tmp_path / "run"
    assert start("distill", recipe_file, "--output", run, moment=moment) == -signal.SIGKILL
    assert start("distill", "--output", run, "--resume") == 0
    assert_same(run, unbroken)


def test_a_second_kill_and_a_second_resume(start, recipe_file, unbroken, tmp_path):
    run, moment = tmp_path / "run", "in the writing of a checkpoint"
    assert start("distill", recipe_file, "--output", run, moment="between two checkpoints") == -signal.SIGKILL
    assert start("distill", "--output", run, "--resume", moment=moment) == -signal.SIGKILL
    assert start("distill", "--output", run, "--resume") == 0
    assert_same(run, unbroken)


def test_a_run_killed_while_it_labels_its_windows_ends_alike(start, recipe_file, tmp_path):
    label_itself = (recipe_file, "--labels", "auto", "--output")
    assert start("distill", *label_itself, tmp_path / "whole") == 0
    moment = "in the labelling"
    assert start("distill", *label_itself, tmp_path / "run", moment=moment) == -signal.SIGKILL
    assert start("distill", "--output", tmp_path / "run", "--resume") == 0
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_leaves_a_checkpoint_and_exit_code_130(start, recipe_file, unbroken, tmp_path, number):
    run = tmp_path / "run"
    moment = "between two checkpoints"
    assert start("distill", recipe_file, "--output", run, moment=moment, number=number) == 130
    assert newest_checkpoint(run / "checkpoints" / "student").name == "checkpoint-7"
    assert log(run)[-1]["step"] == 7
    assert start("distill", "--output", run, "--resume") == 0
    assert_same(run, unbroken)


def without_manifest(checkpoint: Path) -> None:
    (checkpoint / "files.json").unlink()


def cut_off(checkpoint: Path) -> None:
    optimizer = checkpoint / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])


def lost(checkpoint: Path) -> None:
    (checkpoint / "rng_state.pth").unlink()


def garbled(checkpoint: Path) -> None:
    (checkpoint / "files.json").write_text("null")


def unlisted(checkpoint: Path) -> None:
    sizes = json.loads((checkpoint / "files.json").read_text())
    del sizes["trainer_state.json"]
    (checkpoint / "files.json").write_text(json.dumps(sizes))


@pytest.fixture(scope="module")
def stopped(tiny_teacher, small_csv, tmp_path_factory):
    """A run of eight steps and its recipe."""
    recipe = small_recipe(tiny_teacher, small_csv)
    folder = tmp_path_factory.mktemp("stopped")
    small_run(recipe, steps=8).run(folder / "stopped", resume=False)
    return recipe, folder


@pytest.mark.parametrize("tear", [without_manifest, cut_off, lost, garbled, unlisted])
def test_a_torn_checkpoint_is_passed_over_for_the_newest_whole_one(stopped, tmp_path, tear):
    _, folder = stopped
    checkpoints = copied(folder / "stopped", tmp_path) / "checkpoints" / "student"
    assert newest_checkpoint(checkpoints).name == "checkpoint-8"
    tear(checkpoints / "checkpoint-8")
    assert newest_checkpoint(checkpoints).name == "checkpoint-4"
    tear(checkpoints / "checkpoint-4")
    assert newest_checkpoint(checkpoints) is None


@pytest.mark.usefixtures("quick_trainer")
def test_a_run_resumed_behind_a_torn_checkpoint_ends_alike(stopped, tmp_path):
    recipe, folder = stopped
    run = copied(folder / "stopped", tmp_path)
    cut_off(run / "checkpoints" / "student" / "checkpoint-8")
    small_run(recipe, steps=8).run(run, resume=True)
    assert load(run / "student").fingerprint == load(folder / "stopped" / "student").fingerprint
    assert log(run) == log(folder / "stopped")


@pytest.mark.usefixtures("quick_trainer")
@pytest.mark.parametrize("name", ["trainer_state.json", "model.safetensors"])
def test_a_file_with_another_content_is_named(stopped, tmp_path, name):
    recipe, folder = stopped
    run = copied(folder / "stopped", tmp_path)
    file = run / "checkpoints" / "student" / "checkpoint-8" / name
    file.write_bytes(b"\xff" * file.stat().st_size)  # of the same size
    with usage_error("run.bad_checkpoint", "checkpoint-8", "--resume"):
        small_run(recipe, steps=12).run(run, resume=True)


@pytest.mark.usefixtures("quick_trainer")
def test_a_checkpoint_of_another_student_is_named(stopped, tmp_path):
    recipe, folder = stopped
    recipe = recipe.model_copy(deep=True)
    recipe.student.overrides = {**recipe.student.overrides, "d_ff": 24}
    with usage_error("run.other_sizes", "checkpoint-8", "recipe.yaml"):
        small_run(recipe, steps=12).run(copied(folder / "stopped", tmp_path), resume=True)


class Mark:
    """Leaves a file when it is loaded as a pickle."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("quick_trainer")
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("damage", ["pickle", "garbage"])
def test_a_checkpoint_with_other_content_is_refused_and_runs_no_code(stopped, tmp_path, name, damage):
    recipe, folder = stopped
    run = copied(folder / "stopped", tmp_path)
    checkpoints = run / "checkpoints" / "student"
    shutil.rmtree(checkpoints / "checkpoint-8")
    file = checkpoints / "checkpoint-4" / name
    if damage == "pickle":
        torch.save({"x": Mark(tmp_path / "mark")}, file)
    else:
        file.write_bytes(b"PK" + bytes(file.stat().st_size - 2))
    sizes = json.loads((file.parent / "files.json").read_text())
    (file.parent / "files.json").write_text(json.dumps({**sizes, name: file.stat().st_size}))
    with usage_error("run.bad_checkpoint", "checkpoint-4"):
        small_run(recipe, steps=8).run(run, resume=True)
    assert not (tmp_path / "mark").exists()


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target / "run"))
