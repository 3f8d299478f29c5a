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

from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Leading, Reads, Writes
from potstill.transfer.calibration import measure_activity
from potstill.transfer.depth import important_layers, only_layers
from potstill.transfer.output_layer import closest_bias, closest_norm, gram
from potstill.transfer.units import important_heads, important_neurons, reconstruction

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
        fewer = [name for name, units in anatomy.units.items() if small.units[name].count < units.count]
        activity = measure_activity(teacher, anatomy, batches, fewer)
        directions, share = basis(activity.covariance, small.width, anatomy.centred)
        parts = _Parts(anatomy, dict(teacher.named_parameters()), directions, activity.last)
    for name in fewer:
        parts.choose(name, activity.moments.pop(name), small.units[name].count)
    for name, own in student.named_parameters():
        own.copy_(parts.of(name, own.shape))
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
    last: tuple[Tensor, Tensor] | None  # Activity.last

    def __post_init__(self) -> None:
        self.kept: dict[str, Tensor] = {}  # indices of units, by their name
        self.rebuilt: dict[str, Tensor] = {}  # what the matrix that writes the units' outputs is multiplied by
        self.ratio = (self.directions.shape[0] / self.directions.shape[1]) ** 0.5
        self.readers = {
            axis.bias: (name, place, axis.norm)
            for name, axes in self.anatomy.axes.items()
            for place, axis in enumerate(axes)
            if isinstance(axis, Reads) and axis.bias and f"{axis.norm}.bias" in self.weights
        }

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

    def of(self, name: str, shape: Sequence[int]) -> Tensor:
        """The student's weight with this name and shape."""
        module, _, leaf = name.rpartition(".")
        if module in self.anatomy.norms:
            return self._norm(module, leaf)
        value = self.exact(name)
        if name in self.readers:  # the bias takes in what the norm's bias adds to the product
            weight, place, norm = self.readers[name]
            value = value + self.exact(weight).movedim(place, -1) @ self.exact(f"{norm}.bias")
        for place, axis in enumerate(self.anatomy.axes[name]):
            value = self._along(name, value.movedim(place, -1), axis, shape[place]).movedim(-1, place)
        return value

    def _norm(self, module: str, leaf: str) -> Tensor:
        """A norm's weight or bias: the teacher's are folded into what reads the norm's output, as far as it can."""
        width, output_layer = self.directions.shape[1], self.anatomy.output_layer
        if output_layer is None or module != output_layer.norm or (leaf == "weight" and not output_layer.tied):
            return torch.full((width,), 1.0 if leaf == "weight" else 0.0, dtype=torch.float64)
        products, scale = gram(self.exact(output_layer.matrix)), self.exact(f"{module}.weight")
        bias = self.exact(f"{module}.bias") if f"{module}.bias" in self.weights else None
        if not output_layer.tied:
            assert bias is not None
            return closest_bias(products, bias, scale[:, None] * self.directions * self.ratio)
        assert self.last is not None
        weight, moved = closest_norm(products, scale, bias, *self.last, self.directions)
        return weight if leaf == "weight" or moved is None else moved

    def _along(self, name: str, value: Tensor, axis: Axis, size: int) -> Tensor:
        """A weight with its last axis cut.

        A student's norm takes the RMS over K dimensions that hold nearly all of what the teacher's D dimensions hold,
        so its output is ``sqrt(D / K)`` times smaller; what reads it is scaled by that ratio.
        """
        if isinstance(axis, Writes):
            return value @ self.directions
        if isinstance(axis, Reads):
            return (value * self.exact(f"{axis.norm}.weight")) @ self.directions * self.ratio
        if isinstance(axis, Leading):
            return value[..., :size]
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
