"""Units of a stored series: float32 values relative to an offset (``loc``) and a scale, both kept in float64.

Most series need neither (``loc`` 0, ``scale`` 1). Float32 has 24 bits: of a signal of 3 on a level of 2e9 nothing would
be left, and squares of values above 1e19 or below 1e-19 leave its range.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SMALLEST, LARGEST = 1e-6, 1e12  # largest values between these are stored as they are
LARGEST_VALUE = 1e150  # of a series: larger squares leave the range of float64
_COARSE = 0.001  # of a typical change: a level at which float32 rounds by more is stored as an offset
_HALF_SPACING = 2.0**-24  # largest rounding error of float32, relative to the value
_FAR = 4.0  # in typical distances of the values from it: a nearer level gains less than two bits as an offset
_EXPONENT = 7  # rescaled values are between -2^7 and 2^7
_ROUNDING = 4  # spacings of float64: changes that are not larger can be errors of the sums that made the values


class StoredSeries(NamedTuple):
    """A series in the units of the store: ``values`` float32; the input is ``loc + scale * values`` in float64."""

    values: np.ndarray
    loc: float
    scale: float


def in_store_units(x: np.ndarray) -> StoredSeries:
    """Convert a float64 series to the units of the store.

    Parameters
    ----------
    x
        ``[n]`` in input units, NaN where missing, magnitudes up to ``LARGEST_VALUE``; at least one value is known.

    Returns
    -------
    StoredSeries
        ``loc`` is 0 or one of the values, ``scale`` a power of two. A constant is kept exactly.
    """
    known = x[~np.isnan(x)]
    loc = _offset(known)
    size = float(np.abs(known - loc).max())
    scale = 1.0
    if size and not SMALLEST <= size <= LARGEST:
        scale = float(np.ldexp(1.0, max(np.frexp(size)[1] - _EXPONENT, np.finfo(np.float64).minexp)))
    values = x if (loc, scale) == (0.0, 1.0) else (x - loc) / scale
    return StoredSeries(values.astype(np.float32), loc, scale)


def only_rounding_errors(x: np.ndarray) -> bool:
    """Whether the known values of a float64 series differ by no more than rounding errors of double precision.

    Whole numbers have no rounding errors.
    """
    known = x[~np.isnan(x)]
    change = np.ptp(known)
    return bool(0 < change <= _ROUNDING * np.spacing(np.abs(known).max()) and (known % 1 != 0).any())


def _offset(known: np.ndarray) -> float:
    """0, or the median where float32 would round it by a large share of a typical change."""
    median = float(np.partition(known, len(known) // 2)[len(known) // 2])
    changes = np.abs(np.diff(known))
    changes = changes[changes > 0]
    if not len(changes):
        exact = abs(median) <= LARGEST and float(np.float32(median)) == median
        return 0.0 if exact else median
    coarse = abs(median) * _HALF_SPACING > _COARSE * np.median(changes)
    return median if coarse and abs(median) > _FAR * np.median(np.abs(known - median)) else 0.0
