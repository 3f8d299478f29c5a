"""Scale-free features of a context, which the router reads.

They follow the feature sets of forecast combination (FFORMA and its predecessors), restricted to those that are
computed for a whole batch at once.

Shapes: B windows, C context, F features.

References
----------
Montero-Manso et al., "FFORMA: Feature-based Forecast Model Averaging", 2020; Wang, Smith and Hyndman,
"Characteristic-Based Clustering for Time Series Data", 2006.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from potstill.families.standardise import standardise

LAST_VALUES = 32
#: lags of the autocorrelation: seasons of quarter-hourly to monthly data
LAGS = (1, 2, 3, 4, 6, 7, 12, 13, 24, 30, 48, 52, 96, 144, 168, 336)
_LEAST_PAIRS = 8  # pairs of known values that an autocorrelation needs
_SMALLEST_NORM = 1e-3  # below it, the values of the pairs differ by rounding errors alone
_LARGEST = 10.0

FEATURE_NAMES = (
    "history",
    "missing",
    "level_over_spread",
    "recent_level",
    "trend",
    "trend_strength",
    "zeros",
    "unchanged",
    "roughness",
    "largest_deviation",
    "spectral_entropy",
    "spectral_peak_share",
    "spectral_peak_period",
    "slow_share",
    *(f"autocorrelation_{lag}" for lag in LAGS),
    *(f"value_{step}" for step in range(-LAST_VALUES, 0)),
)


def series_features(context: Tensor) -> Tensor:
    """Features of each context, by name in ``FEATURE_NAMES``.

    Parameters
    ----------
    context
        ``[B, C]`` in input units, NaN where missing; the newest value last. A multiple of a series, or a series shifted
        by a constant, has the same features, apart from ``level_over_spread`` and ``zeros``.

    Returns
    -------
    Tensor
        ``[B, F]`` float32, finite, between −10 and 10. A row depends on its own context alone.
    """
    x, known, loc, scale = standardise(context)
    length = context.shape[1]
    mask = known.to(x.dtype)
    count = mask.sum(dim=1).clamp(min=1)
    span = (length - known.int().argmax(dim=1)).to(x.dtype)  # steps since the first known value
    trend, strength = _trend(x, mask, count)
    steps = mask[:, 1:] * mask[:, :-1]
    pairs = steps.sum(dim=1).clamp(min=1)
    change = x.diff(dim=1) * steps
    last = slice(max(length - LAST_VALUES, 0), None)
    single = [
        span.log() / math.log(1024),
        1 - count / span,
        ((loc.abs() / scale).float().squeeze(1) + 1).log(),
        (x[:, last] * mask[:, last]).sum(dim=1) / mask[:, last].sum(dim=1).clamp(min=1),
        trend,
        strength,
        ((context == 0) & known).sum(dim=1) / count,
        ((change == 0) * steps).sum(dim=1) / pairs,
        change.abs().sum(dim=1) / pairs,
        x.abs().amax(dim=1),
        *_spectrum(x, span),
    ]
    values = torch.nn.functional.pad(x[:, last], (max(LAST_VALUES - length, 0), 0))
    found = torch.cat([torch.stack(single, dim=1), _autocorrelation(x, mask), values], dim=1)
    return found.nan_to_num(0.0).clamp(-_LARGEST, _LARGEST)


def _trend(x: Tensor, mask: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Slope ``[B]`` of a line through the known values, per context, and the share of their variance on the line."""
    time = torch.linspace(-1, 1, x.shape[1], device=x.device)
    centred_time = time - ((time * mask).sum(dim=1) / count)[:, None]
    centred = x - ((x * mask).sum(dim=1) / count)[:, None]
    covariance = (centred_time * centred * mask).sum(dim=1)
    variance = (centred_time.square() * mask).sum(dim=1).clamp(min=1e-6)
    total = (centred.square() * mask).sum(dim=1).clamp(min=1e-6)
    return covariance / variance, covariance.square() / variance / total


def _spectrum(x: Tensor, span: Tensor) -> list[Tensor]:
    """Entropy, share and period of the peak, and share of the slowest tenth of the frequencies, each ``[B]``."""
    power = torch.view_as_real(torch.fft.rfft(x, dim=1)).square().sum(dim=2)[:, 1:]
    if not power.shape[1]:
        return [torch.zeros_like(span)] * 4
    share = power / power.sum(dim=1, keepdim=True).clamp(min=1e-12)
    entropy = -(share * share.clamp(min=1e-12).log()).sum(dim=1) / max(math.log(power.shape[1]), 1.0)
    peak, place = share.max(dim=1)
    period = (x.shape[1] / (place + 1).to(x.dtype)).log() / math.log(max(x.shape[1], 2))
    return [entropy, peak, period, share[:, : max(power.shape[1] // 10, 1)].sum(dim=1)]


def _autocorrelation(x: Tensor, mask: Tensor) -> Tensor:
    """``[B, len(LAGS)]`` over pairs of known values; 0 where there are too few.

    All sums over pairs come from one Fourier transform: for one window, a loop over lags takes longer than an expert.
    """
    length = x.shape[1]
    mean = (x * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    centred = (x - mean) * mask
    spectra = torch.fft.rfft(torch.stack([centred, centred.square(), mask]), 2 * length)
    # products of complex numbers in real arithmetic: ONNX has only the transforms
    (value, square, known) = torch.view_as_real(spectra)
    now_real, now_imaginary = torch.stack([value, square, known, known]).unbind(dim=3)
    past_real, past_imaginary = torch.stack([value, known, square, known]).unbind(dim=3)
    real = now_real * past_real + now_imaginary * past_imaginary
    imaginary = now_imaginary * past_real - now_real * past_imaginary
    lags = [min(lag, length) for lag in LAGS]  # at the length of the context there is no pair
    sums = torch.fft.irfft(torch.complex(real, imaginary), 2 * length)[..., lags]
    product, now_square, past_square, pairs = sums
    norm = (now_square * past_square).clamp(min=0).sqrt()
    enough = (pairs.round() >= _LEAST_PAIRS) & (norm > _SMALLEST_NORM)
    return torch.where(enough, product / norm.clamp(min=_SMALLEST_NORM), 0.0).clamp(-1, 1)
