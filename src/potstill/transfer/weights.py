"""A student's weights, worked out from its teacher's: every axis of a weight is cut by what it means.

Shapes: D and K widths of the streams of teacher and student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Leading, Reads, Units, Writes
from potstill.transfer.calibration import Activity
from potstill.transfer.narrow import narrowed_heads
from potstill.transfer.output_layer import closest_bias, closest_norm, gram
from potstill.transfer.units import important_heads, important_neurons, reconstruction


@dataclass
class CutWeights:
    """The student's weights, worked out from the teacher's in float64."""

    anatomy: Anatomy
    weights: dict[str, Tensor]
    directions: Tensor  # [D, K]
    activity: Activity

    def __post_init__(self) -> None:
        self.kept: dict[str, Tensor] = {}  # indices of units, by their name
        self.rebuilt: dict[str, Tensor] = {}  # what the matrix that writes the units' outputs is multiplied by
        self.narrowed: dict[str, Tensor] = {}  # what queries, keys and values are multiplied by, by name of the heads
        self.ratio = (self.directions.shape[0] / self.directions.shape[1]) ** 0.5
        self.readers = {
            axis.bias: (name, place, axis.norm)
            for name, axes in self.anatomy.axes.items()
            for place, axis in enumerate(axes)
            if isinstance(axis, Reads) and axis.bias and f"{axis.norm}.bias" in self.weights
        }

    def choose(self, name: str, student: Units) -> None:
        """Choose which units a student keeps that has fewer, or narrower ones."""
        units, moments = self.anatomy.units[name], self.activity.moments[name]
        weight = f"{units.output}.weight"
        place, axis = next((i, axis) for i, axis in enumerate(self.anatomy.axes[weight]) if isinstance(axis, Chosen))
        matrix = self.exact(weight).movedim(place, -1).flatten(0, -2)
        if units.kind == "heads":
            kept = important_heads(matrix, moments, student.count, units.count)
        else:
            kept = important_neurons(matrix, moments, student.count)
        entries = _entries(axis, kept, matrix.shape[1])
        rebuilt = reconstruction(moments, entries)
        if student.width < units.width:
            inputs = self.activity.inputs[name]
            every = _entries(replace(axis, parts=3), kept, len(inputs))
            self.narrowed[name], narrow = narrowed_heads(
                matrix @ rebuilt, inputs[every][:, every], moments[entries][:, entries], len(kept), student.width
            )
            rebuilt = rebuilt @ narrow
        self.kept[name], self.rebuilt[weight] = kept, rebuilt

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
        assert self.activity.last is not None
        weight, moved = closest_norm(products, scale, bias, *self.activity.last, self.directions)
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
        value = value[..., _entries(axis, self.kept[axis.units], value.shape[-1])]
        return value @ self.narrowed[axis.units] if axis.units in self.narrowed else value


def _entries(axis: Chosen, kept: Tensor, length: int) -> Tensor:
    """Indices along an axis that belong to the kept units.

    >>> _entries(Chosen("heads", width=2, parts=2), torch.tensor([0, 2]), 12).tolist()
    [0, 1, 4, 5, 6, 7, 10, 11]
    """
    units = torch.arange(length).view(axis.parts, -1, axis.width)
    return units[:, kept].flatten()
