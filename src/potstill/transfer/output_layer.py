"""The norm before a language model's output layer, where the output layer cannot take in its weight or bias.

In other places a norm's weight is multiplied into the matrices that read it. An output layer that is tied to the
embeddings has to stay the embeddings' matrix E, and ``E diag(g)`` in rotated dimensions is not ``E R`` with any weight
of the student's norm. The weight and bias here are those whose logits are closest to the teacher's over the
calibration data, up to a constant per token, to which softmax is invariant.

Shapes: V vocabulary, D and K widths of teacher and student.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gram(matrix: Tensor) -> Tensor:
    """``[D, D]``: products of the columns of an output layer ``[V, D]``, without their means over the vocabulary."""
    return (centred := matrix - matrix.mean(0)).T @ centred


def closest_norm(
    gram: Tensor, scale: Tensor, bias: Tensor | None, mean: Tensor, moments: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The weight and bias ``[K]`` of the student's norm with which a tied output layer gives the closest logits.

    Minimises the mean of ``|E (g * n + b) - E R (h * n' + c)|²`` over h and c, where n is the teacher's normalised
    stream and ``n' = sqrt(K / D) Rᵀ n`` the student's. Exact if g is constant, or if R selects dimensions.

    Parameters
    ----------
    gram
        ``EᵀE``, see :func:`gram`.
    scale, bias
        g and b, ``[D]``; without b the student's norm has no bias either.
    mean, moments
        ``[D]`` and ``[D, D]``: means of n and of n nᵀ.
    directions
        R, ``[D, K]``.
    """
    size, width = directions.shape
    ratio = (width / size) ** 0.5
    spread = moments if bias is None else moments - mean[:, None] * mean  # a bias takes care of the mean
    left = (directions.T @ gram @ directions) * (directions.T @ spread @ directions) * ratio**2
    right = ((directions.T @ gram * scale @ spread) * directions.T).sum(1) * ratio
    found = _solve(left, right)
    if bias is None:
        return found, None
    missing = bias + scale * mean - directions @ (found * ratio * (directions.T @ mean))
    return found, closest_bias(gram, missing, directions)


def closest_bias(gram: Tensor, bias: Tensor, reader: Tensor) -> Tensor:
    """The bias ``[K]`` of the student's norm that moves the logits as the teacher's does.

    Parameters
    ----------
    gram
        ``EᵀE``, see :func:`gram`.
    bias
        The teacher's, ``[D]``: it adds ``E b`` to the logits.
    reader
        ``[D, K]``: the student's output layer is E times this.
    """
    return _solve(reader.T @ gram @ reader, reader.T @ gram @ bias)


def _solve(left: Tensor, right: Tensor) -> Tensor:
    """The shortest solution: a small vocabulary, or few calibration data, leave some directions open."""
    return torch.linalg.lstsq(left, right[:, None], driver="gelsd").solution[:, 0]
