"""Similarities between the tokens of a window, compared between student and teacher; no projection is needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from potstill.objectives.common_tokens import CommonTokens
from potstill.objectives.hidden_states import normalised
from potstill.objectives.layer_maps import DEFAULT_LAYERS
from potstill.objectives.layer_pairs import LayerPairTerm, chosen
from potstill.objectives.relations import kl_of_rows, mean_of_rows

DISTANCES = ("mse", "kl")
TEMPERATURE = 0.1  # divides the cosines before a softmax, in both models, whatever their widths


class HiddenRelations(LayerPairTerm):
    """Difference between the similarities of tokens within a window, for layer pairs of any widths.

    The relation of two tokens is the cosine of their states, which are divided by their root mean square and centred on
    the mean of the window first, as in ``hidden_states``: the cosines of the embedded teacher's states are 0.88 ± 0.07
    without centring and 0.01 ± 0.46 with it. Every token is compared with all other tokens of its window.

    ``mse`` is the mean squared difference of the cosines. ``kl`` is KL(teacher ‖ student) between softmaxes of the
    cosines divided by 0.1: nearby tokens weigh more.

    Parameters
    ----------
    layers
        See :mod:`potstill.objectives.layer_maps`.
    distance
        ``mse`` or ``kl``.

    Requirements
    ------------
    Student and teacher: ``hidden``, of any widths. Batch: Windows or Tokens. Memory is quadratic in the tokens.

    References
    ----------
    Park et al., "Relational Knowledge Distillation", CVPR 2019; Tung and Mori, "Similarity-Preserving Knowledge
    Distillation", ICCV 2019; Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019 (why
    to centre).

    Examples
    --------
    >>> from potstill.objectives.base import LossInputs
    >>> from potstill.types import Forecast, ModelInfo, Output, Windows
    >>> def model(width):
    ...     return ModelInfo("model", "toy", 1, 1, layers=1, width=width, heads=1)
    >>> term = HiddenRelations()
    >>> requests = term.bind(model(2), {"teacher": model(1)})
    >>> forecast = Forecast(*[torch.zeros(1, 1)] * 4)
    >>> student = Output(forecast, hidden={0: torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])})
    >>> teacher = Output(forecast, hidden={0: torch.tensor([[[2.0], [2.0]]])})  # no differences
    >>> term(LossInputs(Windows.of_context(torch.zeros(1, 2), 1), student, {"teacher": teacher}))  # (−1 − 0)²
    tensor([1.0000])
    """

    name = "hidden_relations"
    requires = frozenset({"hidden"})
    signal = "hidden"

    def __init__(self, layers: Any = DEFAULT_LAYERS, distance: str = "mse"):
        super().__init__(layers)
        self.distance = chosen(self.name, "distance", distance, DISTANCES)

    def compare(self, student: Tensor, teacher: Tensor, tokens: CommonTokens, place: int) -> Tensor:
        """``[B]`` from states ``[B, T, D]``."""
        own, theirs = cosines(tokens.student.pooled(student), tokens), cosines(tokens.teacher.pooled(teacher), tokens)
        others = tokens.visible & ~torch.eye(own.shape[3], dtype=torch.bool, device=own.device)
        if self.distance == "kl":
            return tokens.mean(kl_of_rows(theirs / TEMPERATURE, own / TEMPERATURE, others))
        return tokens.mean(mean_of_rows((own - theirs).square(), others))


def cosines(states: Tensor, tokens: CommonTokens) -> Tensor:
    """Cosines ``[B, 1, G, G]`` between the states ``[B, G, D]`` of a window, centred on their mean."""
    states = nn.functional.normalize(tokens.centred(normalised(states)), dim=2)
    return (states @ states.mT)[:, None]
