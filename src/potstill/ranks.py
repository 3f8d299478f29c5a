"""The processes of a run: the rank of this process, and synchronisation.

A launcher (``accelerate launch``, ``torchrun``) starts a run in several processes. All of them train; only the main
process writes the run folder, the log, the best student and the checkpoints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")
FSDP_SWITCH = "ACCELERATE_USE_FSDP"  # `accelerate launch --use_fsdp` sets it
_fsdp = False  # whether the launcher asks for FSDP
_one_batch = False  # whether a training step runs


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
    global _fsdp
    # with it, transformers would load weights in the main process only, and accelerate would shard a second time
    _fsdp = os.environ.pop(FSDP_SWITCH, "").lower() == "true" or _fsdp
    if world_size() > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu")


def launched_with_fsdp() -> bool:
    """Whether the launcher asks for sharded weights."""
    return _fsdp


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        import torch.distributed as distributed

        distributed.barrier()


def gathered(value: Result) -> list[Result]:
    """The values of all processes, by rank; all processes must call this."""
    if world_size() == 1:
        return [value]
    import torch.distributed as distributed

    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


@contextmanager
def one_batch() -> Iterator[None]:
    """A block in which the batches of all processes are one: :func:`summed` then sums over the processes."""
    global _one_batch
    _one_batch = world_size() > 1
    try:
        yield
    finally:
        _one_batch = False


def summed(tensor: Tensor) -> Tensor:
    """In a block of :func:`one_batch` the sum over all processes, through which gradients flow; elsewhere the tensor.

    For losses that are no mean over windows, such as the balance of experts. In the block all processes must call this.
    """
    if not _one_batch:
        return tensor
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(tensor)


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


def fails_first() -> bool:
    """Whether this process is the first of the run that fails, and so the one that prints why."""
    if world_size() == 1:
        return True
    import torch.distributed as distributed

    if not distributed.is_initialized():  # all fail alike, on the same options
        return is_main()
    try:
        return distributed.distributed_c10d._get_default_store().add("potstill/failed", 1) == 1
    except RuntimeError:  # the main process keeps the store, and has already ended
        return False
