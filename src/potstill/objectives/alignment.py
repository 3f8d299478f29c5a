"""Soft-DTW of two sequences of equal length, vectorised over the anti-diagonals of the cost matrix.

The libraries that run on a CPU need numba (0.2 GB) or visit the cells one by one in Python: docs/decisions/0019.

Shapes: B pairs of sequences, n steps, D = 2n − 1 diagonals. In skewed form ``[D, n, B]``, cell (i, j) of a matrix is at
diagonal i + j and position i; other positions are outside of the matrix.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

UNREACHABLE = 1e30  # cost of cells outside the matrix: inf would give inf − inf


def soft_dtw(cost: Tensor, gamma: float) -> Tensor:
    """Soft minimum of the costs of all monotone alignments, ``[B]``; differentiable once.

    An alignment is a path from cell (0, 0) to (n − 1, n − 1) by steps right, down or diagonal; its cost is the sum of
    its cells. The soft minimum of a, b, … is ``−γ · log(exp(−a / γ) + exp(−b / γ) + …)``. It is below the minimum, and
    may be negative.

    Parameters
    ----------
    cost
        ``[B, n, n]``.
    gamma
        γ, above 0, in the unit of the cost: 0 would give dynamic time warping.

    References
    ----------
    Cuturi and Blondel, "Soft-DTW: a Differentiable Loss Function for Time-Series", ICML 2017, algorithms 1 and 2.
    """
    return _SoftDtw.apply(cost, gamma)


class _SoftDtw(torch.autograd.Function):
    """The recursion of algorithm 1; the backward pass goes back through it, as in algorithm 2."""

    @staticmethod
    def forward(ctx: Any, cost: Tensor, gamma: float) -> Tensor:
        """Soft-DTW ``[B]`` of costs ``[B, n, n]``; keeps each cell's shares of its neighbours for the backward pass."""
        batch, n, _ = cost.shape
        skewed = _skewed(cost)
        # shares[d, :, i]: how much of cell (i, d − i) comes from its left, upper and diagonal neighbour
        shares = cost.new_zeros(len(skewed), 3, n, batch)
        # the two newest diagonals, with a row in front that is outside of the matrix
        before, last = (cost.new_full((n + 1, batch), UNREACHABLE) for _ in range(2))
        last[1] = skewed[0, 0]
        for diagonal in range(1, len(skewed)):
            first, end = _inside(diagonal, n)
            left, upper, corner = last[first + 1 : end + 1], last[first:end], before[first:end]
            least = torch.minimum(torch.minimum(left, upper), corner)
            share = shares[diagonal, :, first:end]
            for neighbour, part in zip((left, upper, corner), share, strict=True):
                torch.sub(least, neighbour, out=part)
            share.div_(gamma).exp_()
            total = share.sum(dim=0)
            share.div_(total)
            before[first + 1 : end + 1] = skewed[diagonal, first:end] + least - gamma * total.log()
            before, last = last, before
        ctx.save_for_backward(shares)
        return last[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (shares,) = ctx.saved_tensors
        diagonals, _, n, batch = shares.shape
        # weights[d, i]: the derivative of the result in a cell; 0 at position n, outside of the matrix
        weights = shares.new_zeros(diagonals + 1, n + 1, batch)
        weights[-2, n - 1] = gradients[0]
        for diagonal in range(diagonals - 2, -1, -1):
            first, end = _inside(diagonal, n)
            weight, following = weights[diagonal, first:end], weights[diagonal + 1]
            torch.mul(shares[diagonal + 1, 0, first:end], following[first:end], out=weight)
            below = slice(first + 1, min(end, n - 1) + 1)
            weight = weight[: below.stop - below.start]
            weight.addcmul_(shares[diagonal + 1, 1, below], following[below])
            if diagonal + 2 < diagonals:
                weight.addcmul_(shares[diagonal + 2, 2, below], weights[diagonal + 2, below])
        return _unskewed(weights[:diagonals, :n]), None


def _inside(diagonal: int, n: int) -> tuple[int, int]:
    """The first position of a diagonal that is inside the matrix, and the one after the last."""
    return max(0, diagonal - n + 1), min(diagonal + 1, n)


def _skewed(matrix: Tensor) -> Tensor:
    """``[D, n, B]`` of ``[B, n, n]``."""
    batch, n, _ = matrix.shape
    skewed = matrix.new_empty(2 * n - 1, n, batch)
    rows = torch.arange(n, device=matrix.device)
    skewed[rows[:, None] + rows, rows[:, None]] = matrix.permute(1, 2, 0)
    return skewed


def _unskewed(skewed: Tensor) -> Tensor:
    """``[B, n, n]`` of ``[D, n, B]``."""
    rows = torch.arange(skewed.shape[1], device=skewed.device)
    return skewed[rows[:, None] + rows, rows[:, None]].permute(2, 0, 1)
