"""The basis in which a narrower student sees its teacher's residual stream.

An RMS norm commutes with rotations: ``norm(Rᵀ x) = Rᵀ norm(x)`` for orthogonal R and a norm without weights. So the
stream may be rotated if what writes to it is multiplied by Rᵀ and what reads it by R (SliceGPT, Ashkboos et al. 2024,
arXiv:2401.15024). On the principal components most dimensions hold almost nothing, and a student leaves them out.

A LayerNorm subtracts the mean first. It commutes with rotations that map the direction (1, …, 1) to itself, so the
other directions alone are rotated; they hold all that a LayerNorm lets pass.

Shapes: D width of the teacher, K width of the student.
"""

from __future__ import annotations

import torch
from torch import Tensor


def principal_components(covariance: Tensor, width: int, centred: bool) -> tuple[Tensor, float]:
    """The directions with the largest variance.

    Parameters
    ----------
    covariance
        ``[D, D]`` float64, see :class:`potstill.transfer.calibration.Activity`.
    width
        K, at most D.
    centred
        Whether the norms subtract the mean: (1, …, 1) / sqrt(D) is then mapped to (1, …, 1) / sqrt(K).

    Returns
    -------
    tuple
        ``[D, K]`` orthonormal columns, and the share of the variance in their span.
    """
    if centred:
        return _beside_the_mean(covariance, width)
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    return vectors[:, :width].contiguous(), float(values[:width].sum() / values.sum())


def largest_dimensions(covariance: Tensor, width: int, centred: bool) -> tuple[Tensor, float]:
    """Like :func:`principal_components`, of the dimensions as they are: the ones with the largest variance.

    >>> covariance = torch.diag(torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64))
    >>> basis, share = largest_dimensions(covariance, 1, centred=False)
    >>> basis.tolist(), share
    ([[0.0], [1.0], [0.0]], 0.75)
    """
    variance = covariance.diagonal()
    kept = variance.topk(width).indices.sort().values
    basis = torch.eye(len(variance), dtype=covariance.dtype)[:, kept]
    return basis, float(variance[kept].sum() / variance.sum())


def _beside_the_mean(covariance: Tensor, width: int) -> tuple[Tensor, float]:
    size = len(covariance)
    mean = torch.full((size, 1), size**-0.5, dtype=covariance.dtype)
    # an eigenvalue below all others makes the mean's direction the last one
    values, vectors = torch.linalg.eigh(covariance - (1 + covariance.trace()) * mean @ mean.T)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    kept = vectors[:, : width - 1]
    others = mean_free_basis(width)
    basis = kept @ others.T + mean @ torch.full((1, width), width**-0.5, dtype=covariance.dtype)
    return basis, float(values[: width - 1].sum() / values.sum())


def mean_free_basis(width: int) -> Tensor:
    """``[K, K - 1]`` float64: orthonormal columns that sum to 0 (Helmert's).

    >>> (mean_free_basis(3) * torch.tensor([2.0, 6.0]).sqrt()).round(decimals=6).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [0.0, -2.0]]
    """
    columns = torch.ones(width, width - 1, dtype=torch.float64).triu()
    number = torch.arange(1, width, dtype=torch.float64)
    columns[torch.arange(1, width), torch.arange(width - 1)] = -number
    return columns / (number * (number + 1)).sqrt()
