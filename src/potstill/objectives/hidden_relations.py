"""Similarities between the tokens of a window, compared between student and teacher; no projection is needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from potstill.objectives.common_tokens import CommonTokens
from potstill.objectives.hidden_states import normalised
from potstill.objectives.layer_maps import DEFAULT_LAYERS
from potstill.objectives.layer_pairs import LayerPairTerm, chosen
from potstill.objectives.relations import kl_of_rows, mean_of_rows, scores

DISTANCES = ("mse", "kl")
TEMPERATURE = 0.1  # divides the cosines before a softmax, in both models, whatever their widths


class HiddenRelations(LayerPairTerm):
    """Difference between the similarities of tokens within a window, for layer pairs of any widths.

    The relation of two tokens is the cosine of their states, which are divided by their root mean square and centred on
    the mean of the window first, as in ``hidden_states``. Without centring, cosines are about 0.8 whatever the tokens;
    with it they are 0 ± 0.5. Every token is compared with all other tokens of its window.

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
        own, theirs = (
            nn.functional.normalize(tokens.centred(normalised(side.pooled(states))), dim=2)[:, None]
            for side, states in ((tokens.student, student), (tokens.teacher, teacher))
        )
        others = tokens.visible & ~torch.eye(own.shape[2], dtype=torch.bool, device=own.device)
        if self.distance == "kl":
            rows = (scores(x, x, others, 1 / TEMPERATURE) for x in (theirs, own))
            return tokens.mean(kl_of_rows(*rows))
        return tokens.mean(mean_of_rows((own @ own.mT - theirs @ theirs.mT).square(), others))
