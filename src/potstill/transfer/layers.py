"""Copy embeddings, heads and evenly spaced layers from a teacher, wherever the shapes agree."""

from __future__ import annotations

import re

import torch
from torch import nn


def spaced_layers(student: int, teacher: int) -> list[int]:
    """Which teacher layer each student layer starts from: the first and the last, the rest evenly between.

    >>> spaced_layers(3, 12)
    [0, 6, 11]
    """
    if student == 1:
        return [0]
    return [int(i * (teacher - 1) / (student - 1) + 0.5) for i in range(student)]


@torch.no_grad()
def copy_layers(student: nn.Module, teacher: nn.Module, blocks: str) -> list[str]:
    """Copy what agrees in name and shape.

    Parameters
    ----------
    student, teacher
        Modules with the same naming, of any depth and width.
    blocks
        Dotted name of the list of layers, such as ``encoder.block``.

    Returns
    -------
    list of str
        A line for what was copied and one for what stays fresh because shapes differ.
    """
    own, theirs = student.state_dict(), teacher.state_dict()
    own_depth, their_depth = (len(list(module.get_submodule(blocks).children())) for module in (student, teacher))
    chosen = spaced_layers(own_depth, their_depth)
    pattern = re.compile(rf"^{re.escape(blocks)}\.(\d+)\.")
    copied, fresh, done = [], [], set()
    for name, tensor in own.items():
        if tensor.data_ptr() in done:  # a tied weight, under its second name
            continue
        done.add(tensor.data_ptr())
        source = pattern.sub(lambda m: f"{blocks}.{chosen[int(m.group(1))]}.", name)
        if source in theirs and theirs[source].shape == tensor.shape:
            tensor.copy_(theirs[source])
            copied.append(name)
        else:
            fresh.append(name)
    layers = ", ".join(map(str, chosen))
    lines = [f"{len(copied)} of {len(copied) + len(fresh)} weights start from the teacher (layers {layers})"]
    if fresh:
        lines.append(f"{len(fresh)} start fresh because shapes differ, for example {fresh[0]}")
    return lines
