"""Brings the tokens of student and teacher onto one grid, where their patches, contexts or horizons differ.

The grid has one cell for each token of the coarser model within the steps that both models' tokens cover. The tokens of
either model are averaged within a cell, weighted by the steps that they share with it; padded tokens are left out.
Tokens that cover no steps (a register token) get a cell each if both models have the same number of them, and are left
out otherwise. The tokens of text, and of models with the same grid, are compared one by one.

Shapes: B windows (or examples), T tokens of a model, G cells, A heads, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.objectives.base import LossInputs
from potstill.types import Output, Spans, Tokens


@dataclass(frozen=True)
class ModelTokens:
    """The tokens of one model, and how they are pooled to the cells that both models know.

    Attributes
    ----------
    mask
        ``[B, T]`` bool: tokens that are not padded, and where each token is a cell, known to both models.
    averages
        ``[B, G, T]``: the weights of tokens within a cell; None: each token is a cell.
    shares
        ``[G, T]``: the part of a token that is inside a cell; None: each token is a cell.
    """

    mask: Tensor
    averages: Tensor | None = None
    shares: Tensor | None = None

    def pooled(self, states: Tensor) -> Tensor:
        """States ``[B, …, T, D]`` to ``[B, …, G, D]``, in float32 or float64; 0 in cells that are not known."""
        states = _masked(_precise(states), self.mask, 1)
        return states if self.averages is None else self._averages(states) @ states

    def pooled_map(self, weights: Tensor) -> Tensor:
        """Attention weights ``[B, A, T, T]`` to ``[B, A, G, G]``: averages over queries, sums over keys."""
        weights = _masked(_masked(_precise(weights), self.mask, 1), self.mask, 0)
        if self.shares is None:
            return weights
        return self._averages(weights) @ weights @ self.shares.to(weights).mT

    def _averages(self, like: Tensor) -> Tensor:
        """``[B, …, G, T]``."""
        assert self.averages is not None
        rows, cells, tokens = self.averages.shape
        return self.averages.to(like).view(rows, *[1] * (like.ndim - 3), cells, tokens)


class CommonTokens:
    """The cells of student and teacher for one batch.

    Attributes
    ----------
    student, teacher
        Pool the tokens of one model to the cells.
    known
        ``[B, G]`` bool: cells that have a token of both models that is not padded.
    visible
        ``[B, 1, G, G]`` or ``[B, 1, 1, G]`` bool: the cells that a cell is compared with. For text the tokens up to its
        own, because a causal model attends only to those.
    """

    def __init__(self, student: ModelTokens, teacher: ModelTokens, known: Tensor, causal: bool):
        self.student, self.teacher, self.known = student, teacher, known
        self.visible = known[:, None, None]
        if causal:
            self.visible = self.visible & known.new_ones(known.shape[1], known.shape[1]).tril()

    @classmethod
    def of(cls, term: str, inputs: LossInputs, teacher: Output, counts: tuple[int, int]) -> CommonTokens:
        """The cells of a student's and a teacher's output, whose layers have ``counts`` tokens.

        Raises
        ------
        UserError
            If the tokens of the two models cannot be matched.
        """
        ids, causal = inputs.batch.ids, isinstance(inputs.batch, Tokens)
        spans = inputs.student.token_spans, teacher.token_spans
        masks = [
            torch.ones(len(ids), count, dtype=torch.bool, device=ids.device) if mask is None else mask
            for mask, count in zip((inputs.student.token_mask, teacher.token_mask), counts, strict=True)
        ]
        if spans[0] == spans[1] and counts[0] == counts[1]:
            known = masks[0] & masks[1]
            return cls(ModelTokens(known), ModelTokens(known), known, causal)
        if spans[0] is None or spans[1] is None:
            raise UserError(
                f"objective.terms.{term}: a model's output does not say which steps its tokens cover; set"
                " Output.token_spans in its family, or leave the term out.",
                key="objective.no_token_spans",
            )
        common, shares = zip(*_overlaps(spans[0], spans[1], ids.device), strict=True)
        if not len(common[0]):
            raise UserError(
                f"objective.terms.{term}: the tokens of student and teacher cover no common steps; leave the term out.",
                key="objective.no_common_tokens",
            )
        weights = [steps * mask[:, None] for steps, mask in zip(common, masks, strict=True)]  # [B, G, T]
        totals = [weight.sum(dim=2, keepdim=True) for weight in weights]
        known = (totals[0] > 0) & (totals[1] > 0)
        sides = [
            ModelTokens(mask, torch.where(known, weight / total.clamp(min=1), 0.0), share)
            for mask, weight, total, share in zip(masks, weights, totals, shares, strict=True)
        ]
        return cls(sides[0], sides[1], known[..., 0], causal)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of ``values [B, G]`` over the known cells: ``[B]``; 0 for a window without one."""
        total = torch.where(self.known, values, 0.0).sum(dim=1)
        return total / self.known.sum(dim=1).clamp(min=1)

    def centred(self, states: Tensor) -> Tensor:
        """States ``[B, G, D]``, which are 0 in cells that are not known, minus their mean over the others."""
        return states - states.sum(dim=1, keepdim=True) / self.known.sum(dim=1).clamp(min=1)[:, None, None]


@lru_cache(maxsize=32)
def _overlaps(own: Spans, theirs: Spans, device: torch.device) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """For either model, by cell and token ``[G, T]``: the steps in common, and their share of the token's steps."""
    timed = [[span for span in spans if span is not None] for spans in (own, theirs)]
    first, end = max(spans[0][0] for spans in timed), min(spans[-1][1] for spans in timed)
    inside = [[span for span in spans if span[0] < end and span[1] > first] for spans in timed]
    cells = min(inside, key=len)
    without_time = [[index for index, span in enumerate(spans) if span is None] for spans in (own, theirs)]
    pairs = list(zip(*without_time, strict=True)) if len(without_time[0]) == len(without_time[1]) else []

    def of(side: int, spans: Spans) -> tuple[Tensor, Tensor]:
        rows = [[_common_steps(cell, span) for span in spans] for cell in cells]
        rows += [[float(index == pair[side]) for index in range(len(spans))] for pair in pairs]
        steps = torch.tensor(rows, device=device).reshape(len(rows), len(spans))
        lengths = torch.tensor([1.0 if span is None else float(span[1] - span[0]) for span in spans], device=device)
        return steps, steps / lengths

    return of(0, own), of(1, theirs)


def _common_steps(cell: tuple[int, int], span: tuple[int, int] | None) -> float:
    return 0.0 if span is None else float(max(0, min(cell[1], span[1]) - max(cell[0], span[0])))


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _masked(x: Tensor, mask: Tensor, after: int) -> Tensor:
    """``x`` with zeros at padded tokens; the tokens' axis has ``after`` axes after it. NaN there must not spread."""
    axis = x.ndim - 1 - after
    shape = [mask.shape[0], *[1] * (axis - 1), mask.shape[1], *[1] * after]
    return torch.where(mask.view(shape), x, 0.0)
