"""Cut a teacher to the sizes of a student: fewer layers, dimensions, heads and neurons, with the teacher's weights.

With all of the teacher's sizes the student computes what the teacher computes, up to rounding.

Shapes: D and K widths of the streams of teacher and student, E entries of units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Reads, Writes
from potstill.transfer.calibration import measure_activity
from potstill.transfer.depth import important_layers, only_layers
from potstill.transfer.units import important_heads, important_neurons, reconstruction

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
        fewer = [name for name, units in anatomy.units.items() if small.units[name].count < units.count]
        activity = measure_activity(teacher, anatomy, batches, fewer)
        directions, share = basis(activity.covariance, small.width)
        parts = _Parts(anatomy, dict(teacher.named_parameters()), directions)
    for name in fewer:
        parts.choose(name, activity.moments.pop(name), small.units[name].count)
    for name, own in student.named_parameters():
        own.copy_(parts.of(name))
    said = [f"layers {', '.join(map(str, layers))} of {depth}" if kept_depth < depth else f"all {depth} layers"]
    if small.width < anatomy.width:
        said.append(f"{small.width} of {anatomy.width} dimensions, which hold {share:.1%} of the stream's variance")
    return ["The student is cut from its teacher: " + "; ".join(said + _said_of_units(anatomy, small))]


@dataclass
class _Parts:
    """The student's weights, worked out from the teacher's in float64."""

    anatomy: Anatomy
    weights: dict[str, Tensor]
    directions: Tensor  # [D, K]

    def __post_init__(self) -> None:
        self.kept: dict[str, Tensor] = {}  # indices of units, by their name
        self.rebuilt: dict[str, Tensor] = {}  # what the matrix that writes the units' outputs is multiplied by

    def choose(self, name: str, moments: Tensor, count: int) -> None:
        """Choose the units that the student keeps."""
        units = self.anatomy.units[name]
        weight = f"{units.output}.weight"
        place = next(i for i, axis in enumerate(self.anatomy.axes[weight]) if isinstance(axis, Chosen))
        matrix = self.exact(weight).movedim(place, -1).flatten(0, -2)
        if units.kind == "heads":
            kept = important_heads(matrix, moments, count, units.count)
        else:
            kept = important_neurons(matrix, moments, count)
        axis = self.anatomy.axes[weight][place]
        assert isinstance(axis, Chosen)
        self.kept[name] = kept
        self.rebuilt[weight] = reconstruction(moments, _entries(axis, kept, matrix.shape[1]))

    def exact(self, name: str) -> Tensor:
        """The teacher's weight in float64."""
        return self.weights[name].detach().double().cpu()

    def of(self, name: str) -> Tensor:
        """The student's weight with this name."""
        module, _, _ = name.rpartition(".")
        if module in self.anatomy.norms:  # the teacher's is folded into the matrices that read the norm's output
            return torch.ones(self.directions.shape[1], dtype=torch.float64)
        value = self.exact(name)
        for place, axis in enumerate(self.anatomy.axes[name]):
            value = self._along(name, value.movedim(place, -1), axis).movedim(-1, place)
        return value

    def _along(self, name: str, value: Tensor, axis: Axis) -> Tensor:
        """A weight with its last axis cut.

        A student's norm takes the RMS over K dimensions that hold nearly all of what the teacher's D dimensions hold,
        so its output is ``sqrt(D / K)`` times smaller; what reads it is scaled by that ratio.
        """
        if isinstance(axis, Writes):
            return value @ self.directions
        if isinstance(axis, Reads):
            ratio = (self.directions.shape[0] / self.directions.shape[1]) ** 0.5
            return (value * self.exact(f"{axis.norm}.weight")) @ self.directions * ratio
        if not isinstance(axis, Chosen) or axis.units not in self.kept:
            return value
        if name in self.rebuilt:
            return value @ self.rebuilt[name]
        return value[..., _entries(axis, self.kept[axis.units], value.shape[-1])]


def _entries(axis: Chosen, kept: Tensor, length: int) -> Tensor:
    """Indices along an axis that belong to the kept units.

    >>> _entries(Chosen("heads", width=2, parts=2), torch.tensor([0, 2]), 12).tolist()
    [0, 1, 4, 5, 6, 7, 10, 11]
    """
    units = torch.arange(length).view(axis.parts, -1, axis.width)
    return units[:, kept].flatten()


def _said_of_units(anatomy: Anatomy, small: Anatomy) -> list[str]:
    """A few words about each kind of units of which some are left out."""
    said = []
    for kind in ("heads", "neurons"):
        counts = {(small.units[name].count, units.count) for name, units in anatomy.units.items() if units.kind == kind}
        fewer = [f"{kept} of {count}" for kept, count in sorted(counts) if kept < count]
        if fewer:
            said.append(f"{', '.join(fewer)} {kind}")
    return said
