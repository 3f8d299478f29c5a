"""The base class of divergences between the next-token distributions of teacher and student.

All are computed at a temperature T and multiplied by T², so that their gradients keep their size (Hinton et al.,
"Distilling the Knowledge in a Neural Network", 2015).

Shapes: n answer tokens, O outcomes (the vocabulary, or the stored tokens and all others as one).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.checks import positive
from potstill.objectives.tokens import TokenInputs, TokenTerm


class Divergence(TokenTerm):
    """A divergence between teacher p and student q at a temperature.

    Parameters
    ----------
    temperature
        Divides all logits; default: the objective's.
    """

    requires = frozenset({"logits"})
    tempered: ClassVar[bool] = True

    def __init__(self, temperature: float = 2.0):
        self.temperature = positive(self.name, "temperature", temperature)

    def per_token(self, inputs: TokenInputs) -> Tensor:
        """``[n]``, in nats times T²."""
        return self.divergence(*inputs.log_probabilities(self.temperature)) * self.temperature**2

    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """The divergence ``[n]`` of log-probabilities ``[n, O]``."""
        raise NotImplementedError


def kl_of(first: Tensor, second: Tensor) -> Tensor:
    """KL(first ‖ second) ``[n]`` from log-probabilities ``[n, O]``."""
    return (first.exp() * (first - second)).sum(dim=1)


def mixed(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Logarithm of ``share`` · first + (1 − ``share``) · second, of log-probabilities ``[n, O]``."""
    log_shares = first.new_tensor([share, 1 - share]).log()
    return torch.logaddexp(first + log_shares[0], second + log_shares[1])


def check_share(name: str, value: float) -> float:
    """A number strictly between 0 and 1; raises UserError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise UserError(
            f"objective.terms.{name}: {value!r}; expected a number strictly between 0 and 1.", key="objective.bad_share"
        )
    return float(value)
