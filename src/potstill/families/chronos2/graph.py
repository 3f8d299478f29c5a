"""A Chronos-2 model as a graph for export, in two forms.

In the first form every row is a series of its own, and attention within groups is a linear map. In the second the rows
are series and covariates, with group ids and values ahead.

Shapes: B windows, R rows, C context, N output patches, P steps per patch, Q levels, T tokens, D d_model, A heads.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.attention import attend
from potstill.families.base.graph import Graph
from potstill.families.chronos2.encode import Encoded, encode_rows, encode_univariate
from potstill.families.chronos2.model import Chronos2Forecaster
from potstill.families.norm import rms_norm

UNSEEN = -1e9  # added to the scores of rows that are not attended to; fp16 and bf16 represent it or its limit


class _GivenScale(nn.Module):
    """In place of upstream's InstanceNorm: contexts that are standardised already."""

    def forward(self, x: Tensor, loc_scale: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return x, (x[:, :1], x[:, :1])


class _Chronos2Graph(nn.Module):
    def __init__(self, module: Any):
        super().__init__()
        self.module = copy.deepcopy(module).float().eval()
        self.module.instance_norm = _GivenScale()

    def forward(self, context: Tensor, patches: Tensor) -> Tensor:
        """``[B, Q, N · P]``."""
        return self.values(encode_univariate(self.module, context, patches.shape[0]))

    def values(self, encoded: Encoded) -> Tensor:
        chronos = self.module.chronos_config
        values = self.module.output_patch_embedding(encoded.stream)
        by_level = values.unflatten(2, (len(chronos.quantiles), chronos.output_patch_size))
        return by_level.transpose(1, 2).flatten(2)


class _GroupsGraph(_Chronos2Graph):
    def forward(self, context: Tensor, future: Tensor, group: Tensor) -> Tensor:
        """``[R, Q, N · P]`` from ``context [R, C]``, ``future [R, N, P]`` and ``group [R]`` int64."""
        same = (group[:, None] == group[None]).to(context.dtype)

        def attend_within(layer: Any, stream: Tensor, visible: Tensor) -> Tensor:
            return _attend_to_rows(layer, stream, same[None] * visible.to(context.dtype).T[:, None])

        return self.values(encode_rows(self.module, context, future.shape[1], future, attend_within))


def _attend_to_rows(layer: Any, stream: Tensor, seen: Tensor) -> Tensor:
    """Upstream's attention within groups: all rows attend to all, ``seen [T, R, R]`` is 1 for those of the group.

    Padded tokens are 0 there. Sums and products of floats only: ONNX Runtime and OpenVINO have no products of booleans.
    """
    mha = layer.self_attention
    across = rms_norm(stream, layer.layer_norm.weight, layer.layer_norm.variance_epsilon).transpose(0, 1)  # [T, R, D]
    query, key, value = (
        projection(across).unflatten(-1, (mha.n_heads, -1)).transpose(1, 2) for projection in (mha.q, mha.k, mha.v)
    )
    attended = attend(query, key, value, ((1 - seen) * UNSEEN)[:, None], scale=1.0)
    return stream + mha.o(attended.transpose(1, 2).flatten(2).transpose(0, 1))


def graph_of(model: Chronos2Forecaster, groups: bool = False) -> Graph:
    """The graph of a dense model, of single series or with groups and covariates.

    Raises
    ------
    UserError
        If the model has sparse layers: their dispatch depends on the data, which a graph cannot express.
    """
    if model.auxiliary:
        raise UserError(
            f"{model.source.name}: has sparse layers, which cannot be exported; export a dense student, or a mixture of"
            " students made by `potstill mix --students`.",
            key="export.sparse",
        )
    chronos = model.module.chronos_config
    return Graph(
        module=(_GroupsGraph if groups else _Chronos2Graph)(model.module),
        fixed=False,
        context_multiple=chronos.input_patch_size,
        horizon_multiple=chronos.output_patch_size,
        arcsinh=chronos.use_arcsinh,
        constant_scale=model.module.instance_norm.eps,
        rounding=False,
        rollout="deciles",
        groups=groups,
    )
