"""Cut a teacher to the sizes of a student: fewer layers, dimensions, heads and neurons, with the teacher's weights.

With all of the teacher's sizes the student computes what the teacher computes, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Reads, Writes
from potstill.transfer.calibration import measure_activity
from potstill.transfer.depth import important_layers, only_layers

#: from the covariance ``[D, D]`` and K to a basis ``[D, K]`` and its share of the variance
Basis = Callable[[Tensor, int], tuple[Tensor, float]]


@torch.no_grad()
def cut(
    teacher: nn.Module,
    student: nn.Module,
    describe: Callable[[nn.Module], Anatomy],
    batches: Sequence[Any],
    basis: Basis,
    layers: Sequence[int] | None = None,
) -> list[str]:
    """Fill a student with its teacher's weights.

    Parameters
    ----------
    teacher
        In evaluation mode; unchanged.
    student
        Of the same architecture and not larger in any size.
    describe
        The anatomy of a module of the architecture.
    batches
        Calibration data for ``Anatomy.run``.
    basis
        How dimensions are chosen: a function of ``transfer/rotation.py``.
    layers
        Layers of the teacher to keep, ascending; default: :func:`important_layers`.

    Returns
    -------
    list of str
        A line about what was kept.
    """
    whole, small = describe(teacher), describe(student)
    depth, kept_depth = (len(list(module.get_submodule(whole.blocks).children())) for module in (teacher, student))
    if layers is None:
        layers = important_layers(teacher, whole.blocks, kept_depth, whole.run, batches)
    with only_layers(teacher, whole.blocks, layers):
        anatomy = describe(teacher)
        activity = measure_activity(teacher, anatomy, batches)
        directions, share = basis(activity.covariance, small.width)
        rows = {
            name: _largest(activity.importance[name], small.units[name].count) for name, units in anatomy.units.items()
        }
        weights = {name: weight.detach().double().cpu() for name, weight in teacher.named_parameters()}
    ratio = (anatomy.width / small.width) ** 0.5
    for name, own in student.named_parameters():
        norm = name.rpartition(".")[0]
        if norm in anatomy.norms:
            own.fill_(1.0)  # the weight is in the matrices that read the norm's output
            continue
        value = weights[name]
        for place, axis in enumerate(anatomy.axes[name]):
            value = _cut_axis(value, place, axis, weights, directions, ratio, rows)
        own.copy_(value)
    lines = [f"layers {', '.join(map(str, layers))} of {depth}" if kept_depth < depth else f"all {depth} layers"]
    if small.width < anatomy.width:
        lines.append(f"{small.width} of {anatomy.width} dimensions, which hold {share:.1%} of the stream's variance")
    return ["The student is cut from its teacher: " + "; ".join(lines + _unit_parts(anatomy, small))]


def _cut_axis(
    value: Tensor,
    place: int,
    axis: Axis,
    weights: dict[str, Tensor],
    directions: Tensor,
    ratio: float,
    rows: dict[str, Tensor],
) -> Tensor:
    """A weight with one of its axes cut.

    A student's norm takes the RMS over K dimensions that hold nearly all of what the teacher's D dimensions hold, so
    its output is ``sqrt(D / K)`` times smaller; what reads it is scaled by that ratio.
    """
    if isinstance(axis, Chosen):
        return value.index_select(place, _entries(axis, rows[axis.units], value.shape[place]))
    if isinstance(axis, Reads):
        value = value.movedim(place, -1) * weights[f"{axis.norm}.weight"] * ratio
        return (value @ directions).movedim(-1, place)
    if isinstance(axis, Writes):
        return (value.movedim(place, -1) @ directions).movedim(-1, place)
    return value


def _entries(axis: Chosen, kept: Tensor, length: int) -> Tensor:
    """Indices along an axis that belong to the kept units.

    >>> _entries(Chosen("heads", width=2, parts=2), torch.tensor([0, 2]), 12).tolist()
    [0, 1, 4, 5, 6, 7, 10, 11]
    """
    units = torch.arange(length).view(axis.parts, -1, axis.width)
    return units[:, kept].flatten()


def _largest(importance: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` largest, ascending."""
    return importance.topk(count).indices.sort().values


def _unit_parts(anatomy: Anatomy, small: Anatomy) -> list[str]:
    """A few words about each kind of units of which some are left out."""
    lines = []
    for kind in ("heads", "neurons"):
        counts = {(small.units[name].count, units.count) for name, units in anatomy.units.items() if units.kind == kind}
        parts = [f"{kept} of {count}" for kept, count in sorted(counts) if kept < count]
        if parts:
            lines.append(f"{', '.join(parts)} {kind}")
    return lines
