"""Two processes train one student, are killed, resume, and end where two undisturbed processes end."""

from __future__ import annotations

import multiprocessing
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import run_apart
from training_fakes import log_lines, small_recipe

from potstill import ranks
from potstill.errors import UserError
from potstill.families.load import load
from potstill.training.checkpoints import newest_checkpoint

PROCESSES = 2


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def launch() -> Callable[..., list[int | None]]:
    """Runs ``potstill`` in two processes, as a launcher does, and gives their exit codes.

    Where one is killed, the other is killed as well.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["potstill.cli", "potstill.verbs"])

    def start(*arguments: object, moment: str | None = None) -> list[int | None]:
        shared = {"WORLD_SIZE": PROCESSES, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        children = []
        for rank in range(PROCESSES):
            environment = {**shared, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": PROCESSES}
            child_arguments = [str(a) for a in arguments], moment if rank == 0 else None, signal.SIGKILL, environment
            children.append(context.Process(target=run_apart.run, args=child_arguments))
        for child in children:
            child.start()
        children[0].join()
        if children[0].exitcode != 0:
            children[1].join(timeout=5)
            children[1].kill()
        children[1].join()
        return [child.exitcode for child in children]

    return start


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
    assert launch("distill", recipe_file, "--output", run) == [0, 0]
    return run


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in log_lines(run, "train")]


def test_two_processes_write_one_run(undisturbed):
    """One log, one student, and the random numbers of both processes in each checkpoint."""
    assert [line["step"] for line in log_lines(undisturbed, "train")] == list(range(1, 13))
    # eight windows a batch, two batches a step, in two processes
    assert log_lines(undisturbed, "train")[0]["epoch"] == pytest.approx(32 / 80, abs=0.01)
    checkpoint = newest_checkpoint(undisturbed / "checkpoints" / "student")
    assert checkpoint is not None
    assert {f"rng_state_{rank}.pth" for rank in range(PROCESSES)} <= {path.name for path in checkpoint.iterdir()}
    assert load(undisturbed / "student").parameters > 0


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
    assert (ranks.rank(), ranks.world_size(), ranks.is_main(), ranks.any_rank(False)) == (0, 1, True, False)
    assert ranks.on_main(lambda: 3) == 3
    with pytest.raises(UserError, match="wrong"):
        ranks.on_main(lambda: (_ for _ in ()).throw(UserError("wrong")))
