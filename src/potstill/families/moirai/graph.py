"""A Moirai 1 student as a graph for export: scaled contexts in, parameters of the distributions of the future out.

Quantiles have no closed form. The runtime searches them in float64 (``potstill.runtime.distribution``), as
``quantiles.py`` does here.

Shapes: B windows, C context, P steps per patch, T tokens, N tokens of the future, H = N · P steps, K components.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from potstill.errors import UserError
from potstill.families.base import Graph
from potstill.families.moirai.encode import encode_stream, parameters
from potstill.families.moirai.encoder_model import MoiraiForecaster
from potstill.families.moirai.student_t import cdf_table
from potstill.families.recorder import Recorder

UNSEEN = -1e9  # added to the scores of padding

#: by uni2ts's class: the component's name in the runtime
_NAMES = {
    "StudentTOutput": "student_t",
    "NormalFixedScaleOutput": "normal",
    "NormalOutput": "normal",
    "LogNormalOutput": "log_normal",
}
#: and its parameters, in the order of the graph's output
_PARAMETERS = {"student_t": ("df", "loc", "scale"), "normal": ("loc", "scale"), "log_normal": ("loc", "scale")}


class _MoiraiGraph(nn.Module):
    def __init__(self, module: Any, names: list[str]):
        super().__init__()
        self.module, self.names = copy.deepcopy(module).float().eval(), names
        (self.patch,) = module.patch_sizes

    def forward(self, context: Tensor, missing: Tensor, patches: Tensor) -> Tensor:
        """Logits of the weights, then the parameters of each component: ``[B, parameters, H]``.

        Parameters
        ----------
        context
            ``[B, C]`` scaled, NaN where missing.
        missing
            ``[B, 1]``: a 0 of the input, scaled, by which missing values are replaced.
        patches
            ``[N]``, of which only the length counts.
        """
        count = patches.shape[0]
        known = context.isnan().logical_not()
        values = torch.where(known, context, missing).unflatten(1, (-1, self.patch))
        time, present = _places(known.to(context.dtype).unflatten(1, (-1, self.patch)).amax(2), count)
        entry, ahead = self.module.in_proj, self.module.mask_encoding.weight
        past = nn.functional.linear(values, entry.weight[0, :, : self.patch], entry.bias[0])
        stream = torch.cat([past, ahead[None].expand(context.shape[0], count, -1)], dim=1)
        one, other = present[:, None, :, None], present[:, None, None]
        apart = one + other - 2 * one * other  # 1 between padding and the rest
        encoded = encode_stream(self.module.encoder, stream, time, apart * UNSEEN, count, Recorder(None))
        return self._rows(parameters(self.module, encoded, 0, self.patch))

    def _rows(self, found: Any) -> Tensor:
        rows = list(found["weights_logits"].unbind(-1))
        for name, kind, part in zip(self.names, self.module.distr_output.components, found["components"], strict=True):
            if "scale" not in part:
                part["scale"] = torch.full_like(part["loc"], kind.scale)
            rows += [part[parameter] for parameter in _PARAMETERS[name]]
        return torch.stack([row.flatten(1) for row in rows], dim=1)


def _places(known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Positions of the tokens, counted from the first with a value, and 1 for those from there on: ``[B, T + N]``.

    ``known`` is 1 for tokens with a value. Numbers are floats, because graphs have few operations for others.
    """
    present = (known.cumsum(1) > 0).to(known.dtype)
    past = (present.cumsum(1) - 1).clamp_min(0)
    steps = torch.arange(1, count + 1, dtype=known.dtype)
    ahead = steps + (present.sum(1, keepdim=True) - 1).clamp_min(0)
    return torch.cat([past, ahead], dim=1), torch.cat([present, torch.ones_like(ahead)], dim=1)


def graph_of(model: Any) -> Graph:
    """The graph of a student.

    Raises
    ------
    UserError
        For a teacher, and for distributions whose quantiles the runtime does not search.
    """
    if not isinstance(model, MoiraiForecaster) or model.trained_horizon is None or model.horizon_multiple == 1:
        raise UserError(
            f"{model.source.name}: only Moirai students with one patch size can be exported; distil one with"
            " `--student moirai`.",
            key="export.unsupported_model",
        )
    kinds = [type(part).__name__ for part in getattr(model.module.distr_output, "components", [])]
    names = [_NAMES.get(kind, "") for kind in kinds]
    if not names or "" in names:
        raise UserError(
            f"{model.source.name}: a distribution with {', '.join(kinds) or 'one component'} cannot be exported; distil"
            " a student without negative_binomial.",
            key="export.unsupported_model",
        )
    graph = _MoiraiGraph(model.module, names)
    return Graph(
        module=graph,
        fixed=False,
        context_multiple=graph.patch,
        horizon_multiple=graph.patch,
        arcsinh=False,
        constant_scale=1.0,
        rounding=False,
        rollout="pooled",
        scaling="uni2ts",
        distribution=names,
        student_t=cdf_table().tolist() if "student_t" in names else [],
    )
