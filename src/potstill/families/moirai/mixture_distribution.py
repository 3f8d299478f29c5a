"""Moirai's mixture distributions: weights and components, each with its CDF, density and bounds of its quantiles.

Everything is float64, in the mixture's own scale before upstream's affine transform.

Shapes: N steps (batch times horizon), K components.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, LogNormal, Normal, StudentT

from potstill.families.moirai.student_t import cdf_curve, student_t_cdf

MIN_WEIGHT = 1e-9  # components with a lower weight do not widen a bracket
MAX_COUNT = 2.0**52  # whole numbers are exact in float64 up to here
TABLE_SIZE = 32  # counts whose probability is tabulated


@dataclass
class _Part:
    """One component; each field is ``[N]`` (or ``[…, N]``) float64."""

    loc: Tensor
    scale: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Any:
        """The same component with ``function`` applied to each field, for example to take rows or add an axis."""
        return type(self)(**{field.name: function(getattr(self, field.name)) for field in fields(self)})


class _Normal(_Part):
    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """CDF and density at ``x``."""
        z = (x - self.loc) / self.scale
        return _phi(z), _density(z) / self.scale

    def bracket(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lower bound, upper bound and first guess of the quantile at ``level``."""
        x = self.loc + self.scale * torch.special.ndtri(level)
        return x, x, x


