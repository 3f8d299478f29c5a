"""Quantiles of mixture distributions, whose parameters a graph gives: a bracketed Newton search in float64.

The rules are those of the main package, ``families/moirai``: exact to 1e-9 of probability.

Shapes: B windows, H horizon, N = B · H distributions, Q levels, K components, M searches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

TOLERANCE = 1e-9  # in probability: a search ends when it is this close to its level
COMMON_ROUNDS = 4  # rounds on all searches, finished or not; then only on those that are left
MAX_ROUNDS = 400  # far more than bisection alone needs
MIN_WEIGHT = 1e-9  # components with a lower weight do not widen a bracket
MAX_W = 6.0  # of the Student-t curve: at most 4e-9 of probability is beyond it
GRID_END, GRID_STEP = 8.5, 0.005  # of the table of the normal distribution, which is exact to 1e-11 between its points

#: number of parameters of each kind of component
KINDS: Mapping[str, int] = {"student_t": 3, "log_normal": 2, "normal": 2}


def quantiles_of(parameters: np.ndarray, kinds: Sequence[str], table: Any, levels: np.ndarray) -> np.ndarray:
    """Quantiles ``[B, Q, H]`` float64 at ``levels [Q]``.

    Parameters
    ----------
    parameters
        ``[B, R, H]``: logits of the weights ``[K]``, then the parameters of each component.
    kinds
        Names of the components, of ``KINDS``.
    table
        Coefficients of the Student-t curve, see ``families/moirai/student_t.py``.
    """
    windows, _, steps = parameters.shape
    rows = parameters.astype(np.float64).transpose(1, 0, 2).reshape(parameters.shape[1], -1)
    mixture = _Mixture.of(rows, kinds, np.asarray(table, np.float64))
    found = _search(mixture, levels.astype(np.float64))
    return found.reshape(len(levels), windows, steps).transpose(1, 0, 2)


@dataclass
class _Part:
    """A component: ``loc`` and ``scale`` are ``[N]``."""

    loc: np.ndarray
    scale: np.ndarray

    def take(self, rows: np.ndarray) -> Any:
        """The same component of some distributions."""
        return type(self)(**{name: values[..., rows] for name, values in vars(self).items()})


class _Normal(_Part):
    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """CDF and density at ``x``."""
        z = (x - self.loc) / self.scale
        return _phi(z), _density(z) / self.scale

    def bracket(self, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lower bound, upper bound and first guess of the quantile at a level."""
        x = self.loc + self.scale * NormalDist().inv_cdf(level)
        return x, x, x


