"""Two processes train one student, are killed, resume, and end where two undisturbed processes end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from training_fakes import PROCESSES, log_lines, losses, small_recipe

from potstill import ranks
from potstill.errors import UserError
from potstill.families.load import load
from potstill.training.checkpoints import newest_checkpoint


@pytest.fixture(scope="module")
def recipe_file(tiny_teacher: Path, small_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dropout, so that each process draws random numbers of its own, and short epochs."""
    recipe = small_recipe(tiny_teacher, small_csv, dropout=0.1, learning_rate=0.01, accumulate=2)
    recipe.data.train_windows = 80
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe.write(path)
    return path


@pytest.fixture(scope="module")
def undisturbed(launch, recipe_file, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("two") / "run"
    errors = run.parent / "errors.txt"
    assert launch("distill", recipe_file, "--output", run, errors=errors, guarded=run) == [0, 0]
    return run


def test_two_processes_write_one_run(undisturbed):
    """One log, one student, and the random numbers of both processes in each checkpoint."""
    assert [line["step"] for line in log_lines(undisturbed, "train")] == list(range(1, 13))
    # eight windows a batch, two batches a step, in two processes
    assert log_lines(undisturbed, "train")[0]["epoch"] == pytest.approx(32 / 80, abs=0.01)
    checkpoint = newest_checkpoint(undisturbed / "checkpoints" / "student")
    assert checkpoint is not None
    assert {f"rng_state_{rank}.pth" for rank in range(PROCESSES)} <= {path.name for path in checkpoint.iterdir()}
    assert load(undisturbed / "student").parameters > 0


def test_only_the_main_process_writes(undisturbed):
    printed = (undisturbed.parent / "errors.txt").read_text()
    assert "Training the student" in printed
    assert "CHANGED" not in printed


def test_an_error_in_one_process_ends_all_with_its_sentence(launch, recipe_file, tmp_path):
    run, errors = tmp_path / "run", tmp_path / "errors.txt"
    codes = launch(
        "distill", recipe_file, "--output", run, moment="between two checkpoints", number=0, rank=1, errors=errors
    )
    assert codes[1] == 2
    assert codes[0] != 0
    assert [line for line in errors.read_text().splitlines() if line.startswith("potstill:")] == [
        "potstill: one process has its own error."
    ]


@pytest.mark.parametrize("moment", ["between two later checkpoints", "in the writing of a checkpoint"])
def test_killed_and_resumed_they_end_bit_for_bit_alike(launch, recipe_file, undisturbed, tmp_path, moment):
    codes = launch("distill", recipe_file, "--output", tmp_path / "run", moment=moment)
    assert codes[0] == -signal.SIGKILL
    assert launch("distill", recipe_file, "--output", tmp_path / "run", "--resume") == [0, 0]
    assert losses(tmp_path / "run") == losses(undisturbed)
    assert load(tmp_path / "run" / "student").fingerprint == load(undisturbed / "student").fingerprint


def test_bad_input_ends_all_processes(launch, recipe_file, tmp_path):
    assert launch("distill", recipe_file, "--output", tmp_path / "run", "--data", tmp_path / "absent.csv") == [2, 2]
    assert not (tmp_path / "run").exists()


def test_alone_there_is_one_main_process():
    assert (ranks.rank(), ranks.world_size(), ranks.is_main(), ranks.gathered(False)) == (0, 1, True, [False])
    assert ranks.on_main(lambda: 3) == 3
    with pytest.raises(UserError, match="wrong"):
        ranks.on_main(lambda: (_ for _ in ()).throw(UserError("wrong")))
