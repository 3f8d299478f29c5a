"""KL divergence between the attention maps of student and teacher."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.base import Requests
from potstill.objectives.common_tokens import CommonTokens
from potstill.objectives.layer_pairs import LayerPairTerm
from potstill.types import ModelInfo


class AttentionMaps(LayerPairTerm):
    """KL(teacher ‖ student) between the attention maps of layer pairs, head by head, averaged over heads and tokens.

    Where the models' patches differ, a query's weights are summed over the keys of a cell of the common grid and
    averaged over the queries of a cell; see :mod:`potstill.objectives.common_tokens`.

    Parameters
    ----------
    layers
        See :mod:`potstill.objectives.layer_maps`.

    Requirements
    ------------
    Student and teacher: ``attention``, with the same number of heads; ``attention_relations`` has no such condition.
    Batch: Windows or Tokens. A language model runs with eager attention. Memory is quadratic in the tokens.

    References
    ----------
    Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers",
    NeurIPS 2020; Jiao et al., "TinyBERT", EMNLP Findings 2020.

    Examples
    --------
    >>> from potstill.objectives.base import LossInputs
    >>> from potstill.types import Forecast, Output, Windows
    >>> model = ModelInfo("model", "toy", 1, 1, layers=1, width=2, heads=1)
    >>> term = AttentionMaps()
    >>> requests = term.bind(model, {"teacher": model})
    >>> forecast = Forecast(*[torch.zeros(1, 1)] * 4)
    >>> student = Output(forecast, attention={0: torch.tensor([[[[0.5, 0.5], [0.5, 0.5]]]])})
    >>> teacher = Output(forecast, attention={0: torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]])})
    >>> term(LossInputs(Windows.of_context(torch.zeros(1, 2), 1), student, {"teacher": teacher}))  # (log 2 + 0) / 2
    tensor([0.3466])
    """

    name = "attention_maps"
    requires = frozenset({"attention"})
    signal = "attention"

    def bind(self, student: ModelInfo, teachers: Mapping[str, ModelInfo]) -> Requests:
        """Choose the pairs of layers; raises UserError if the numbers of heads differ."""
        for teacher in teachers.values():
            if teacher.heads != student.heads:
                raise UserError(
                    f"objective.terms.{self.name}: {student.name} has {student.heads} attention heads and"
                    f" {teacher.name} {teacher.heads}; use attention_relations, which works for any number of heads, or"
                    f" a student with {teacher.heads} heads.",
                    key="objective.heads_differ",
                )
        return super().bind(student, teachers)

    def compare(self, student: Tensor, teacher: Tensor, tokens: CommonTokens, place: int) -> Tensor:
        """``[B]`` from maps ``[B, A, T, T]``."""
        own, theirs = tokens.student.pooled_map(student), tokens.teacher.pooled_map(teacher)
        own, theirs = (_distributions(weights, tokens) for weights in (own, theirs))
        return tokens.mean((theirs * (_log(theirs) - _log(own))).sum(dim=3).mean(dim=1))


def _distributions(weights: Tensor, tokens: CommonTokens) -> Tensor:
    """Rows over the known cells that sum to 1; other cells, and tokens outside the grid, may have had a share."""
    weights = torch.where(tokens.visible, weights, 0.0)
    return weights / weights.sum(dim=3, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def _log(weights: Tensor) -> Tensor:
    return weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