class _LogNormal(_Part):
    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        safe = np.maximum(x, 1e-300)
        z = (np.log(safe) - self.loc) / self.scale
        return np.where(x > 0, _phi(z), 0.0), np.where(x > 0, _density(z) / (safe * self.scale), 0.0)

    def bracket(self, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = np.exp(np.clip(self.loc + self.scale * NormalDist().inv_cdf(level), -600, 600))
        return x, x, x


@dataclass
class _StudentT(_Part):
    df: np.ndarray
    curve: np.ndarray  # [D, N]
    norm: np.ndarray  # logarithm of the density's normalising constant

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = (x - self.loc) / self.scale
        share = np.maximum(t * t / self.df, 1e-10)
        logs = np.log1p(share)
        w = np.clip(t * np.sqrt(logs / share), -MAX_W, MAX_W)
        place = w * w * (2 / MAX_W**2) - 1
        ratio = self.curve[-1]
        for coefficient in self.curve[-2::-1]:
            ratio = coefficient + ratio * place
        return _phi(w * ratio), np.exp(self.norm - (self.df + 1) / 2 * logs) / self.scale

    def bracket(self, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        normal = NormalDist().inv_cdf(level)
        widest = (2 * level - 1) / math.sqrt(2 * level * (1 - level))  # two degrees of freedom, the fewest
        low, high = min(normal, widest), max(normal, widest)
        guess = np.clip(normal + (normal**3 + normal) / (4 * self.df), low, high)
        return self.loc + self.scale * low, self.loc + self.scale * high, self.loc + self.scale * guess


@dataclass
class _Mixture:
    """``weights [K, N]`` and components."""

    weights: np.ndarray
    parts: list[Any]

    @classmethod
    def of(cls, rows: np.ndarray, kinds: Sequence[str], table: np.ndarray) -> _Mixture:
        count = len(kinds)
        shares = np.exp(rows[:count] - rows[:count].max(0))
        parts, first = [], count
        for kind in kinds:
            *shape, loc, scale = rows[first : first + KINDS[kind]]
            parts.append(_student_t(shape[0], loc, scale, table) if shape else _SIMPLE[kind](loc, scale))
            first += KINDS[kind]
        return cls(shares / shares.sum(0), parts)

    def take(self, rows: np.ndarray) -> _Mixture:
        return _Mixture(self.weights[:, rows], [part.take(rows) for part in self.parts])

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """CDF and density at ``x``."""
        pairs = [part.at(x) for part in self.parts]
        return tuple(  # type: ignore[return-value]
            sum(weight * pair[place] for weight, pair in zip(self.weights, pairs, strict=True)) for place in range(2)
        )

    def brackets(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``[Q, N]`` bounds and first guesses: a quantile is between the lowest and the highest of the components'."""
        found = np.array([[part.bracket(level) for part in self.parts] for level in levels.tolist()])  # [Q, K, 3, N]
        used = self.weights > MIN_WEIGHT
        low = np.where(used, found[:, :, 0], np.inf).min(1)
        high = np.where(used, found[:, :, 1], -np.inf).max(1)
        margin = 1e-9 * (1 + np.abs(low) + np.abs(high))
        return low - margin, high + margin, (self.weights * np.clip(found[:, :, 2], -1e9, 1e9)).sum(1)


_SIMPLE: Mapping[str, Callable[..., Any]] = {"normal": _Normal, "log_normal": _LogNormal}


def _student_t(df: np.ndarray, loc: np.ndarray, scale: np.ndarray, table: np.ndarray) -> _StudentT:
    place = 4 / np.maximum(df, 2.0) - 1
    chebyshev = [np.ones_like(df), place]
    while len(chebyshev) < table.shape[1]:
        chebyshev.append(2 * place * chebyshev[-1] - chebyshev[-2])
    norm = _log_gamma_ratio(df) - np.log(df * math.pi) / 2
    return _StudentT(loc, scale, df, table @ np.stack(chebyshev), norm)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a graph's values may be infinite; they are checked
def _search(mixture: _Mixture, levels: np.ndarray) -> np.ndarray:
    """``[Q, N]`` quantiles."""
    low, high, x = (part.ravel() for part in mixture.brackets(levels))
    count = mixture.weights.shape[1]
    level, rows = levels.repeat(count), np.tile(np.arange(count), len(levels))
    x = np.where((x > low) & (x < high), x, (low + high) / 2)
    move, result, left = high - low, high.copy(), np.arange(len(x))
    here = mixture.take(rows)
    for turn in range(MAX_ROUNDS):
        cdf, density = here.at(x)
        below = cdf < level
        low, high = np.where(below, x, low), np.where(below, high, x)
        met = np.abs(cdf - level) <= TOLERANCE
        result[left] = np.where(met, x, high)
        going = ~met & (high - low > 4e-16 * np.maximum(np.abs(low), np.abs(high)))  # False for NaN
        if not going.any():
            break
        step = (cdf - level) / np.maximum(density, 1e-300)
        newton, half = x - step, (high - low) / 2
        use = (newton > low) & (newton < high) & (np.abs(step) < move / 2)
        x = np.where(going, np.where(use, newton, low + half), x)
        move = np.where(use, np.abs(step), half)
        if turn >= COMMON_ROUNDS or going.mean() < 0.5:
            low, high, x, move, level, left = (part[going] for part in (low, high, x, move, level, left))
            here = here.take(np.flatnonzero(going))
    return result.reshape(len(levels), count)


def _log_gamma_ratio(df: np.ndarray) -> np.ndarray:
    """log Γ((ν + 1) / 2) - log Γ(ν / 2) to 1e-3: only the steps of the search use it."""
    x = df / 2
    return np.log(x) / 2 + np.log1p((-1 / 8 + (1 / 128 + 5 / 1024 / x) / x) / x)


def _phi(z: np.ndarray) -> np.ndarray:
    """The CDF of the normal distribution: from a table, and a Taylor series around its points."""
    nodes, cdf, density = _normal_table()
    z = np.clip(z, -GRID_END, GRID_END)
    place = np.nan_to_num((z + GRID_END) / GRID_STEP + 0.5).astype(np.intp)
    node, apart = nodes[place], z - nodes[place]
    return cdf[place] + density[place] * apart * (1 - apart / 2 * (node - (node * node - 1) * apart / 3))


@functools.cache
def _normal_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nodes = np.linspace(-GRID_END, GRID_END, round(2 * GRID_END / GRID_STEP) + 1)
    cdf = np.array([math.erfc(-z * math.sqrt(0.5)) / 2 for z in nodes.tolist()])
    return nodes, cdf, _density(nodes)


def _density(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
