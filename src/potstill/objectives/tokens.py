"""The base class of token terms and their inputs: logits of answer tokens, and the outcomes that are compared.

Shapes: n answer tokens, V vocabulary, K kept logits, O outcomes (V, or K + 1 if K < V).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.base import Term, Unit
from potstill.types import TopLogits, log_sum_exp_of_others

_LOG_ZERO = -1e4  # in place of log(0) = −inf, which would make 0 · inf
_HALF = 2.0**-11  # largest relative error of a number in half precision
_SINGLE = 2.0**-20  # error of a sum of probabilities in float32


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
    """Over the K tokens in the label store, and all other tokens as one outcome; without others over the V tokens."""
    if abs(teacher.temperature - temperature) > 1e-6:
        raise UserError(
            f"labels: were made at temperature {teacher.temperature:g}, but the objective uses {temperature:g};"
            f" write objective.temperature: {teacher.temperature:g}, or label again.",
            key="labels.other_temperature",
        )
    known = teacher.logits / temperature - teacher.log_sum_exp[:, None]
    scaled = student / temperature
    kept = scaled.gather(1, teacher.indices)
    if kept.shape[1] < scaled.shape[1]:
        known = torch.cat([known, _log_others(teacher, known)[:, None]], dim=1)
        kept = torch.cat([kept, log_sum_exp_of_others(scaled, teacher.indices)[:, None]], dim=1)
    return known.log_softmax(dim=1), kept.log_softmax(dim=1)  # rounded logits do not add up to exactly 1


def _log_others(teacher: TopLogits, known: Tensor) -> Tensor:
    """Logarithm ``[n]`` of the teacher's probability of all tokens that are not kept."""
    exact = torch.full_like(known[:, 0], torch.nan) if teacher.others is None else teacher.others
    return torch.where(exact.isnan(), _estimated_others(teacher, known), exact).clamp(min=_LOG_ZERO)


def _estimated_others(teacher: TopLogits, known: Tensor) -> Tensor:
    """What the kept tokens leave of 1, at least the error of their sum: for stores made before it was stored.

    Logits are rounded to half precision, relative to the largest. Their errors are independent, evenly distributed and
    at most 2⁻¹¹ of the logit z. So the root mean square error of the sum of the probabilities p is
    ``√(Σ (p · z / T · 2⁻¹¹)² / 3)``, about 1e-5 for confident tokens. If less than that is left, it is noise, which can
    also be negative.
    """
    shares, relative = known.exp(), teacher.logits - teacher.logits.amax(dim=1, keepdim=True)
    error = (shares * relative / teacher.temperature * _HALF).square().sum(dim=1).div(3).sqrt() + _SINGLE
    return torch.maximum(1 - shares.sum(dim=1), error).log()


class TokenTerm(Term):
    """A term of language models: a loss per answer token, computed a few rows of logits at a time."""

    averages: ClassVar[Unit] = "tokens"
    task = "language"

    def per_token(self, inputs: TokenInputs) -> Tensor:
        """``[n]``."""
        raise NotImplementedError
