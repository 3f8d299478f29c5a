"""Terms on the next token's distribution, for language models.

Each compares the student's logits at the answer tokens with the teacher's, all of them or the largest K with the rest
as one outcome, or with the token that followed. Divergences are taken at a temperature T and multiplied by T², so that
their gradients keep their size (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).

Shapes: n answer tokens, V vocabulary, K kept logits, O outcomes compared (V, or K + 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.objectives.base import Term
from potstill.types import TopLogits

_NEVER = -1e4  # the logarithm of a probability of nothing, where −inf would make 0 · inf


@dataclass
class Places:
    """Some answer tokens: logits of student and teacher, fp32, and what followed.

    ``student [n, V]``, ``teacher [n, V]`` or the kept ones or None, ``targets [n]``.
    """

    student: Tensor
    teacher: Tensor | TopLogits | None
    targets: Tensor
    _compared: dict[float, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def compared(self, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``[n, O]`` of teacher and student over the same outcomes."""
        if temperature not in self._compared:  # several terms may ask
            assert self.teacher is not None, "a divergence needs a teacher or its labels"
            if isinstance(self.teacher, Tensor):
                self._compared[temperature] = _over_all(self.student, self.teacher, temperature)
            else:
                self._compared[temperature] = _over_kept(self.student, self.teacher, temperature)
        return self._compared[temperature]


def _over_all(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return (teacher / temperature).log_softmax(dim=1), (student / temperature).log_softmax(dim=1)


def _over_kept(student: Tensor, teacher: TopLogits, temperature: float) -> tuple[Tensor, Tensor]:
    """Over the K tokens that the teacher's labels hold, and all others as one outcome."""
    if abs(teacher.temperature - temperature) > 1e-6:
        raise UserError(
            f"labels: were made at temperature {teacher.temperature:g}, the objective compares at {temperature:g};"
            f" write objective.temperature: {teacher.temperature:g}, or label again."
        )
    known = teacher.logits / temperature - teacher.log_sum_exp[:, None]
    rest = (1 - known.exp().sum(dim=1, keepdim=True)).clamp(min=0).log().clamp(min=_NEVER)
    scaled = student / temperature
    kept = scaled.gather(1, teacher.indices)
    others = scaled.scatter(1, teacher.indices, -torch.inf).logsumexp(dim=1, keepdim=True)
    outcomes = torch.cat([kept, others], dim=1)
    return torch.cat([known, rest], dim=1), outcomes.log_softmax(dim=1)


class TokenTerm(Term):
    """A term of language models: a loss per answer token."""

    def per_token(self, places: Places) -> Tensor:
        """``[n]``."""
        raise NotImplementedError


class CrossEntropy(TokenTerm):
    """Negative log-probability of the token that followed."""

    name = "cross_entropy"

    def per_token(self, places: Places) -> Tensor:
        """``[n]``, in nats."""
        return nn.functional.cross_entropy(places.student, places.targets, reduction="none")


class _Divergence(TokenTerm):
    """A divergence between teacher p and student q at a temperature.

    Parameters
    ----------
    temperature
        Divides all logits; default: the objective's.
    """

    needs = frozenset({"logits"})
    tempered: ClassVar[bool] = True

    def __init__(self, temperature: float = 2.0):
        number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if not number or not 0 < temperature < float("inf"):
            raise UserError(f"objective.terms.{self.name}.temperature: {temperature!r}; expected a number above 0.")
        self.temperature = float(temperature)

    def per_token(self, places: Places) -> Tensor:
        """``[n]``, in nats times T²."""
        return self.between(*places.compared(self.temperature)) * self.temperature**2

    def between(self, teacher: Tensor, student: Tensor) -> Tensor:
        """The divergence ``[n]`` of log-probabilities ``[n, O]``."""
        raise NotImplementedError


class Kl(_Divergence):
    """KL(p ‖ q): the student must cover whatever the teacher finds likely."""

    name = "kl"

    def between(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        return _kl(teacher, student)


class ReverseKl(_Divergence):
    """KL(q ‖ p): the student must not say what the teacher finds unlikely (Gu et al., "MiniLLM", 2024)."""

    name = "reverse_kl"

    def between(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        return _kl(student, teacher)


class Jsd(_Divergence):
    """Generalised Jensen–Shannon divergence: β · KL(p ‖ m) + (1 − β) · KL(q ‖ m) with m = β · p + (1 − β) · q.

    Agarwal et al., "On-Policy Distillation of Language Models", 2024, equation 1.

    Parameters
    ----------
    beta
        Share of the teacher in the mixture, between 0 and 1 exclusive.
    """

    name = "jsd"

    def __init__(self, beta: float = 0.5, temperature: float = 2.0):
        super().__init__(temperature)
        self.beta = _share("jsd.beta", beta)

    def between(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        mixed = _mixed(teacher, student, self.beta)
        return self.beta * _kl(teacher, mixed) + (1 - self.beta) * _kl(student, mixed)


class SkewKl(_Divergence):
    """KL(p ‖ λ · p + (1 − λ) · q), which stays finite where q has no mass (Ko et al., "DistiLLM", 2024).

    Parameters
    ----------
    skew
        λ, the share of the teacher in what it is compared with.
    """

    name = "skew_kl"

    def __init__(self, skew: float = 0.1, temperature: float = 2.0):
        super().__init__(temperature)
        self.skew = _share("skew_kl.skew", skew)

    def between(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        return _kl(teacher, _mixed(teacher, student, self.skew))


def _kl(first: Tensor, second: Tensor) -> Tensor:
    return (first.exp() * (first - second)).sum(dim=1)


def _mixed(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Logarithm of ``share`` · first + (1 − ``share``) · second."""
    edges = first.new_tensor([share, 1 - share]).log()
    return torch.logaddexp(first + edges[0], second + edges[1])


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise UserError(f"objective.terms.{name}: {value!r}; expected a number between 0 and 1, without either.")
    return float(value)
