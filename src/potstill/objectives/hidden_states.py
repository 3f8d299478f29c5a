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
_EPS = 1e-6  # added to the mean square of a state


class HiddenStates(LayerPairTerm, nn.Module):
    """Distance between the hidden states of layer pairs, averaged over tokens that both models have.

    Residual streams grow with depth (in the embedded teacher threefold from the first layer to the last), and a layer
    reads them through a norm. So every state is divided by its root mean square over the features, as in RMSNorm; the
    loss has no unit, and all layers weigh the same. ``mse`` is the mean squared difference per feature, ``cosine`` is
    1 − cosine similarity. For states of one width, ``mse`` = 2 · ``cosine``.

    Where ``d_model`` differs, each pair has a linear projection from the student's width to the teacher's, trained and
    checkpointed with the student, and not saved with it. Tokens of different patches are averaged by time; see
    :mod:`potstill.objectives.common_tokens`.

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
    (a linear projection for each token); Sanh et al., "DistilBERT", 2019 (cosine).

    Examples
    --------
    >>> import torch
    >>> from potstill.objectives.base import LossInputs
    >>> from potstill.types import Forecast, Output, Windows
    >>> model = ModelInfo("model", "toy", 1, 1, layers=1, width=2, heads=1)
    >>> term = HiddenStates()
    >>> requests = term.bind(model, {"teacher": model})
    >>> forecast = Forecast(*[torch.zeros(1, 1)] * 4)
    >>> student = Output(forecast, hidden={0: torch.tensor([[[0.0, 5.0], [3.0, 0.0]]])})
    >>> teacher = Output(forecast, hidden={0: torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])})
    >>> term(LossInputs(Windows.of_context(torch.zeros(1, 2), 1), student, {"teacher": teacher}))  # (0 + 2) / 2
    tensor([1.0000])
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
            width = teachers[name].width
            same = width == student.width
            self.projections.extend(nn.Identity() if same else nn.Linear(student.width, width) for _ in pairs)
        return requests

    def compare(self, student: Tensor, teacher: Tensor, tokens: CommonTokens, place: int) -> Tensor:
        """``[B]`` from states ``[B, T, D]``."""
        own = self.projections[place](normalised(tokens.student.pooled(student)))
        theirs = normalised(tokens.teacher.pooled(teacher))
        if self.distance == "cosine":
            return tokens.mean(1 - nn.functional.cosine_similarity(own, theirs, dim=2))
        return tokens.mean((own - theirs).square().mean(dim=2))


def normalised(states: Tensor) -> Tensor:
    """States ``[B, G, D]`` divided by their root mean square over the features."""
    return nn.functional.rms_norm(states, states.shape[-1:], eps=_EPS)
