"""Forecasts beyond a model's horizon, from its own forecasts: each quantile path is fed back.

Each rule is that of the model in PyTorch: ``paths`` (Potstill's own students), ``deciles`` (Chronos-2), ``pooled``.

Shapes: B windows (and covariates), C context, P paths, Q levels, H steps of a block.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arithmetic import edges, masses
from .forecast import Forecast

#: the forecast of contexts ``[B, C]`` float64 for a number of steps, after so many steps have been forecast
Block = Callable[[np.ndarray, int, int], Forecast]
DECILES = np.round(np.arange(1, 10) * 0.1, 1).astype(np.float32)  # upstream's default


def roll_out_paths(block: Block, context: np.ndarray, steps: int, longest: int, max_context: int) -> Forecast:
    """The rule of Potstill's own students: see ``SmallStudentForecaster.roll_out``."""
    first = block(context, longest, 0)
    levels, windows = first.levels.astype(np.float64), len(context)
    blocks = [first.in_units()]
    paths = np.repeat(context[:, None], len(levels), axis=1)
    middle = int(np.abs(levels - 0.5).argmin())
    done = longest
    while done < steps:
        paths = np.concatenate([paths, blocks[-1]], axis=2)[..., -max_context:]
        ahead = block(paths.reshape(-1, paths.shape[2]), longest, done).in_units()
        mixed = _mix_paths(ahead.reshape(windows, len(levels), *ahead.shape[1:]), levels)
        blocks.append(_at_least_as_wide(mixed, blocks[-1], middle))
        done += longest
    return _continued(first, blocks, steps)


def roll_out_deciles(
    block: Block, context: np.ndarray, steps: int, longest: int, max_context: int, future: np.ndarray | None = None
) -> Forecast:
    """Upstream's rule: see ``Chronos2Pipeline._predict_batch``.

    Where ``future [B, steps]`` is known, it and not a forecast is fed back.
    """
    first = block(context, longest, 0)
    levels, windows = first.levels.astype(np.float64), len(context)
    path_levels = DECILES.astype(np.float64)
    weights = np.outer(_upstream_masses(path_levels), _upstream_masses(levels)).ravel()
    blocks = [first.in_units()]
    paths = np.repeat(context[:, None], len(path_levels), axis=1)
    done = longest
    while done < steps:
        newest = _interpolate(blocks[-1], levels, path_levels)
        if future is not None:
            known = future[:, None, done - newest.shape[2] : done]
            newest = np.where(np.isnan(known), newest, known)
        paths = np.concatenate([paths, newest], axis=2)[..., -max_context:]
        ahead = block(paths.reshape(-1, paths.shape[2]), min(longest, steps - done), done).in_units()
        ahead = ahead.reshape(windows, -1, ahead.shape[2])
        blocks.append(_weighted_quantiles(ahead, weights, levels))
        done += ahead.shape[2]
    return _continued(first, blocks, steps)


def roll_out_pooled(block: Block, context: np.ndarray, steps: int, longest: int, max_context: int) -> Forecast:
    """The rule of Moirai students: the quantiles of all paths' quantiles; see ``MoiraiForecaster.roll_out``."""
    first = block(context, longest, 0)
    levels, windows = first.levels.astype(np.float64), len(context)
    blocks, paths = [first.quantiles], np.repeat(context[:, None], len(levels), axis=1)
    for done in range(longest, steps, longest):
        paths = np.concatenate([paths, blocks[-1]], axis=2)[..., -max_context:]
        ahead = block(paths.reshape(-1, paths.shape[2]), longest, done).quantiles
        pooled = ahead.reshape(windows, -1, longest)
        blocks.append(np.quantile(pooled, levels, axis=1).transpose(1, 0, 2))
    return _continued(first, blocks, steps)


ROLLOUTS = {"paths": roll_out_paths, "deciles": roll_out_deciles, "pooled": roll_out_pooled}


def _continued(first: Forecast, blocks: list[np.ndarray], steps: int) -> Forecast:
    values = np.concatenate(blocks, axis=2)[..., :steps]
    return Forecast.of_units(first.levels, values, first.loc, first.scale)


def _upstream_masses(levels: np.ndarray) -> np.ndarray:
    """Upstream's probability of each level: half of the distance between its neighbours, normalised."""
    ends = np.concatenate([[0.0], levels, [1.0]])
    mass = (ends[2:] - ends[:-2]) / 2
    return mass / mass.sum()


def _interpolate(values: np.ndarray, own: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Values ``[B, Q, H]`` of ``own`` levels at other levels, not sorted, constant beyond the outer ones."""
    right = np.clip(np.searchsorted(own, levels), 1, len(own) - 1)
    left = right - 1
    share = np.clip((levels - own[left]) / (own[right] - own[left]), 0, 1)[None, :, None]
    return values[:, left] * (1 - share) + values[:, right] * share


def _weighted_quantiles(samples: np.ndarray, weights: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles ``[B, Q, H]`` of samples ``[B, S, H]`` with weights ``[S]``, linear between cumulative weights."""
    order = samples.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(samples, order, 1)
    position = np.clip(weights[order].cumsum(axis=1), 0, 1)
    return _read_off(ordered, position, levels)


def _mix_paths(forecasts: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles ``[B, Q, H]`` of forecasts ``[B, P, Q, H]`` after each path, mixed by the paths' probabilities."""
    if len(levels) == 1:
        return forecasts[:, 0]
    mass = masses(levels)
    within = np.tile((levels - edges(levels)[:-1]) / mass, len(levels))
    weight = np.outer(mass, mass).ravel()
    samples = forecasts.reshape(len(forecasts), -1, forecasts.shape[3])
    order = samples.argsort(axis=1, kind="stable")
    ordered, weights = np.take_along_axis(samples, order, 1), weight[order]
    position = weights.cumsum(axis=1) - weights * (1 - within[order])
    return _read_off(ordered, np.maximum.accumulate(position, axis=1), levels)


def _read_off(ordered: np.ndarray, position: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Sorted samples ``[B, S, H]`` at positions ``[B, S, H]`` in (0, 1), interpolated at levels: ``[B, Q, H]``."""
    found = []
    for level in levels:
        right = np.clip((position < level).sum(axis=1, keepdims=True), 1, ordered.shape[1] - 1)
        start, end = (np.take_along_axis(position, place, 1) for place in (right - 1, right))
        share = np.clip((level - start) / np.maximum(end - start, 1e-12), 0, 1)
        low, high = (np.take_along_axis(ordered, place, 1) for place in (right - 1, right))
        found.append(low + share * (high - low))
    return np.concatenate(found, axis=1)


def _at_least_as_wide(block: np.ndarray, before: np.ndarray, middle: int) -> np.ndarray:
    """``block [B, Q, H]`` stretched about its middle level until its mean width is no less than ``before``'s."""
    own, earlier = ((q[:, -1] - q[:, 0]).mean(axis=1) for q in (block, before))
    factor = np.maximum(np.divide(earlier, own, out=np.ones_like(own), where=own > 0), 1.0)[:, None, None]
    centre = block[:, middle : middle + 1]
    return centre + (block - centre) * factor
