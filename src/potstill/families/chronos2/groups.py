"""Chronos-2's attention within groups, computed group by group.

Upstream lets every row attend to every row of the batch and masks the other groups, so that memory and time are
quadratic in the batch size. Here groups of the same size are batched together, so that the cost is quadratic only in
the group size.

Shapes: R rows, G groups of one size, S rows in each, T tokens, D d_model, A heads, W width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from potstill.families.attention import attend
from potstill.families.norm import rms_norm


def members_by_size(group: Tensor) -> list[Tensor]:
    """Rows of the groups, one tensor ``[G, S]`` for each group size S, from group ids ``[R]``."""
    _, number, sizes = group.unique(return_inverse=True, return_counts=True)
    order = number.argsort(stable=True)
    size = sizes[number[order]]
    return [order[size == one].view(-1, one) for one in sizes.unique().tolist()]


def attend_in_groups(layer: Any, stream: Tensor, mask: Tensor, members: list[Tensor]) -> Tensor:
    """Upstream's ``GroupSelfAttention``: at each token, a row attends to its group's rows that are not padded there.

    Parameters
    ----------
    layer
        The ``GroupSelfAttention``.
    stream
        ``[R, T, D]``.
    mask
        ``[R, T]`` bool: tokens that are attended to.
    members
        See :func:`members_by_size`.

    Returns
    -------
    Tensor
        ``[R, T, D]``: the stream plus the attention's output. Equal to upstream's up to rounding where ``mask`` is
        True; elsewhere upstream's depends on the other groups of the batch, this one only on the row's own group.
    """
    mha = layer.self_attention
    normed = rms_norm(stream, layer.layer_norm.weight, layer.layer_norm.variance_epsilon)
    parts = [
        _attend_within(mha, normed[rows], mask[rows]) if rows.shape[1] > 1 else attend_to_self(mha, normed[rows])
        for rows in members
    ]
    order = torch.cat([rows.flatten() for rows in members])
    attended = torch.cat([part.flatten(0, 1) for part in parts])[order.argsort()]
    return stream + layer.dropout(mha.o(attended))


def attend_to_self(mha: Any, normed: Tensor) -> Tensor:
    """The heads' output for groups of one series: softmax over one key is 1, so queries and keys cancel out."""
    values = mha.v(normed)
    if mha.training and mha.dropout > 0:
        # upstream's dropout acts on attention weights: here there is one per window, token and head
        heads = values.unflatten(-1, (mha.n_heads, -1))
        values = (heads * nn.functional.dropout(torch.ones_like(heads[..., :1]), mha.dropout)).flatten(-2)
    return values


def _attend_within(mha: Any, normed: Tensor, mask: Tensor) -> Tensor:
    """The heads' output ``[G, S, T, A·W]`` from ``normed [G, S, T, D]`` and ``mask [G, S, T]``."""
    groups, _, tokens, _ = normed.shape
    across = normed.transpose(1, 2).flatten(0, 1)  # [G·T, S, D]

    def heads(projection: Any) -> Tensor:
        return projection(across).unflatten(-1, (mha.n_heads, -1)).transpose(1, 2)

    visible = mask.transpose(1, 2).flatten(0, 1)  # [G·T, S]
    # where all rows are padded the result is not used; attending to all of them avoids NaN
    visible = (visible | ~visible.any(dim=1, keepdim=True))[:, None, None]
    dropout = mha.dropout if mha.training else 0.0
    mixed = attend(heads(mha.q), heads(mha.k), heads(mha.v), visible, dropout_p=dropout, scale=1.0)
    return mixed.transpose(1, 2).flatten(2).unflatten(0, (groups, tokens)).transpose(1, 2)
