"""The processes of a run: the rank of this process, and synchronisation.

A launcher (``accelerate launch``, ``torchrun``) starts a run in several processes. All of them train; only the main
process writes the run folder, the log, the best student and the checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def rank() -> int:
    """The rank of this process; 0 without a launcher."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """The number of processes of the run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the main process."""
    return rank() == 0


def connect(device: str | None) -> None:
    """Initialise communication between the processes if a launcher started several; otherwise do nothing."""
    if world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu")


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        import torch.distributed as distributed

        distributed.barrier()


def any_rank(flag: bool) -> bool:
    """Whether the flag is set in any process; all processes must call this."""
    if world_size() == 1:
        return flag
    import torch.distributed as distributed

    flags: list[Any] = [None] * world_size()
    distributed.all_gather_object(flags, flag)
    return any(flags)


def on_main(function: Callable[[], Result]) -> Result:
    """Call a function in the main process only; every process returns its result or raises its exception."""
    if world_size() == 1:
        return function()
    import torch.distributed as distributed

    outcome: list[Any] = [None, None]
    if is_main():
        try:
            outcome[0] = function()
        except Exception as error:
            outcome[1] = error
    distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]
