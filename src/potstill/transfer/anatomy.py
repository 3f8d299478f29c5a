"""What a family says about a model so that its weights can be cut: the meaning of every axis of every weight.

A transformer is a residual stream of width d. Norms scale a copy of it, some matrices read a norm's output, others
write to the stream. Between them are units, heads or neurons, that can be left out one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor


@dataclass(frozen=True)
class Fixed:
    """An axis that has the same size in the teacher and in the student, such as quantile levels or a vocabulary."""


@dataclass(frozen=True)
class Leading:
    """An axis of which a student may have only the first entries, such as learned positions."""


@dataclass(frozen=True)
class Writes:
    """An axis along the residual stream of a weight that is added to it: embeddings, output projections, biases."""


@dataclass(frozen=True)
class Reads:
    """An axis along the residual stream of a matrix that multiplies the output of a norm.

    Attributes
    ----------
    norm
        Name of the norm's module.
    bias
        Name of the bias that is added to the product, which takes in the norm's bias; None if there is none.
    """

    norm: str
    bias: str | None = None


@dataclass(frozen=True)
class Chosen:
    """An axis along units, some of which a smaller student leaves out.

    Attributes
    ----------
    units
        Key of ``Anatomy.units``.
    width
        Entries per unit: the width of a head, 1 for neurons.
    parts
        How often the axis runs through all units: 3 where queries, keys and values are one matrix.
    """

    units: str
    width: int = 1
    parts: int = 1


Axis = Fixed | Leading | Writes | Reads | Chosen


@dataclass(frozen=True)
class Units:
    """Heads of one attention, or neurons of one feed-forward network.

    Attributes
    ----------
    kind
        ``heads`` or ``neurons``.
    count
        How many there are.
    output
        Name of the module whose input is what the units compute, and which writes it to the stream.
    width
        Width of a head; 1 for neurons.
    inputs
        Name of the module that returns queries, keys and values, if a student's heads may be narrower; else None.
    """

    kind: Literal["heads", "neurons"]
    count: int
    output: str
    width: int = 1
    inputs: str | None = None


@dataclass(frozen=True)
class OutputLayer:
    """A language model's output layer, which has no bias, and the norm that it reads.

    Attributes
    ----------
    matrix, norm
        Names of its weight, and of the norm's module.
    tied
        Whether the matrix is that of the embeddings as well: then it cannot take in the norm's weight.
    """

    matrix: str
    norm: str
    tied: bool


@dataclass(frozen=True)
class Anatomy:
    """The parts of a model that a cut treats differently.

    Attributes
    ----------
    width
        d, the width of the residual stream.
    blocks
        Dotted name of the list of layers.
    norms
        Names of the modules that normalise the stream.
    axes
        For every weight except those of the norms, the meaning of each of its axes.
    units
        Heads and neurons by name.
    run
        Runs the model on a batch and returns its outputs; every norm and output projection is called as a module.
    centred
        Whether the norms subtract the mean (LayerNorm).
    output_layer
        For a language model.
    real
        For batches with padding: from a batch to ``[B, T]`` bool, the tokens that calibration counts; every norm and
        output projection then sees ``[B, T, …]``. None: all tokens count.
    """

    width: int
    blocks: str
    norms: tuple[str, ...]
    axes: Mapping[str, tuple[Axis, ...]]
    units: Mapping[str, Units]
    run: Callable[[Any], Tensor]
    centred: bool = False
    output_layer: OutputLayer | None = None
    real: Callable[[Any], Tensor] | None = None
