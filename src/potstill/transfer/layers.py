"""Copy embeddings, heads and evenly spaced layers from a teacher, where the shapes match."""

from __future__ import annotations

import re

import torch
from torch import nn


def spaced_layers(student: int, teacher: int) -> list[int]:
    """Which teacher layer each student layer is copied from: the first, the last, and evenly spaced ones between.

    >>> spaced_layers(3, 12)
    [0, 6, 11]
    """
    if student == 1:
        return [0]
    return [int(i * (teacher - 1) / (student - 1) + 0.5) for i in range(student)]


@torch.no_grad()
def copy_layers(student: nn.Module, teacher: nn.Module, blocks: str) -> list[str]:
    """Copy the weights whose names and shapes match.

    Parameters
    ----------
    student, teacher
        Modules with the same names of weights; depth and width may differ.
    blocks
        Dotted name of the list of layers, such as ``encoder.block``.

    Returns
    -------
    list of str
        A line about the copied weights, and one about those that stay fresh because their shapes differ.
    """
    own, teachers = student.state_dict(), teacher.state_dict()
    student_depth, teacher_depth = (len(list(module.get_submodule(blocks).children())) for module in (student, teacher))
    chosen = spaced_layers(student_depth, teacher_depth)
    pattern = re.compile(rf"^{re.escape(blocks)}\.(\d+)\.")
    copied, fresh, done = [], [], set()
    for name, tensor in own.items():
        if tensor.data_ptr() in done:  # a tied weight, which the state dict has under two names
            continue
        done.add(tensor.data_ptr())
        source = pattern.sub(lambda m: f"{blocks}.{chosen[int(m.group(1))]}.", name)
        if source in teachers and teachers[source].shape == tensor.shape:
            tensor.copy_(teachers[source])
            copied.append(name)
        else:
            fresh.append(name)
    layers = ", ".join(map(str, chosen))
    lines = [f"{len(copied)} of {len(copied) + len(fresh)} weights start from the teacher (layers {layers})"]
    if fresh:
        lines.append(f"{len(fresh)} start fresh because shapes differ, for example {fresh[0]}")
    return lines