class _LogNormal(_Part):
    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        safe = x.clamp_min(1e-300)
        z = (safe.log() - self.loc) / self.scale
        return torch.where(x > 0, _phi(z), 0.0), torch.where(x > 0, _density(z) / (safe * self.scale), 0.0)

    def bracket(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = (self.loc + self.scale * torch.special.ndtri(level)).clamp(-600, 600).exp()
        return x, x, x


@dataclass
class _StudentT(_Part):
    df: Tensor
    norm: Tensor  # logarithm of the density's normalising constant
    curve: Tensor  # [D, N], see student_t_cdf

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cdf, logs = student_t_cdf((x - self.loc) / self.scale, self.df, self.curve)
        return cdf, torch.exp(self.norm - (self.df + 1) / 2 * logs) / self.scale

    def bracket(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normal = torch.special.ndtri(level)
        widest = (2 * level - 1) / (2 * level * (1 - level)).sqrt()  # two degrees of freedom, upstream's minimum
        guess = normal + (normal**3 + normal) / (4 * self.df)  # first term of the Cornish–Fisher expansion
        low, high = torch.minimum(normal, widest), torch.maximum(normal, widest)
        scaled = (low, high, torch.minimum(torch.maximum(guess, low), high))
        return tuple(self.loc + self.scale * x for x in scaled)  # type: ignore[return-value]


@dataclass
class _Counts(_Part):
    """Negative binomial: steps at 0, 1, 2, …; ``loc`` and ``scale`` are its mean and standard deviation."""

    size: Tensor
    failure: Tensor
    row: Tensor  # [N], index into table
    table: Tensor  # [K, rows], probability of at most k; shared by all rows, so `map` leaves it as it is

    def map(self, function: Callable[[Tensor], Tensor]) -> _Counts:
        own = {f.name: function(getattr(self, f.name)) for f in fields(self) if f.name != "table"}
        return _Counts(**own, table=self.table)

    def at(self, x: Tensor) -> tuple[Tensor, float]:
        return self.cdf(x), 0.0  # a discrete distribution has no density

    def cdf(self, x: Tensor) -> Tensor:
        """Probability of at most ``x``."""
        count = x.floor()
        row, count = torch.broadcast_tensors(self.row, count)
        inside = self.table[count.nan_to_num().clamp(0, TABLE_SIZE - 1).long(), row]
        cdf = torch.where(count < 0, 0.0, inside)
        beyond = count >= TABLE_SIZE
        return self._large_counts(cdf, beyond, count) if beyond.any() else cdf

    def _large_counts(self, cdf: Tensor, beyond: Tensor, count: Tensor) -> Tensor:
        """Fill in the CDF of large counts by SciPy's incomplete beta function, without a gradient."""
        from scipy.special import betainc

        size, failure = (t.detach().expand_as(count)[beyond].cpu().numpy() for t in (self.size, self.failure))
        far = betainc(size.clip(1e-12), count[beyond].cpu().numpy() + 1, failure)
        return cdf.masked_scatter(beyond, torch.as_tensor(far, dtype=cdf.dtype).to(cdf.device))

    def bracket(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        odds = (level / (1 - level)).sqrt()  # Cantelli's inequality on both sides
        high = (self.loc + self.scale * odds).ceil().clamp(max=MAX_COUNT)
        low = (self.loc - self.scale / odds).floor().clamp(0, MAX_COUNT) - 0.5
        return low, high, self.loc.clamp(max=MAX_COUNT).expand_as(high)


@dataclass
class Mixture:
    """A mixture distribution: components and their weights ``[K, N]``."""

    weights: Tensor
    parts: Sequence[Any]

    @property
    def counts(self) -> int | None:
        """Index of the negative binomial component; None if there is none."""
        return next((i for i, part in enumerate(self.parts) if isinstance(part, _Counts)), None)

    @property
    def requires_grad(self) -> bool:
        """Whether any parameter requires a gradient."""
        tensors = [self.weights, *(getattr(part, field.name) for part in self.parts for field in fields(part))]
        return any(tensor.requires_grad for tensor in tensors)

    def map(self, function: Callable[[Tensor], Tensor]) -> Mixture:
        """The same mixture with ``function`` applied to every parameter."""
        return Mixture(function(self.weights), [part.map(function) for part in self.parts])

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """CDF at ``x``, and the density of the continuous components."""
        cdf, pdf = torch.zeros_like(x), torch.zeros_like(x)
        for weight, part in zip(self.weights, self.parts, strict=True):
            below, density = part.at(x)
            cdf, pdf = cdf + weight * below, pdf + weight * density
        return cdf, pdf

    def cdf(self, x: Tensor) -> Tensor:
        """Probability of at most ``x``."""
        return self.at(x)[0]

    def step(self, x: Tensor) -> Tensor:
        """Probability of exactly ``x``, a whole number."""
        index = self.counts
        if index is None:
            return torch.zeros_like(x)
        part = self.parts[index]
        return self.weights[index] * (part.cdf(x) - part.cdf(x - 1))

    def bracket(self, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bounds and first guess: the quantile is between the lowest and the highest of the components' quantiles."""
        lows, highs, guesses = zip(*(part.bracket(level) for part in self.parts), strict=True)
        relevant = [w > MIN_WEIGHT for w in self.weights]
        low = torch.stack([torch.where(t, x, torch.inf) for t, x in zip(relevant, lows, strict=True)]).amin(0)
        high = torch.stack([torch.where(t, x, -torch.inf) for t, x in zip(relevant, highs, strict=True)]).amax(0)
        margin = 1e-9 * (1 + low.abs() + high.abs())
        guess = sum(w * g.clamp(-1e9, 1e9) for w, g in zip(self.weights, guesses, strict=True))
        return low - margin, high + margin, guess  # type: ignore[return-value]


def mixture_of(distribution: Any, pick: Callable[[Tensor], Tensor] = lambda x: x) -> Mixture:
    """Convert a distribution of uni2ts, without its affine transform, to a Mixture.

    Parameters
    ----------
    distribution
        A uni2ts ``Mixture`` of Student-t, normal, log-normal and negative binomial distributions, or one of these.
    pick
        Applied to each parameter; its result is flattened to ``[N]``.

    Raises
    ------
    TypeError
        For a distribution that released Moirai models do not have.
    """

    def flat(x: Tensor) -> Tensor:
        return pick(x).reshape(-1).double()

    weights = getattr(distribution, "weights", None)
    if not isinstance(weights, Categorical):
        part = _part(distribution, flat)
        return Mixture(torch.ones_like(part.loc)[None], [part])
    logits = torch.stack([flat(x) for x in weights.logits.unbind(-1)])
    return Mixture(logits.softmax(0), [_part(c, flat) for c in distribution.components])


def _part(component: Any, flat: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(component, StudentT):
        df, loc, scale = (flat(t) for t in (component.df, component.loc, component.scale))
        norm = torch.lgamma((df + 1) / 2) - torch.lgamma(df / 2) - (df * math.pi).log() / 2
        return _StudentT(loc, scale, df, norm, cdf_curve(df))
    if isinstance(component, LogNormal):
        return _LogNormal(flat(component.loc), flat(component.scale))
    if isinstance(component, Normal):
        return _Normal(flat(component.loc), flat(component.scale))
    if type(component).__name__ == "NegativeBinomial":
        return _counts(flat(component.total_count), flat(component.logits))
    raise TypeError(f"quantiles of {type(component).__name__} are not implemented")


def _counts(size: Tensor, logits: Tensor) -> _Counts:
    success, failure = logits.sigmoid(), (-logits).sigmoid()
    k = torch.arange(TABLE_SIZE - 1, dtype=size.dtype, device=size.device)[:, None]
    ratios = success * (k + size) / (k + 1)
    none = torch.exp(size * torch.nn.functional.logsigmoid(-logits))
    table = (none * torch.cat([torch.ones_like(ratios[:1]), ratios.cumprod(0)])).cumsum(0)
    mean = (size * logits.clamp(max=80).exp()).detach()
    spread = (mean / failure.detach().clamp_min(1e-30)).sqrt()
    return _Counts(mean, spread, size, failure, torch.arange(len(size), device=size.device), table)


def _phi(z: Tensor) -> Tensor:
    return 0.5 * torch.erf(z * math.sqrt(0.5)) + 0.5


def _density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
