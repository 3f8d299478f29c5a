"""What a process of its own runs, to be killed at a chosen moment."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import potstill.cli
from potstill.errors import UserError
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
    errors: Path | None = None,
    guarded: Path | None = None,
) -> None:
    """The command line, without the final measurements, getting a signal at the moment named.

    ``environment`` is what a launcher tells each of several processes. The signal 0 is an error of the user's. What is
    printed is added to the file ``errors``, and so is every change in the folder ``guarded`` by any but the main one.
    """
    if errors is not None:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.environ.update({name: str(value) for name, value in (environment or {}).items()})
    ForecastTask.finish = lambda *_: None  # type: ignore[method-assign]
    if guarded is not None and os.environ.get("RANK", "0") != "0":
        _report_changes(guarded)
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
            if number == 0:
                raise UserError("one process has its own error.")
            os.kill(os.getpid(), number)
        return original(*args, **options)

    setattr(owner, name, watched)


def _puts_second_student(args: tuple[Any, ...]) -> bool:
    source, target = (Path(arg).name for arg in args)
    return target == "student" and (Path(args[1]).parent / ".student.old").exists() and source.startswith(".student.")


def _report_changes(folder: Path) -> None:
    """Print a line for each file in the folder that is opened for writing, made, renamed or removed."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        changes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")
        writes = event == "open" and bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if (changes or writes) and isinstance(args[0], (str, bytes)) and os.fsdecode(args[0]).startswith(str(folder)):
            os.write(2, f"CHANGED {event} {args[0]!r}\n".encode())

    sys.addaudithook(hook)
