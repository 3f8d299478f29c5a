"""Skew Kullback-Leibler divergence: the student is first mixed with a small share of the teacher."""

from __future__ import annotations

from torch import Tensor

from potstill.objectives.divergence import Divergence, check_share, kl_of, mixed


class SkewKl(Divergence):
    """KL(p ‖ λ · p + (1 − λ) · q), which stays finite where q has no mass.

    Parameters
    ----------
    skew
        λ, the share of the teacher in the mixture.
    temperature
        Divides all logits; default: the objective's.

    Requirements
    ------------
    Teacher: ``logits``, all of them or the K largest of a label store. Batch: Tokens.

    References
    ----------
    Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models", ICML 2024.

    Examples
    --------
    >>> import torch
    >>> from potstill.objectives.tokens import TokenInputs
    >>> logits = torch.tensor([[0.0, 1.0, 2.0]])
    >>> term = SkewKl(skew=0.1)
    >>> abs(round(float(term.per_token(TokenInputs(logits, logits, torch.tensor([2])))), 5))  # equal distributions
    0.0
    """

    name = "skew_kl"

    def __init__(self, skew: float = 0.1, temperature: float = 2.0):
        super().__init__(temperature)
        self.skew = check_share("skew_kl.skew", skew)

    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        return kl_of(teacher, mixed(teacher, student, self.skew))
