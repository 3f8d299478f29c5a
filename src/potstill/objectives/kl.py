"""Kullback-Leibler divergence from the teacher's next-token distribution to the student's."""

from __future__ import annotations

from torch import Tensor

from potstill.objectives.divergence import Divergence, kl_of


class Kl(Divergence):
    """KL(p ‖ q): penalises a student that gives low probability to tokens likely under the teacher.

    Parameters
    ----------
    temperature
        Divides all logits; default: the objective's.

    Requirements
    ------------
    Teacher: ``logits``, all of them or the K largest of a label store. Batch: Tokens.

    References
    ----------
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> import torch
    >>> from potstill.objectives.tokens import TokenInputs
    >>> logits = torch.tensor([[0.0, 1.0, 2.0]])
    >>> term = Kl(temperature=2.0)
    >>> float(term.per_token(TokenInputs(logits, logits, torch.tensor([2]))))  # equal distributions
    0.0
    """

    name = "kl"

    def divergence(self, teacher: Tensor, student: Tensor) -> Tensor:
        """``[n]``."""
        return kl_of(teacher, student)
