"""What the series of each data set are: how many, rows, step, season, first and last date, missing values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

SAMPLED_SERIES = 1000  # whose steps are looked at, evenly spaced


def describe_series(store: Any, datasets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The series of data sets of a store.

    Returns
    -------
    dict
        By data set ``series``, ``rows``, ``missing`` (values), ``steps`` (pandas offset alias: share of the series; an
        empty alias for a series without dates), ``season`` (the most frequent, in steps) and, for series with dates,
        ``first`` and ``last`` in ISO 8601.
    """
    return {name: _describe(store, np.flatnonzero(store.dataset_of == store.datasets.index(name))) for name in datasets}


def _describe(store: Any, series: np.ndarray) -> dict[str, Any]:
    sample = series[np.linspace(0, len(series) - 1, min(len(series), SAMPLED_SERIES)).astype(np.int64)]
    aliases = Counter(store.step(int(i)).alias for i in sample)
    seasons = Counter(store.season[series].tolist())
    found = {
        "series": len(series),
        "rows": int(store.lengths[series].sum()),
        "missing": int(store.missing[series].sum()),
        "steps": {alias: count / len(sample) for alias, count in aliases.most_common()},
        "season": seasons.most_common(1)[0][0],
    }
    ends = [
        (store.timestamps(int(i), 0, 1)[0], store.timestamps(int(i), int(store.lengths[i]) - 1, 1)[0]) for i in sample
    ]
    dated = [(first, last) for first, last in ends if isinstance(first, np.datetime64)]
    if dated:
        found |= {"first": _iso(min(first for first, _ in dated)), "last": _iso(max(last for _, last in dated))}
    return found


def _iso(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment.astype("M8[s]"))).removesuffix("T00:00:00")
