"""Cut a teacher to the sizes of a student: fewer layers, dimensions, heads and neurons, with the teacher's weights.

With all of the teacher's sizes the student computes what the teacher computes, up to rounding.

Shapes: D and K widths of the streams of teacher and student.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from potstill.transfer.anatomy import Anatomy
from potstill.transfer.calibration import measure_activity
from potstill.transfer.depth import important_layers, only_layers
from potstill.transfer.weights import CutWeights

DEPTH_BATCHES = 2  # the search for layers runs the teacher up to hundreds of times
#: from the covariance ``[D, D]``, K and ``Anatomy.centred`` to a basis ``[D, K]`` and its share of the variance
Basis = Callable[[Tensor, int, bool], tuple[Tensor, float]]


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
        layers = important_layers(teacher, whole.blocks, kept_depth, whole.run, batches[:DEPTH_BATCHES])
    with only_layers(teacher, whole.blocks, layers):
        anatomy = describe(teacher)
        fewer = [
            name
            for name, units in anatomy.units.items()
            if (small.units[name].count, small.units[name].width) != (units.count, units.width)
        ]
        activity = measure_activity(teacher, anatomy, batches, fewer)
        directions, share = basis(activity.covariance, small.width, anatomy.centred)
        weights = CutWeights(anatomy, dict(teacher.named_parameters()), directions, activity)
    for name in fewer:
        weights.choose(name, small.units[name])
    for name, own in student.named_parameters():
        own.copy_(weights.of(name, own.shape))
    said = [f"layers {', '.join(map(str, layers))} of {depth}" if kept_depth < depth else f"all {depth} layers"]
    if small.width < anatomy.width:
        said.append(f"{small.width} of {anatomy.width} dimensions, which hold {share:.1%} of the stream's variance")
    return ["The student is cut from its teacher: " + "; ".join(said + _said_of_units(anatomy, small))]


def _said_of_units(anatomy: Anatomy, small: Anatomy) -> list[str]:
    """A few words about each kind of units of which some are left out."""
    said = []
    for kind in ("heads", "neurons"):
        counts = {(small.units[name].count, units.count) for name, units in anatomy.units.items() if units.kind == kind}
        fewer = [f"{kept} of {count}" for kept, count in sorted(counts) if kept < count]
        if fewer:
            said.append(f"{', '.join(fewer)} {kind}")
    return said
