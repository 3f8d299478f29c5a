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
    """The tokens of one model, and how they are pooled to cells.

    Attributes
    ----------
    mask
        ``[B, T]`` bool: tokens that are not padded; None: all.
    shared
        ``[G, T]``: steps that a cell shares with a token; None: each token is a cell.
    lengths
        ``[T]``: steps that a token covers.
    """

    mask: Tensor | None
    shared: Tensor | None = None
    lengths: Tensor | None = None

    @property
    def covered(self) -> Tensor | None:
        """``[B, G]`` bool: cells with a token that is not padded; None: all."""
        if self.shared is None or self.mask is None:
            return self.mask
        return self.mask.to(self.shared) @ self.shared.mT > 0

    def pooled(self, states: Tensor) -> Tensor:
        """States ``[B, …, T, D]`` to ``[B, …, G, D]``, in float32 or float64; 0 where no token is."""
        states = _masked(_precise(states), self.mask, 1)
        return states if self.shared is None else self._averages(states) @ states

    def pooled_map(self, weights: Tensor) -> Tensor:
        """Attention weights ``[B, A, T, T]`` to ``[B, A, G, G]``: averages over queries, sums over keys."""
        weights = _masked(_masked(_precise(weights), self.mask, 1), self.mask, 0)
        if self.shared is None or self.lengths is None:
            return weights
        shares = (self.shared / self.lengths).to(weights)
        return self._averages(weights) @ weights @ shares.mT

    def _averages(self, like: Tensor) -> Tensor:
        """``[B, …, G, T]``: rows sum to 1, or to 0 where no token is."""
        assert self.shared is not None
        shared = self.shared[None] if self.mask is None else self.shared * self.mask[:, None]
        averages = (shared / shared.sum(dim=2, keepdim=True).clamp(min=1)).to(like)
        return averages.reshape(len(averages), *[1] * (like.ndim - 3), *averages.shape[1:])


class CommonTokens:
    """The cells of student and teacher for one batch.

    Attributes
    ----------
    student, teacher
        Pool the tokens of one model to the cells.
    known
        ``[B, G]`` bool: cells that have a token of both models.
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
        own, theirs = inputs.student.token_spans, teacher.token_spans
        sides = ModelTokens(inputs.student.token_mask), ModelTokens(teacher.token_mask)
        if own != theirs or counts[0] != counts[1]:
            if own is None or theirs is None:
                raise UserError(
                    f"objective.terms.{term}: a model's output does not say which steps its tokens cover; set"
                    " Output.token_spans in its family, or leave the term out.",
                    key="objective.no_token_spans",
                )
            sides = _pooling(term, own, theirs, sides, inputs.batch.ids.device)
        cells = counts[0] if sides[0].shared is None else len(sides[0].shared)
        known = torch.ones(len(inputs.batch), cells, dtype=torch.bool, device=inputs.batch.ids.device)
        for covered in (side.covered for side in sides):
            known = known if covered is None else known & covered
        return cls(*sides, known, causal=isinstance(inputs.batch, Tokens))

    def mean(self, values: Tensor) -> Tensor:
        """Mean of ``values [B, G]`` over the known cells: ``[B]``; 0 for a window without one."""
        total = torch.where(self.known, values, 0.0).sum(dim=1)
        return total / self.known.sum(dim=1).clamp(min=1)

    def centred(self, states: Tensor) -> Tensor:
        """States ``[B, G, D]`` minus their mean over the known cells of the window; 0 in other cells."""
        known = self.known[..., None]
        states = torch.where(known, states, 0.0)
        mean = states.sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.where(known, states - mean, 0.0)


def _pooling(
    term: str, own: Spans, theirs: Spans, sides: tuple[ModelTokens, ModelTokens], device: torch.device
) -> tuple[ModelTokens, ModelTokens]:
    student, teacher, lengths, their_lengths = _overlaps(own, theirs, device)
    if not len(student):
        raise UserError(
            f"objective.terms.{term}: the tokens of student and teacher cover no common steps; leave the term out.",
            key="objective.no_common_tokens",
        )
    return ModelTokens(sides[0].mask, student, lengths), ModelTokens(sides[1].mask, teacher, their_lengths)


@lru_cache(maxsize=32)
def _overlaps(own: Spans, theirs: Spans, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Steps that each cell shares with the tokens of either model ``[G, T]``, and the tokens' lengths ``[T]``."""
    timed = [[span for span in spans if span is not None] for spans in (own, theirs)]
    first, end = max(spans[0][0] for spans in timed), min(spans[-1][1] for spans in timed)
    inside = [[span for span in spans if span[0] < end and span[1] > first] for spans in timed]
    cells = min(inside, key=len)
    without_time = [[index for index, span in enumerate(spans) if span is None] for spans in (own, theirs)]
    pairs = list(zip(*without_time, strict=True)) if len(without_time[0]) == len(without_time[1]) else []
    shared, lengths = [], []
    for side, spans in enumerate((own, theirs)):
        rows = [[_common_steps(cell, span) for span in spans] for cell in cells]
        rows += [[float(index == pair[side]) for index in range(len(spans))] for pair in pairs]
        shared.append(torch.tensor(rows, device=device).reshape(len(rows), len(spans)))
        lengths.append(
            torch.tensor([1.0 if span is None else float(span[1] - span[0]) for span in spans], device=device)
        )
    return shared[0], shared[1], lengths[0], lengths[1]


def _common_steps(cell: tuple[int, int], span: tuple[int, int] | None) -> float:
    return 0.0 if span is None else float(max(0, min(cell[1], span[1]) - max(cell[0], span[0])))


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _masked(x: Tensor, mask: Tensor | None, after: int) -> Tensor:
    """``x`` with zeros at padded tokens; the tokens' axis has ``after`` axes after it. NaN there must not spread."""
    if mask is None:
        return x
    axis = x.ndim - 1 - after
    shape = [mask.shape[0], *[1] * (axis - 1), mask.shape[1], *[1] * after]
    return torch.where(mask.view(shape), x, 0.0)
