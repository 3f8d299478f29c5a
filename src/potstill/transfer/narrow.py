"""Narrower heads, for attention whose positions are not in its queries and keys (GPT-2; not rotary positions).

A head uses its queries q and keys k only in products qᵀk, and its values only through the matrix that writes them. So
both may be replaced by what is closest with fewer entries: the products by their best approximation of that rank for
independent q and k, what is written by its principal components.

Shapes: D width of the stream, A heads, W and N widths of a head before and after.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-10  # eigenvalues of moments below this, relative to the largest, count as this: some directions are unused


def narrowed_heads(matrix: Tensor, inputs: Tensor, outputs: Tensor, heads: int, width: int) -> tuple[Tensor, Tensor]:
    """Maps from the wide to the narrow entries of all heads.

    Parameters
    ----------
    matrix
        ``[D, A · W]`` that multiplies the heads' outputs.
    inputs
        ``[3 · A · W, 3 · A · W]``: moments of queries, keys and values.
    outputs
        ``[A · W, A · W]``: moments of the heads' outputs.
    heads, width
        A and N.

    Returns
    -------
    tuple
        ``[3 · A · W, 3 · A · N]`` that multiplies queries, keys and values from the right, and ``[A · W, A · N]`` for
        the matrix.
    """
    wide = len(outputs) // heads
    scale = (width / wide) ** 0.25  # scores are divided by the root of a head's width
    maps: list[list[Tensor]] = [[], [], [], []]
    for head in range(heads):
        q, k, o = (slice((part * heads + head) * wide, (part * heads + head + 1) * wide) for part in (0, 1, 0))
        (q_root, q_inverse), (k_root, k_inverse) = (_roots(inputs[part, part]) for part in (q, k))
        left, sizes, right = torch.linalg.svd(q_root @ k_root)
        sizes = sizes[:width].sqrt() * scale
        root, inverse = _roots(outputs[o, o])
        _, _, directions = torch.linalg.svd(matrix[:, o] @ root, full_matrices=False)
        directions = _completed(directions, wide)[:width].T
        narrow = (q_inverse @ left[:, :width] * sizes, k_inverse @ right[:width].T * sizes, inverse @ directions)
        for found, part in zip(maps, (*narrow, root @ directions), strict=True):
            found.append(part)
    queries, keys, values, written = (torch.block_diag(*found) for found in maps)
    return torch.block_diag(queries, keys, values), written


def _roots(moments: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root of moments, and its inverse."""
    values, vectors = torch.linalg.eigh(moments)
    values = values.clamp_min(LEAST * float(values[-1]) or 1.0).sqrt()
    return vectors * values @ vectors.T, vectors / values @ vectors.T


def _completed(rows: Tensor, size: int) -> Tensor:
    """Orthonormal rows with further ones, so that there are ``size``: a matrix with few rows has few directions."""
    if len(rows) == size:
        return rows
    return torch.cat([rows, torch.linalg.svd(rows)[2][len(rows) :]])
