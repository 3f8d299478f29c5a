"""Answer tokens' logits as log-probabilities, some rows at a time: all of them together would fill the memory.

Shapes: N answer tokens of a batch, n of a chunk, D width of the states, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from potstill.types import Logits


def log_probabilities(logits: Logits, rows: slice, width: int | None = None) -> Tensor:
    """Of the next token at some of the N places.

    Parameters
    ----------
    logits
        ``states [N, D]`` and the output layer.
    rows
        Which of the N.
    width
        Only the first so many of the V tokens count (an output layer may be padded beyond its tokenizer); default: all.

    Returns
    -------
    Tensor
        ``[n, width]`` fp32.
    """
    device = logits.states.device.type
    with torch.autocast(device, logits.precision, enabled=logits.precision is not None):
        projected = logits.head(logits.states[rows])
    return projected[:, :width].float().log_softmax(dim=1)
