"""The base class of token terms and their inputs: logits of answer tokens, and the outcomes that are compared.

Shapes: n answer tokens, V vocabulary, K kept logits, O outcomes (V, or K + 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.base import Term, Unit
from potstill.types import TopLogits

_LOG_ZERO = -1e4  # in place of log(0) = −inf, which would make 0 · inf


@dataclass
class TokenInputs:
    """The inputs of a token term: fp32 logits of student and teacher at some answer tokens, and the true tokens.

    ``student [n, V]``; ``teacher [n, V]``, or the K largest of a label store, or None; ``targets [n]``.
    """

    student: Tensor
    teacher: Tensor | TopLogits | None
    targets: Tensor
    _pairs: dict[float, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def log_probabilities(self, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``[n, O]`` of teacher and student over the same outcomes."""
        if temperature not in self._pairs:  # computed once for several terms
            assert self.teacher is not None, "a divergence needs a teacher or its labels"
            if isinstance(self.teacher, Tensor):
                self._pairs[temperature] = _over_all(self.student, self.teacher, temperature)
            else:
                self._pairs[temperature] = _over_kept(self.student, self.teacher, temperature)
        return self._pairs[temperature]


def _over_all(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return (teacher / temperature).log_softmax(dim=1), (student / temperature).log_softmax(dim=1)


def _over_kept(student: Tensor, teacher: TopLogits, temperature: float) -> tuple[Tensor, Tensor]:
    """Over the K tokens in the label store, and all other tokens as one outcome."""
    if abs(teacher.temperature - temperature) > 1e-6:
        raise UserError(
            f"labels: were made at temperature {teacher.temperature:g}, but the objective uses {temperature:g};"
            f" write objective.temperature: {teacher.temperature:g}, or label again.",
            key="labels.other_temperature",
        )
    known = teacher.logits / temperature - teacher.log_sum_exp[:, None]
    rest = (1 - known.exp().sum(dim=1, keepdim=True)).clamp(min=0).log().clamp(min=_LOG_ZERO)
    scaled = student / temperature
    kept = scaled.gather(1, teacher.indices)
    others = scaled.scatter(1, teacher.indices, -torch.inf).logsumexp(dim=1, keepdim=True)
    outcomes = torch.cat([kept, others], dim=1)
    return torch.cat([known, rest], dim=1), outcomes.log_softmax(dim=1)


class TokenTerm(Term):
    """A term of language models: a loss per answer token, computed a few rows of logits at a time."""

    averages: ClassVar[Unit] = "tokens"
    task = "language"

    def per_token(self, inputs: TokenInputs) -> Tensor:
        """``[n]``."""
        raise NotImplementedError
