"""Distance between hidden states of student and teacher, through a learned projection where their widths differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from potstill.objectives.base import Requests
from potstill.objectives.common_tokens import CommonTokens
from potstill.objectives.layer_maps import DEFAULT_LAYERS
from potstill.objectives.layer_pairs import LayerPairTerm, chosen
from potstill.types import ModelInfo

DISTANCES = ("mse", "cosine")
_EPS = 1e-6  # added to a mean square, of states that are about 1


class HiddenStates(LayerPairTerm, nn.Module):
    """Distance between the hidden states of layer pairs, averaged over tokens that both models have.

    States of residual streams cannot be compared as they are. They grow with depth (three- to fourfold between the
    first and the last layer of our Chronos-2 teachers), and all tokens have much in common: the cosine of any two
    states is about 0.8, so that a constant would explain most of a squared distance. Therefore every state is divided
    by its root mean square over the features, as in the norm through which a layer reads it, and the mean over the
    window's tokens is subtracted. The loss has no unit, and all layers weigh the same.

    ``mse``: the centred states z of a window are divided by their root mean square over tokens and features; the loss
    is the mean of (z − z_teacher)², which is 2 − 2 · correlation. ``cosine``: 1 − cosine similarity of z and z_teacher,
    where every token weighs the same.

    Where ``d_model`` differs, each pair of layers has a linear projection from the student's width to the teacher's,
    before centring. It is trained and checkpointed with the student, and not saved with it. Tokens of different patches
    are averaged by time; see :mod:`potstill.objectives.common_tokens`.

    Parameters
    ----------
    layers
        See :mod:`potstill.objectives.layer_maps`.
    distance
        ``mse`` or ``cosine``.

    Requirements
    ------------
    Student and teacher: ``hidden``. Batch: Windows or Tokens.

    References
    ----------
    Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015 (a regressor from the student's width); Sun et al.,
    "Patient Knowledge Distillation", EMNLP 2019 (squared distance of normalised states); Jiao et al., "TinyBERT", 2020
    (a linear projection for each token); Sanh et al., "DistilBERT", 2019 (cosine); Mu and Viswanath, "All-but-the-Top",
    ICLR 2018 (subtracting what all states have in common).

    Examples
    --------
    >>> import torch
    >>> from potstill.objectives.base import LossInputs
    >>> from potstill.types import Forecast, Output, Windows
    >>> model = ModelInfo("model", "toy", 1, 1, layers=1, width=2, heads=1)
    >>> term = HiddenStates()
    >>> requests = term.bind(model, {"teacher": model})
    >>> forecast = Forecast(*[torch.zeros(1, 1)] * 4)
    >>> student = Output(forecast, hidden={0: torch.tensor([[[1.0, 1.0], [3.0, -3.0]]])})  # centred: (0, ±1)
    >>> teacher = Output(forecast, hidden={0: torch.tensor([[[1.0, 1.0], [-1.0, 1.0]]])})  # centred: (±1, 0)
    >>> term(LossInputs(Windows.of_context(torch.zeros(1, 2), 1), student, {"teacher": teacher}))  # not correlated
    tensor([2.0000])
    """

    name = "hidden_states"
    requires = frozenset({"hidden"})
    signal = "hidden"

    def __init__(self, layers: Any = DEFAULT_LAYERS, distance: str = "mse"):
        super().__init__(layers)
        self.distance = chosen(self.name, "distance", distance, DISTANCES)
        self.projections = nn.ModuleList()

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo]) -> Requests:
        """Choose the pairs of layers and create their projections."""
        requests = super().bind(student, teachers)
        for name, pairs in self.pairs.items():
            own, theirs = student.width, teachers[name].width
            # centring would remove a bias
            self.projections.extend(
                nn.Identity() if own == theirs else nn.Linear(own, theirs, bias=False) for _ in pairs
            )
        return requests

    def compare(self, student: Tensor, teacher: Tensor, tokens: CommonTokens, place: int) -> Tensor:
        """``[B]`` from states ``[B, T, D]``."""
        own = tokens.centred(self.projections[place](normalised(tokens.student.pooled(student))))
        theirs = tokens.centred(normalised(tokens.teacher.pooled(teacher)))
        if self.distance == "cosine":
            own, theirs = nn.functional.normalize(own, dim=2), nn.functional.normalize(theirs, dim=2)
            return tokens.mean((own - theirs).square().sum(dim=2) / 2)
        return tokens.mean((_scaled(own, tokens) - _scaled(theirs, tokens)).square().mean(dim=2))


def normalised(states: Tensor) -> Tensor:
    """States ``[B, G, D]`` divided by their root mean square over the features."""
    return nn.functional.rms_norm(states, states.shape[-1:], eps=_EPS)


def _scaled(centred: Tensor, tokens: CommonTokens) -> Tensor:
    """Centred states ``[B, G, D]`` divided by their root mean square over the window."""
    return centred * (tokens.mean(centred.square().mean(dim=2)) + _EPS).rsqrt()[:, None, None]
