"""The base class of terms that compare layers of the student with layers of the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.base import LossInputs, Requests, Term
from potstill.objectives.common_tokens import CommonTokens
from potstill.objectives.layer_maps import DEFAULT_LAYERS, Pairs, checked_layers, layer_pairs
from potstill.types import ModelInfo, Qkv, Request


class LayerPairTerm(Term):
    """A loss averaged over pairs of layers; with several teachers over the pairs of all of them.

    A subclass sets ``signal`` and computes the loss of one pair in ``compare``.

    Parameters
    ----------
    layers
        ``uniform`` (the default), ``last``, ``skip``, or pairs of a student and a teacher layer; see
        :mod:`potstill.objectives.layer_maps`.

    Attributes
    ----------
    signal
        What is compared: "hidden", "attention" or "qkv".
    pairs
        By teacher, the pairs of layers; known after ``bind``.
    """

    signal: ClassVar[str]

    def __init__(self, layers: Any = DEFAULT_LAYERS):
        super().__init__()
        self.layers = checked_layers(self.name, layers)
        self.pairs: dict[str, Pairs] = {}

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo]) -> Requests:
        """Choose the pairs of layers.

        Raises
        ------
        UserError
            If the layer map does not fit the depths of the models.
        """
        self.pairs = {name: layer_pairs(self.name, self.layers, student, info) for name, info in teachers.items()}
        own = {pair[0] for pairs in self.pairs.values() for pair in pairs}
        theirs = {name: {pair[1] for pair in pairs} for name, pairs in self.pairs.items()}
        return Requests(self._request(own), {name: self._request(layers) for name, layers in theirs.items()})

    def _request(self, layers: set[int]) -> Request:
        layers_of: dict[str, Any] = {self.signal: tuple(sorted(layers))}
        return Request(**layers_of)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """``[B]``; 0 for a window in which the models have no token in common."""
        losses: list[Tensor] = []
        for name, pairs in self.pairs.items():
            output = inputs.teachers[name]
            students, teachers = getattr(inputs.student, self.signal), getattr(output, self.signal)
            counts = _count(students[pairs[0][0]]), _count(teachers[pairs[0][1]])
            tokens = CommonTokens.of(self.name, inputs, output, counts)
            for own, theirs in pairs:
                losses.append(self.compare(students[own], teachers[theirs], tokens, len(losses)))
        return torch.stack(losses).mean(dim=0)

    def compare(self, student: Any, teacher: Any, tokens: CommonTokens, place: int) -> Tensor:
        """The loss ``[B]`` of one pair of layers, the ``place``-th of all; arguments by layer as in ``Output``."""
        raise NotImplementedError


def _count(value: Tensor | Qkv) -> int:
    """Tokens of a layer's states, map, or queries."""
    return (value.query if isinstance(value, Qkv) else value).shape[-2]


def chosen(term: str, option: str, value: Any, known: tuple[str, ...]) -> str:
    """An option that is one of a few names; raises UserError for any other value."""
    if not isinstance(value, str) or value not in known:
        raise UserError(
            f"objective.terms.{term}.{option}: {value!r}; expected {' or '.join(known)}.", key="objective.bad_option"
        )
    return value
