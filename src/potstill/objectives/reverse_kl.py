"""Reverse Kullback-Leibler divergence, from the student's next-token distribution to the teacher's."""

from __future__ import annotations

from torch import Tensor

from potstill.objectives.divergence import Divergence, kl_of


class ReverseKl(Divergence):
    """KL(q ‖ p): penalises a student that gives high probability to tokens unlikely under the teacher.

    Parameters
    ----------
    temperature
        Divides all logits; default: the objective's.

    Requirements
    ------------
    Teacher: ``logits``, all of them or the K largest of a label store. Batch: Tokens.

    References
    ----------
    Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", ICLR 2024.

    Examples
    --------
    >>> import torch
    >>> from potstill.objectives.tokens import TokenInputs
    >>> logits = torch.tensor([[0.0, 1.0, 2.0]])
    >>> term = ReverseKl(temperature=2.0)
    >>> float(term.per_token(TokenInputs(logits, logits, torch.tensor([2]))))  # equal distributions
    0.0
    """

    name = "reverse_kl"

    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        return kl_of(student, teacher)
