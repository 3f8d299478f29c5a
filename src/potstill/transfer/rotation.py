"""The basis in which a narrower student sees its teacher's residual stream.

An RMS norm commutes with rotations: ``norm(Rᵀ x) = Rᵀ norm(x)`` for orthogonal R and a norm without weights. So the
stream may be rotated if what writes to it is multiplied by Rᵀ and what reads it by R (SliceGPT, Ashkboos et al. 2024,
arXiv:2401.15024). On the principal components most dimensions hold almost nothing, and a student leaves them out.

Shapes: D width of the teacher, K width of the student.
"""

from __future__ import annotations

import torch
from torch import Tensor


def principal_components(covariance: Tensor, width: int) -> tuple[Tensor, float]:
    """The directions with the largest variance.

    Parameters
    ----------
    covariance
        ``[D, D]`` float64, see :class:`potstill.transfer.calibration.Activity`.
    width
        K, at most D.

    Returns
    -------
    tuple
        ``[D, K]`` orthonormal columns, and the share of the variance in their span.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    return vectors[:, :width].contiguous(), float(values[:width].sum() / values.sum())


def largest_dimensions(covariance: Tensor, width: int) -> tuple[Tensor, float]:
    """Like :func:`principal_components`, of the dimensions as they are: the ones with the largest variance.

    >>> basis, share = largest_dimensions(torch.diag(torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64)), 1)
    >>> basis.tolist(), share
    ([[0.0], [1.0], [0.0]], 0.75)
    """
    variance = covariance.diagonal()
    kept = variance.topk(width).indices.sort().values
    basis = torch.eye(len(variance), dtype=covariance.dtype)[:, kept]
    return basis, float(variance[kept].sum() / variance.sum())
