"""What a process of its own runs, to be killed at a chosen moment."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import potstill.cli
from potstill.evaluation.validation import Validation
from potstill.tasks.forecasting import ForecastTask
from potstill.teaching.stores import writing as labelling
from potstill.training import hooks, trainer

# (owner, name, call): the signal comes just before that call
MOMENTS: dict[str, tuple[Any, str, int]] = {
    "between two checkpoints": (trainer.DistillationTrainer, "compute_loss", 7),
    "between two later checkpoints": (trainer.DistillationTrainer, "compute_loss", 13),
    "in the writing of a checkpoint": (hooks, "seal", 2),
    "in an evaluation": (Validation, "__call__", 2),
    "when the old student is moved and the new one is not": (Path, "rename", 0),
    "in the control's training": (trainer.DistillationTrainer, "compute_loss", 18),
    "in the labelling": (labelling, "write_shard", 1),
    "when all is trained": (ForecastTask, "finish", 1),
}


def run(
    arguments: list[str],
    moment: str | None,
    number: int = signal.SIGKILL,
    environment: Mapping[str, object] | None = None,
) -> None:
    """The command line, without the final measurements, getting a signal at the moment named.

    ``environment`` is what a launcher tells each of several processes.
    """
    os.environ.update({name: str(value) for name, value in (environment or {}).items()})
    ForecastTask.finish = lambda *_: None  # type: ignore[method-assign]
    gc.freeze()  # the trainer collects garbage: not over all that was imported
    if moment is not None:
        owner, name, call = MOMENTS[moment]
        _signal_before(owner, name, call, number)
    potstill.cli.main(arguments)


def _signal_before(owner: Any, name: str, call: int, number: int) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    calls: list[int] = []

    def watched(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call if call else _puts_second_student(args):
            os.kill(os.getpid(), number)
        return original(*args, **options)

    setattr(owner, name, watched)


def _puts_second_student(args: tuple[Any, ...]) -> bool:
    source, target = (Path(arg).name for arg in args)
    return target == "student" and (Path(args[1]).parent / ".student.old").exists() and source.startswith(".student.")
