"""How the windows of an optimizer step are divided into processes and batches."""

from __future__ import annotations

from typing import Any

from potstill.errors import UserError
from potstill.ranks import world_size
from potstill.recipe import TrainingConfig


def windows_per_step(config: TrainingConfig) -> int:
    """Windows per optimizer step, over all processes: those of the processes that the recipe is written for."""
    return config.batch_size * config.accumulate * (config.processes or world_size())


def batches_per_step(config: TrainingConfig) -> tuple[int, int]:
    """The batch size of a process, at most the recipe's, and the batches that it adds up for an optimizer step."""
    own = windows_per_step(config) // world_size()
    count = next(n for n in range(-(-own // config.batch_size), own + 1) if own % n == 0)
    return own // count, count


def fix_processes(recipe: Any, resume: bool) -> None:
    """Write the number of processes into the recipe of a run, so that other numbers continue it with the same steps.

    Raises
    ------
    UserError
        If the windows of a step cannot be divided equally among the processes that were started.
    """
    training = recipe.training
    if training.processes is None and world_size() > 1:
        training.processes = 1 if resume else world_size()
    whole = windows_per_step(training)
    if whole % world_size():
        raise UserError(
            f"training.processes: a step has {whole} windows, which {world_size()} processes cannot share equally;"
            f" start a number of processes that divides {whole}.",
            key="training.windows_not_divisible",
        )
