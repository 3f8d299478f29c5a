"""Log-probabilities of answer tokens, computed in chunks because the logits of a whole batch take too much memory.

Shapes: N answer tokens of a batch, n tokens of a chunk, D width of the states, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.types import Logits


def log_probabilities(logits: Logits, rows: slice, width: int | None = None) -> Tensor:
    """Log-probabilities of the next token at some of the N positions.

    Parameters
    ----------
    logits
        ``states [N, D]`` and the output layer.
    rows
        Which of the N positions.
    width
        Use only the first ``width`` of the V tokens (an output layer may be wider than its tokenizer); default: all.

    Returns
    -------
    Tensor
        ``[n, width]`` fp32.
    """
    device = logits.states.device.type
    with torch.autocast(device, logits.precision, enabled=logits.precision is not None):
        projected = logits.head(logits.states[rows])
    return projected[:, :width].float().log_softmax(dim=1)
