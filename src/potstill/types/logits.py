"""Logits of the answer tokens: projected from hidden states a few rows at a time, or the largest K as stored.

Shapes: N answer tokens of the whole batch (row by row), n tokens of a chunk, D width, V vocabulary, K logits kept per
token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Logits:
    """Logits of the next token at N positions, not yet projected, because all of them would take too much memory.

    Attributes
    ----------
    states
        ``[N, D]``: the inputs of the output layer.
    head
        Maps states ``[n, D]`` to logits ``[n, V]``; an ``nn.Module`` if its weights are trained.
    precision
        Data type of the projection, by autocast; None: that of the weights.
    """

    states: Tensor
    head: Callable[[Tensor], Tensor]
    precision: Any = None

    def __len__(self) -> int:
        return len(self.states)


LOGITS_OF_A_CHUNK = 2**23  # 32 MB in fp32, the largest block that malloc reuses


def chunks(count: int, vocabulary: int) -> Iterator[slice]:
    """Slices of ``count`` rows, each with at most about ``LOGITS_OF_A_CHUNK`` logits."""
    rows = max(16, LOGITS_OF_A_CHUNK // vocabulary)
    return (slice(first, first + rows) for first in range(0, count, rows))


@dataclass
class TopLogits:
    """The K largest logits at each of N positions, as in a label store.

    Attributes
    ----------
    indices
        ``[N, K]`` int64: token ids.
    logits
        ``[N, K]`` float32.
    log_sum_exp
        ``[N]`` float32, of all V logits divided by ``temperature``.
    temperature
        The temperature of ``log_sum_exp``.
    others
        ``[N]`` float32: logarithm of the probability of the other V − K tokens at ``temperature``; NaN where a store
        does not have it. None: nowhere known. What the kept logits leave of 1 is too inexact if they are rounded.
    """

    indices: Tensor
    logits: Tensor
    log_sum_exp: Tensor
    temperature: float
    others: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)


def log_sum_exp_of_others(logits: Tensor, indices: Tensor) -> Tensor:
    """``[n]``: log-sum-exp over the logits ``[n, V]`` of all tokens but those of ``indices [n, K]``; −inf if K = V."""
    return logits.scatter(1, indices, -math.inf).logsumexp(dim=1)
