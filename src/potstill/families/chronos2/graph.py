"""A Chronos-2 model as a graph for export: one series per row, whose group attention is a linear map.

Shapes: B windows, C context, N output patches, P steps per patch, Q levels.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.base.graph import Graph
from potstill.families.chronos2.encode import encode_univariate
from potstill.families.chronos2.model import Chronos2Forecaster


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
        chronos = self.module.chronos_config
        encoded = encode_univariate(self.module, context, patches.shape[0])
        values = self.module.output_patch_embedding(encoded.stream)
        by_level = values.unflatten(2, (len(chronos.quantiles), chronos.output_patch_size))
        return by_level.transpose(1, 2).flatten(2)


def graph_of(model: Chronos2Forecaster) -> Graph:
    """The graph of a dense model.

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
        module=_Chronos2Graph(model.module),
        fixed=False,
        context_multiple=chronos.input_patch_size,
        horizon_multiple=chronos.output_patch_size,
        arcsinh=chronos.use_arcsinh,
        constant_scale=model.module.instance_norm.eps,
        rounding=False,
        rollout="deciles",
    )
