"""Quantile forecasts of Moirai-MoE and Moirai-2, which forecast patch by patch.

Both are deterministic, in the way that upstream implements Moirai-2: every quantile of a patch is fed back as a
separate path, and the quantiles of the next patch are those of all paths' quantiles pooled.

Shapes: B windows, C context, H horizon, P steps per patch, T tokens, Q levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def moirai2_quantiles(forecast: Any, filled: Tensor, missing: Tensor, horizon: int) -> Tensor:
    """Quantiles ``[B, Q, H]`` in input units, from upstream's ``Moirai2Forecast``.

    Parameters
    ----------
    forecast
        The ``Moirai2Forecast``.
    filled, missing
        ``[B, C]`` values without gaps, and bool: which of them were filled in.
    horizon
        Steps to forecast.
    """
    padded = missing.int().cummin(dim=1).values.bool()
    with forecast.hparams_context(prediction_length=horizon, context_length=filled.shape[1]):
        return forecast(filled[..., None], ~missing[..., None], padded)


def moe_quantiles(
    module: Any, tokens: Any, levels: Tensor, horizon: int, quantiles: Callable[[Any, int], Tensor]
) -> Tensor:
    """Quantiles ``[B, Q, H]`` in input units, from a ``MoiraiMoEModule`` with one patch size.

    Parameters
    ----------
    module
        The ``MoiraiMoEModule``; its largest patch size is used.
    tokens
        Packed windows; see ``pack.Tokens``.
    levels
        ``[Q]``.
    horizon
        Steps to forecast.
    quantiles
        Maps a distribution and the index of a token to ``[rows, Q, P]`` quantiles in input units.
    """
    target, future = tokens.target, tokens.future
    rows, count = len(target), int(future[0].sum())
    first = target.shape[1] - count
    others = [tokens.observed, tokens.sample_id, tokens.time_id, tokens.variate_id]
    patch_quantiles = []
    for token in range(first, first + count):
        observed, sample_id, time_id, variate_id = others
        patches = torch.full_like(time_id, target.shape[2])
        distribution = module(target, observed, sample_id, time_id, variate_id, future, patches)
        following = quantiles(distribution, token - 1)  # causal: a token forecasts the next one
        if token == first:
            target, future, *others = (t.repeat_interleave(len(levels), 0) for t in (target, future, *others))
        else:
            pooled = following.reshape(rows, -1, following.shape[-1])
            following = torch.quantile(pooled, levels.to(pooled), dim=1).transpose(0, 1)
        patch_quantiles.append(following)
        target, future = target.clone(), future.clone()
        target[:, token] = following.reshape(-1, following.shape[-1])
        future[:, token] = False
    return torch.cat(patch_quantiles, dim=2)[..., :horizon]
