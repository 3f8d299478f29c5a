"""The CDF of Student's t distribution in plain torch, exact to 2e-8, differentiable in every parameter.

torch has no incomplete beta function, and SciPy's is forty times too slow for a search over quantiles. With
w² = ν·log(1 + t²/ν) the distribution is nearly normal in w: F(t) = Φ(w·R(w², 1/ν)), where R is smooth and close to 1. R
is a polynomial in both arguments, fitted once to SciPy's values; for a fixed ν it is a polynomial in w² only.

Shapes: N degrees of freedom, D + 1 coefficients.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

MAX_W = 6.0  # at most 4e-9 of probability is beyond it, for any ν ≥ 2
DEGREE_W, DEGREE_NU = 12, 8  # of the polynomial R


def cdf_curve(df: Tensor) -> Tensor:
    """Coefficients ``[D + 1, N]`` of R in powers of 2·w²/36 - 1 for each ν of ``df [N]``, ν ≥ 2."""
    table = torch.from_numpy(cdf_table()).to(df)
    chebyshev = [torch.ones_like(df), 4 / df.clamp_min(2.0) - 1]
    while len(chebyshev) <= DEGREE_NU:
        chebyshev.append(2 * chebyshev[1] * chebyshev[-1] - chebyshev[-2])
    return table @ torch.stack(chebyshev)


def student_t_cdf(t: Tensor, df: Tensor, curve: Tensor) -> tuple[Tensor, Tensor]:
    """F(t) with ν degrees of freedom, and log(1 + t²/ν), from which the density is computed.

    Parameters
    ----------
    t
        Standardised values.
    df, curve
        ν, and what :func:`cdf_curve` returns for it; both broadcast against ``t``.
    """
    share = (t.square() / df).clamp_min(1e-10)  # avoids 0/0 in the ratio below, whose limit at 0 is 1
    logs = torch.log1p(share)
    w = (t * (logs / share).sqrt()).clamp(-MAX_W, MAX_W)
    place = w.square() * (2 / MAX_W**2) - 1
    ratio = curve[DEGREE_W]
    for power in range(DEGREE_W - 1, -1, -1):
        ratio = torch.addcmul(curve[power], ratio, place)
    return 0.5 * torch.erf(w * ratio * math.sqrt(0.5)) + 0.5, logs


@functools.cache
def cdf_table() -> Any:
    """Coefficients ``[D + 1, DEGREE_NU + 1]`` of R: powers of 2·w²/36 - 1, by Chebyshev polynomials in 4/ν - 1."""
    import numpy as np
    from numpy.polynomial import chebyshev
    from scipy.special import ndtri, stdtr

    def nodes(count: int) -> np.ndarray:
        return np.cos(np.pi * (np.arange(count) + 0.5) / count)

    place, kappa = np.meshgrid(nodes(40), nodes(30), indexing="ij")
    squared, inverse = (place + 1) / 2 * MAX_W**2, np.maximum((kappa + 1) / 4, 1e-4)
    t = np.sqrt(np.expm1(squared * inverse) / inverse)
    ratio = -ndtri(stdtr(1 / inverse, -t)) / np.sqrt(squared)
    design = chebyshev.chebvander2d(place.ravel(), (4 * inverse - 1).ravel(), [DEGREE_W, DEGREE_NU])
    fitted = np.linalg.lstsq(design, ratio.ravel(), rcond=None)[0].reshape(DEGREE_W + 1, DEGREE_NU + 1)
    powers = np.zeros_like(fitted)
    for degree, row in enumerate(np.eye(DEGREE_W + 1)):
        in_powers = chebyshev.cheb2poly(row[: degree + 1])
        powers[: degree + 1] += in_powers[:, None] * fitted[degree]
    return powers
