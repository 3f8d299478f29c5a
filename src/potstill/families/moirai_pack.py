"""From windows to the packed tokens that uni2ts's modules read, and the pass of a ``MoiraiModule`` over them.

What differs from upstream changes no number by more than rounding: only the patch size in use is projected, and only
the tokens of the future reach the distribution's head.

Shapes: B windows, C context, H horizon, P steps per patch, T tokens, D d_model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Tokens:
    """A packed batch, one series a row: what ``MoiraiForecast._convert`` makes.

    Attributes
    ----------
    target, observed
        ``[B, T, P]`` values (0 where missing) and which of them are there.
    sample_id
        ``[B, T]`` 1, or 0 for tokens that are padding throughout.
    time_id
        ``[B, T]`` position; counting starts at the first token with a value.
    future
        ``[B, T]`` which tokens are to be forecast: the last ones.
    """

    target: Tensor
    observed: Tensor
    sample_id: Tensor
    time_id: Tensor
    future: Tensor

    @property
    def variate_id(self) -> Tensor:
        """``[B, T]`` zeros: every row holds one series."""
        return torch.zeros_like(self.time_id)


def pack(context: Tensor, horizon: int, patch: int, filled: Tensor | None = None) -> Tokens:
    """Cut contexts into patches, aligned to their end, and add empty ones for the horizon.

    Parameters
    ----------
    context
        ``[B, C]``, NaN where missing. A run of NaN at the start is padding; a later one is a gap.
    horizon
        Steps to forecast, H.
    patch
        Steps per patch, P.
    filled
        ``[B, C]`` values to read in the place of NaN; default: 0, as upstream trained.
    """
    rows, length = context.shape
    observed = ~context.isnan()
    values = torch.nan_to_num(context) if filled is None else filled
    there = observed.cummax(dim=1).values
    before, count = -length % patch, math.ceil(horizon / patch)
    after = count * patch - horizon

    def tokens(past: Tensor, future: Tensor) -> Tensor:
        whole = torch.cat([past.new_zeros(rows, before), past, future, future.new_zeros(rows, after)], dim=1)
        return whole.view(rows, whole.shape[1] // patch, patch)

    seen = tokens(observed, observed.new_ones(rows, horizon))
    started = tokens(there, there.new_ones(rows, horizon)).any(-1)
    sample_id = started.int()
    past = (started.long().cumsum(1)[:, :-count] - 1).clamp_min(0)
    ahead = torch.arange(1, count + 1, device=context.device) + past.amax(dim=1, keepdim=True)
    future = torch.zeros_like(started)
    future[:, -count:] = True
    return Tokens(tokens(values, values.new_zeros(rows, horizon)), seen, sample_id, torch.cat([past, ahead], 1), future)


def walk(
    module: Any, tokens: Tokens, patch: int, hidden: Iterable[int] = ()
) -> tuple[Any, Tensor, Tensor, dict[int, Tensor]]:
    """One pass of a ``MoiraiModule``.

    Returns
    -------
    tuple
        The distribution of the future in the module's own scale (parameters ``[B, tokens, P]``), ``loc`` and ``scale``
        ``[B, 1]`` of the affine transform, and the stream ``[B, T, D]`` after each layer asked for.
    """
    index = list(module.patch_sizes).index(patch)
    known = tokens.observed & ~tokens.future[..., None]
    loc, scale = module.scaler(tokens.target, known, tokens.sample_id, tokens.variate_id)
    entry = module.in_proj
    stream = nn.functional.linear((tokens.target - loc) / scale, entry.weight[index, :, :patch], entry.bias[index])
    stream = torch.where(tokens.future[..., None], module.mask_encoding.weight.to(stream.dtype), stream)
    stream = stream.to(next(module.encoder.parameters()).dtype)
    mask = tokens.sample_id[..., None] == tokens.sample_id[:, None]
    states, asked = {}, set(hidden)
    for number, layer in enumerate(module.encoder.layers):
        stream = layer(stream, mask, var_id=tokens.variate_id, time_id=tokens.time_id)
        if number in asked:
            states[number] = stream
    count = int(tokens.future[0].sum())
    stream = module.encoder.norm(stream[:, -count:])
    with torch.autocast(stream.device.type, enabled=False):  # 8 bits of mantissa are too few for a distribution
        distribution = _head(module, stream.float(), index, patch)
    return distribution, loc[:, -1].double(), scale[:, -1].double(), states


def _head(module: Any, stream: Tensor, index: int, patch: int) -> Any:
    """Upstream's projection to a distribution, for one patch size.

    Upstream lays each parameter out as (dimension, largest patch) but masks as if it were (dimension, patch): the
    weights of all but the first of several dimensions are then masked away, and their bias alone counts.
    """
    largest = max(module.patch_sizes)

    def project(layer: Any) -> Tensor:
        rows = torch.arange(layer.dim * largest, device=stream.device).view(layer.dim, largest)[:, :patch].flatten()
        weight = (layer.weight[index] * layer.mask[index])[rows]
        return nn.functional.linear(stream, weight, layer.bias[index, rows]).unflatten(-1, (layer.dim, patch)).mT

    def bounded(projections: Any, domain: Any) -> Any:
        if isinstance(projections, nn.ModuleDict):
            return {name: bounded(inner, domain[name]) for name, inner in projections.items()}
        if isinstance(projections, nn.ModuleList):
            return [bounded(*pair) for pair in zip(projections, domain, strict=True)]
        return domain(project(projections))

    head = module.param_proj
    return module.distr_output._distribution(bounded(head.proj, head.domain_map), validate_args=False)


def filled_by_mean(context: Tensor) -> Tensor:
    """Each gap's mean of everything before it, gaps counted as the last value: what MoE and Moirai-2 were trained on.

    The run of NaN at the start of ``context [B, C]`` is padding and becomes 0.
    """
    observed = ~context.isnan()
    place = torch.arange(context.shape[1], device=context.device).expand_as(context)
    last = torch.where(observed, place, 0).cummax(dim=1).values
    carried = torch.nan_to_num(context.gather(1, last)).double()
    carried = torch.where(observed.cummax(dim=1).values, carried, 0.0)
    before = carried.cumsum(1) - carried
    counted = observed.cummax(dim=1).values.long().cumsum(1) - 1
    mean = before / counted.clamp_min(1)
    return torch.where(observed | (counted < 0), carried, mean).to(context.dtype)
