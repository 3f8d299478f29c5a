"""Quantiles of Moirai's mixtures: deterministic, exact to 1e-9 of probability, and differentiable.

Upstream can only sample. Here a bracketed search (Newton steps, with bisection as the fallback) inverts the mixture's
CDF for all steps and levels at once, in float64. The reasons are in docs/decisions/0008-moirai-quantiles.md.

Shapes: N steps (batch times horizon), Q levels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from potstill.families.moirai.mixture_distribution import MIN_WEIGHT, Mixture

TOLERANCE = 1e-9  # in probability: a search ends when it is this close to its level
COMMON_ROUNDS = 5  # rounds on all searches, finished or not
MAX_ROUNDS = 400  # further rounds: far more than bisection alone needs
SEARCHES_PER_CHUNK = 1 << 17  # with fewer, threads are idle; more take memory
MIN_DENSITY = 0.02  # density times spread below which the gradient is damped; a normal has 0.45 at its outer deciles


def mixture_quantiles(mixture: Mixture, levels: Tensor) -> Tensor:
    """Quantiles at the given levels, exact to ``TOLERANCE`` of probability.

    Parameters
    ----------
    mixture
        N distributions; if their parameters require gradients, so does the result.
    levels
        ``[Q]`` in (0, 1).

    Returns
    -------
    Tensor
        ``[Q, N]`` float64: the smallest x with F(x) ≥ p. Its gradient follows from F(q(θ), θ) = p: dq = -dF/f. A
        quantile on a step of the negative binomial does not change with the parameters, so its gradient is 0.
    """
    with torch.no_grad():
        steps_per_chunk = SEARCHES_PER_CHUNK // len(levels) + 1
        chunks = torch.arange(mixture.weights.shape[1], device=mixture.weights.device).split(steps_per_chunk)
        searches = [_search(mixture.map(lambda x, rows=rows: x[..., rows]), levels) for rows in chunks]
        quantiles, steps = (torch.cat(pieces, dim=1) for pieces in zip(*searches, strict=True))
    if not (torch.is_grad_enabled() and mixture.requires_grad):
        return quantiles
    moved, density = mixture.at(quantiles)
    with torch.no_grad():
        spread = (quantiles.amax(0) - quantiles.amin(0)).clamp_min(1e-6)
        density = torch.maximum(density, MIN_DENSITY / spread)
    correction = torch.where(steps, 0.0, (moved - moved.detach()) / density)
    return quantiles - correction


@dataclass
class _State:
    """Running searches: bracket, next point, last step size and target level; all of the same shape."""

    low: Tensor
    high: Tensor
    x: Tensor
    move: Tensor
    level: Tensor

    def take(self, which: Tensor) -> _State:
        return _State(*(getattr(self, field.name)[which] for field in fields(self)))


def _search(mixture: Mixture, levels: Tensor) -> tuple[Tensor, Tensor]:
    """``[Q, N]`` quantiles, and bool: which of them are on a step.

    Most searches end within a few rounds. These run on all searches, because selecting the unfinished ones is slower.
    """
    level = levels.to(mixture.weights)[:, None]
    low, high, x = torch.broadcast_tensors(*mixture.bracket(level))
    x = torch.where((x > low) & (x < high), x, (low + high) / 2)
    state = _State(low, high, x, high - low, level.expand_as(x))
    result, on_step, done = high.clone(), torch.zeros_like(x, dtype=torch.bool), torch.zeros_like(x, dtype=torch.bool)
    for _ in range(COMMON_ROUNDS):
        state, found, on, ended = _round(mixture, state)
        fresh = ended & ~done
        result, on_step, done = torch.where(fresh, found, result), on_step | (on & fresh), done | ended
        if done.all():
            return result, on_step
    left = ~done
    rows = left.nonzero()[:, 1]
    state, slots = state.take(left), left.flatten().nonzero()[:, 0]
    for _ in range(MAX_ROUNDS):
        state, found, on, ended = _round(mixture.map(lambda t, rows=rows: t.index_select(-1, rows)), state)
        result.view(-1)[slots[ended]] = found[ended]
        on_step.view(-1)[slots[ended]] = on[ended]
        left = ~ended
        state, rows, slots = state.take(left), rows[left], slots[left]
        if not len(slots):
            break
    return result, on_step


def _round(mixture: Mixture, state: _State) -> tuple[_State, Tensor, Tensor, Tensor]:
    """One evaluation: the narrower bracket, the quantiles so far, and bool: which are on a step, and which are done."""
    x, stepped = _to_whole(mixture, state)
    upper, density = mixture.at(x)
    lower = upper if stepped is None or not stepped.any() else torch.where(stepped, upper - mixture.step(x), upper)
    right = upper < state.level
    low = torch.where(right, x, state.low)
    met, on, cut = (upper - state.level).abs() <= TOLERANCE, torch.zeros_like(right), x
    if stepped is not None:
        on = stepped & ~right & (lower < state.level)
        met = on | (met & ~stepped)
        cut = torch.where(stepped, torch.nextafter(x, low), x)
    high = torch.where(right, state.high, cut)
    wide = high - low > 4e-16 * torch.maximum(low.abs(), high.abs())  # False for NaN
    move = (torch.where(right, upper, lower) - state.level) / density.clamp_min(1e-300)
    newton, half = x - move, (high - low) / 2
    use = (newton > low) & (newton < high) & (move.abs() < state.move / 2)
    after = _State(low, high, torch.where(use, newton, low + half), torch.where(use, move.abs(), half), state.level)
    return after, torch.where(met, x, high), on, met | ~wide


def _to_whole(mixture: Mixture, state: _State) -> tuple[Tensor, Tensor | None]:
    """Round x to a whole number if the bracket has one where the negative binomial steps; also returns where it did."""
    index = mixture.counts
    if index is None:
        return state.x, None
    first, last = (state.low.floor() + 1).clamp_min(0), state.high.floor()
    stepped = (mixture.weights[index] > MIN_WEIGHT) & (first <= last)
    return torch.where(stepped, torch.minimum(torch.maximum(state.x.round(), first), last), state.x), stepped
