"""The memory that a training takes in each process, for the plan."""

from __future__ import annotations

from typing import Any

from potstill.ranks import world_size
from potstill.tasks.base import Task
from potstill.training.division import batches_per_step
from potstill.training.sharding import block_bytes, is_requested

FLOAT_BYTES = 4  # weights are trained in fp32


def process_lines(task: Task) -> list[str]:
    """How a step is divided into processes; empty for one, unless the recipe is meant for another number."""
    config = task.recipe.training
    others = config.processes not in (None, world_size())
    if world_size() == 1 and not others:
        return []
    batch_size, count = batches_per_step(config)
    batches = f"{count} batches" if count > 1 else "one batch"
    weights = "a part of every weight (FSDP)" if is_requested(config) else "all weights"
    meant = f" (the recipe is meant for {config.processes})" if others else ""
    return [f"Processes  {world_size()}{meant}, each with {weights} and {batches} of {batch_size} {task.unit} a step"]


def memory_line(task: Task, activations: int) -> str:
    """The memory of each process by what takes it; ``activations`` are the bytes that one batch keeps."""
    parts = {name: size / 1e6 for name, size in bytes_by_part(task, activations).items() if size}
    where = " in each process" if world_size() > 1 else ""
    words = ", ".join(f"{name} {size:,.{0 if size >= 10 else 1}f}" for name, size in parts.items())
    return f"Memory     about {sum(parts.values()):,.0f} MB{where}: {words}"


def bytes_by_part(task: Task, activations: int) -> dict[str, float]:
    """Bytes of a process by what takes them; that of the main process, which holds most."""
    config = task.recipe.training
    whole, processes = FLOAT_BYTES * task.architecture.parameters, world_size()
    sharded = is_requested(config)
    share = whole / processes if sharded else whole
    buckets = whole if processes > 1 and not sharded else 0  # DDP copies gradients into them, to send them
    return {
        "weights": share * (2 if getattr(config, "ema", None) else 1),
        "whole student": whole if sharded else 0,  # to validate and save it, in the main process
        "gradients": share + buckets,
        "optimizer": 2 * share,
        "teacher": sum(_teacher_bytes(teacher, processes if sharded else 1) for teacher in task.teachers.values()),
        "one batch": activations,
    }


def _teacher_bytes(teacher: Any, processes: int) -> float:
    blocks = block_bytes(teacher.module) if processes > 1 and not teacher.passes_vary else 0
    return teacher.bytes - blocks + blocks / processes
