"""Which heads and neurons a smaller student keeps, and how the matrix that writes their outputs makes up for the rest.

The matrix W writes ``W a`` to the stream. With only some entries of a, the closest that can be written is ``W' a_kept``
with W' from least squares over the calibration data, as He, Zhang and Sun reconstruct pruned channels (2017,
arXiv:1707.06168). The error that leaving out one neuron then causes is known in closed form: ``|w|² / (M⁻¹)ⱼⱼ`` for its
column w of W' and the moments M of what is left (optimal brain surgeon, Hassibi and Stork 1992).

Shapes: D outputs of the matrix, E entries of all units, K entries that are kept, U units.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-4  # added to the moments' diagonal, relative to its mean: some neurons are hardly ever active
ROUND = 1 / 16  # of the neurons left, as many are left out before errors are worked out again


def important_heads(matrix: Tensor, moments: Tensor, count: int, heads: int) -> Tensor:
    """Indices of the heads that write most, ascending: by the sum of mean a² · |w|² over a head's entries.

    Parameters
    ----------
    matrix
        ``[D, E]`` that multiplies the heads' outputs.
    moments
        ``[E, E]``, see :class:`potstill.transfer.calibration.Activity`.
    count, heads
        How many to keep, of how many.
    """
    written = moments.diagonal() * matrix.square().sum(0)
    return written.view(heads, -1).sum(1).topk(count).indices.sort().values


def important_neurons(matrix: Tensor, moments: Tensor, count: int) -> Tensor:
    """Indices of the neurons without which the outputs change least, ascending.

    Parameters as in :func:`important_heads`. In each round the neurons that cost least are left out, and the errors are
    worked out again for those that are left.
    """
    kept, target = torch.arange(len(moments)), matrix @ moments
    while len(kept) > count:
        inverse = torch.linalg.inv(_ridged(moments[kept][:, kept]))
        columns = target[:, kept] @ inverse
        errors = columns.square().sum(0) / inverse.diagonal()
        dropped = min(len(kept) - count, max(1, int(len(kept) * ROUND)))
        kept = kept[errors.topk(len(kept) - dropped).indices.sort().values]
    return kept


def reconstruction(moments: Tensor, kept: Tensor) -> Tensor:
    """``[E, K]``: multiplied by this, a matrix ``[D, E]`` writes from the kept entries alone what comes closest.

    A kept entry stands for itself, and for the part of the others that can be predicted from it.

    >>> moments = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)  # the second is twice the first
    >>> reconstruction(moments, torch.tensor([0])).round(decimals=3).tolist()
    [[1.0], [2.0]]
    """
    predicted = torch.linalg.solve(_ridged(moments[kept][:, kept]), moments[kept]).T
    predicted[kept] = torch.eye(len(kept), dtype=moments.dtype)
    return predicted


def _ridged(moments: Tensor) -> Tensor:
    ridge = RIDGE * float(moments.diagonal().mean()) or 1.0  # 1 where nothing was ever active
    return moments + ridge * torch.eye(len(moments), dtype=moments.dtype)
