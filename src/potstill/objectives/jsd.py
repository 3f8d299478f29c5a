"""Generalised Jensen-Shannon divergence between the next-token distributions of teacher and student."""

from __future__ import annotations

from torch import Tensor

from potstill.objectives.divergence import Divergence, check_share, kl_of, mixed


class Jsd(Divergence):
    """β · KL(p ‖ m) + (1 − β) · KL(q ‖ m) with m = β · p + (1 − β) · q: between KL and reverse KL.

    Parameters
    ----------
    beta
        Share of the teacher in the mixture, strictly between 0 and 1.
    temperature
        Divides all logits; default: the objective's.

    Requirements
    ------------
    Teacher: ``logits``, all of them or the K largest of a label store. Batch: Tokens.

    References
    ----------
    Agarwal et al., "On-Policy Distillation of Language Models", ICLR 2024, equation 1.

    Examples
    --------
    >>> import torch
    >>> from potstill.objectives.tokens import TokenInputs
    >>> logits = torch.tensor([[0.0, 1.0, 2.0]])
    >>> term = Jsd(beta=0.5)
    >>> abs(round(float(term.per_token(TokenInputs(logits, logits, torch.tensor([2])))), 5))  # equal distributions
    0.0
    """

    name = "jsd"

    def __init__(self, beta: float = 0.5, temperature: float = 2.0):
        super().__init__(temperature)
        self.beta = check_share("jsd.beta", beta)

    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        middle = mixed(teacher, student, self.beta)
        return self.beta * kl_of(teacher, middle) + (1 - self.beta) * kl_of(student, middle)
