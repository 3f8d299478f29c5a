"""Cross-entropy with the next token: the usual loss of language models."""

from __future__ import annotations

from torch import Tensor, nn

from potstill.objectives.tokens import TokenInputs, TokenTerm


class CrossEntropy(TokenTerm):
    """Negative log-probability of the next token.

    Requirements
    ------------
    Teacher: none. Batch: Tokens.

    References
    ----------
    ``torch.nn.functional.cross_entropy``.

    Examples
    --------
    >>> import torch
    >>> logits = torch.zeros(1, 4)  # four equally likely tokens
    >>> round(float(CrossEntropy().per_token(TokenInputs(logits, None, torch.tensor([1])))), 4)
    1.3863
    """

    name = "cross_entropy"

    def per_token(self, inputs: TokenInputs) -> Tensor:
        """``[n]``, in nats."""
        return nn.functional.cross_entropy(inputs.student, inputs.targets, reduction="none")
