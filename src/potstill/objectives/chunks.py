"""Token terms computed a few rows at a time: peak memory grows with chunk × vocabulary, not with length × vocabulary.

Of each chunk the logits are projected, all terms taken, and the gradients with regard to states and output weights
formed at once, so that nothing of the size of the vocabulary outlives its chunk and nothing is computed twice.

Shapes: N answer tokens of the batch, n of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from potstill.objectives.tokens import Places, TokenTerm
from potstill.types import Logits, TopLogits, chunks


def token_losses(
    terms: Mapping[str, TokenTerm],
    weights: Mapping[str, float],
    student: Logits,
    teacher: Logits | TopLogits | None,
    targets: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean over the N answer tokens: the weighted total, and each term's own value without gradient."""
    head = student.head
    trained = [p for p in head.parameters() if p.requires_grad] if isinstance(head, nn.Module) else []
    total, values = _Chunked.apply(_Work(terms, weights, student, teacher, targets), student.states, *trained)
    return total, dict(zip(terms, values.unbind(), strict=True))


class _Work:
    """What is to be done with a batch, chunk by chunk."""

    def __init__(self, terms: Any, weights: Any, student: Logits, teacher: Any, targets: Tensor):
        self.terms, self.weights = terms, weights
        self.student, self.teacher, self.targets = student, teacher, targets

    def of(self, rows: slice, states: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum over some rows, and the sums of the terms ``[terms]``."""
        places = Places(project(replace(self.student, states=states)), self._taught(rows), self.targets[rows])
        sums = torch.stack([term.per_token(places).sum() for term in self.terms.values()])
        return (sums * sums.new_tensor([self.weights[name] for name in self.terms])).sum(), sums.detach()

    def _taught(self, rows: slice) -> Tensor | TopLogits | None:
        if isinstance(self.teacher, Logits):
            with torch.no_grad():
                return project(replace(self.teacher, states=self.teacher.states[rows]))
        if self.teacher is None:
            return None
        kept = {name: getattr(self.teacher, name)[rows] for name in ("indices", "logits", "log_sum_exp")}
        return replace(self.teacher, **kept)


def project(logits: Logits) -> Tensor:
    """``[n, V]`` fp32."""
    device = logits.states.device.type
    # uncached: a cached copy of the weights would belong to the first chunk's graph, which is gone by the second
    with torch.autocast(device, logits.precision, enabled=logits.precision is not None, cache_enabled=False):
        return logits.head(logits.states).float()


class _Chunked(torch.autograd.Function):
    """Forms the gradients while it computes the loss, and hands them on."""

    @staticmethod
    def forward(ctx: Any, work: _Work, states: Tensor, *trained: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and the terms' means; the gradients are kept, already formed, for ``backward``."""
        count = len(states)
        total, values = states.new_zeros((), dtype=torch.float32), torch.zeros(len(work.terms), device=states.device)
        wanted = any(ctx.needs_input_grad)
        gradients = [torch.zeros_like(tensor) for tensor in (states, *trained)] if wanted else []
        vocabulary = project(replace(work.student, states=states[:1])).shape[1] if count else 1
        for part in chunks(count, vocabulary):
            with torch.set_grad_enabled(wanted):
                chunk = states[part].detach().requires_grad_(wanted)
                loss, sums = work.of(part, chunk)
                if wanted:
                    own, *shared = torch.autograd.grad(loss / count, [chunk, *trained])
                    gradients[0][part] = own
                    for whole, piece in zip(gradients[1:], shared, strict=True):
                        whole += piece
            total += loss.detach() / count
            values += sums / count
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(values)
        return total, values

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients, times the one that comes in."""
        return None, *(gradient * outer[0].to(gradient.dtype) for gradient in ctx.saved_tensors)
