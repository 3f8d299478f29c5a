"""Token terms computed a few rows at a time: peak memory grows with chunk × vocabulary, not with length × vocabulary.

The logits, all terms, and the gradients with respect to states and output weights are computed for one chunk after the
other. So tensors of the size of the vocabulary are freed after each chunk, and nothing is computed twice.

Shapes: N answer tokens of the batch, n of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from potstill.objectives.tokens import TokenInputs, TokenTerm
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
    total, values = _Chunked.apply(_ChunkLoss(terms, weights, student, teacher, targets), student.states, *trained)
    return total, dict(zip(terms, values.unbind(), strict=True))


class _ChunkLoss:
    """The loss of a batch, computed chunk by chunk."""

    def __init__(self, terms: Any, weights: Any, student: Logits, teacher: Any, targets: Tensor):
        self.terms, self.weights = terms, weights
        self.student, self.teacher, self.targets = student, teacher, targets

    def sums(self, rows: slice, states: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum over some rows, and the sums of the terms ``[terms]``."""
        inputs = TokenInputs(
            project(replace(self.student, states=states)), self._teacher_rows(rows), self.targets[rows]
        )
        sums = torch.stack([term.per_token(inputs).sum() for term in self.terms.values()])
        return (sums * sums.new_tensor([self.weights[name] for name in self.terms])).sum(), sums.detach()

    def _teacher_rows(self, rows: slice) -> Tensor | TopLogits | None:
        if isinstance(self.teacher, Logits):
            with torch.no_grad():
                return project(replace(self.teacher, states=self.teacher.states[rows]))
        if self.teacher is None:
            return None
        kept = {name: getattr(self.teacher, name)[rows] for name in ("indices", "logits", "log_sum_exp")}
        others = None if self.teacher.others is None else self.teacher.others[rows]
        return replace(self.teacher, **kept, others=others)


def project(logits: Logits) -> Tensor:
    """``[n, V]`` fp32."""
    device = logits.states.device.type
    # no cache: the cached copy of the weights would belong to the graph of the first chunk, which is freed
    with torch.autocast(device, logits.precision, enabled=logits.precision is not None, cache_enabled=False):
        return logits.head(logits.states).float()


class _Chunked(torch.autograd.Function):
    """Computes the gradients together with the loss and returns them in the backward pass."""

    @staticmethod
    def forward(ctx: Any, losses: _ChunkLoss, states: Tensor, *trained: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and the mean of each term; the gradients are computed here and saved for ``backward``."""
        count = len(states)
        total, values = states.new_zeros((), dtype=torch.float32), torch.zeros(len(losses.terms), device=states.device)
        needs_gradient = any(ctx.needs_input_grad)
        gradients = [torch.zeros_like(tensor) for tensor in (states, *trained)] if needs_gradient else []
        vocabulary = project(replace(losses.student, states=states[:1])).shape[1] if count else 1
        for part in chunks(count, vocabulary):
            with torch.set_grad_enabled(needs_gradient):
                chunk = states[part].detach().requires_grad_(needs_gradient)
                loss, term_sums = losses.sums(part, chunk)
                if needs_gradient:
                    own, *shared = torch.autograd.grad(loss / count, [chunk, *trained])
                    gradients[0][part] = own
                    for whole, piece in zip(gradients[1:], shared, strict=True):
                        whole += piece
            total += loss.detach() / count
            values += term_sums / count
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(values)
        return total, values

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """The saved gradients times the incoming gradient."""
        return None, *(gradient * outer[0].to(gradient.dtype) for gradient in ctx.saved_tensors)
