"""Narrower heads: without loss where a head uses few directions, else closer than taking the first entries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from potstill.transfer.narrow import narrowed_heads

HEADS, WIDE, ROWS, D = 2, 6, 400, 10


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attention(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Scores ``[A, R, R]`` before the softmax, and outputs ``[R, A · width]`` of a softmax over them."""
    q, k, v = (part.unflatten(-1, (HEADS, width)).transpose(0, 1) for part in rows.chunk(3, -1))
    scores = q @ k.transpose(1, 2) / width**0.5
    return scores, (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)


def moments(rows: Tensor) -> Tensor:
    return rows.T @ rows / len(rows)


def narrowed(rows: Tensor, matrix: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores and what is written, of wide and narrow heads."""
    scores, outputs = attention(rows, WIDE)
    first, second = narrowed_heads(matrix, moments(rows), moments(outputs), HEADS, width)
    small_scores, small = attention(rows @ first, width)
    return scores, outputs @ matrix.T, small_scores, small @ (matrix @ second).T


def low_rank(rank: int) -> Tensor:
    """Queries, keys and values of all heads that use ``rank`` directions each."""
    parts = [random(ROWS, rank, seed=i) @ random(rank, WIDE, seed=20 + i) for i in range(3 * HEADS)]
    return torch.cat(parts, dim=1) * 0.5


@pytest.mark.parametrize(("rank", "width"), [(6, 6), (3, 3), (3, 4)])
def test_what_fits_is_kept(rank, width):
    scores, written, small_scores, small_written = narrowed(low_rank(rank), random(D, HEADS * WIDE, seed=9), width)
    assert torch.allclose(small_scores, scores, atol=1e-3 * float(scores.abs().max()))
    assert torch.allclose(small_written, written, atol=1e-3 * float(written.abs().max()))


def test_scores_are_the_closest_of_their_rank():
    """By Eckart and Young, for queries and keys that are independent: here every query meets every key."""
    rows = random(ROWS, 3 * HEADS * WIDE) * torch.linspace(0.3, 1.5, 3 * HEADS * WIDE, dtype=torch.float64)
    scores, _, small, _ = narrowed(rows, random(D, HEADS * WIDE, seed=9), 4)
    for mine, theirs in zip(small, scores, strict=True):
        left, sizes, right = torch.linalg.svd(theirs)
        best = (left[:, :4] * sizes[:4]) @ right[:4]
        assert (mine - theirs).square().sum() == pytest.approx((best - theirs).square().sum().item(), rel=1e-6)


def test_a_matrix_with_few_outputs_has_few_directions():
    _, written, _, small = narrowed(low_rank(6), random(2, HEADS * WIDE, seed=9), 4)
    assert small.shape == written.shape
    assert small.isfinite().all()
