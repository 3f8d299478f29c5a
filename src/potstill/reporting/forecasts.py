"""Example windows: forecasts of every model and the true values, at the resolution of a screen.

The format of forecasts.json, which the evaluation writes::

    {"levels": [0.1, 0.5, 0.9],
     "examples": [{"dataset": "ETTh1", "series": "ETTh1/HUFL", "origin": 11520, "kind": "best" | "median" | "worst",
                   "sql": {"student": 0.41, …},                 # of this window
                   "context": [x, …], "truth": [x, …],          # input units; null is missing; truth has H steps
                   "times": ["2018-01-05T12:00:00", …],         # of context and truth; absent without dates
                   "forecasts": {"student": [[q at levels[0], H steps], …one row per level], …}}]}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from potstill.reporting.values import mapping, number, short

CHART_STEPS = 2000  # rounding steps per range of a chart: half a pixel on the largest screen
WINDOW_KINDS = ("best", "median", "worst")


def examples(forecasts: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The windows of forecasts.json, reduced to the lowest, middle and highest level and the end of the context."""
    levels = [level for level in forecasts.get("levels") or [] if number(level) is not None]
    if not levels:
        return
    middle = min(range(len(levels)), key=lambda i: abs(levels[i] - 0.5))
    rows = [levels.index(min(levels)), middle, levels.index(max(levels))]
    band = [levels[row] for row in rows]
    found = [e for e in forecasts.get("examples") or [] if isinstance(e, Mapping) and e.get("truth")]
    for example in sorted(
        found, key=lambda e: WINDOW_KINDS.index(e["kind"]) if e.get("kind") in WINDOW_KINDS else len(WINDOW_KINDS)
    ):
        truth = example["truth"]
        times = [str(time) for time in example.get("times") or []]
        context = list(example.get("context") or [])[-max(24, 3 * len(truth) // 2) :]
        quantiles = {
            model: [rows_of[row] for row in rows]
            for model, rows_of in mapping(example.get("forecasts")).items()
            if isinstance(rows_of, Sequence) and len(rows_of) == len(levels)
        }
        everything = [context, truth, *(row for triple in quantiles.values() for row in triple)]
        places = _decimals(everything)
        yield {
            "dataset": str(example.get("dataset", "")),
            "series": str(example.get("series", "")),
            "origin": short(example.get("origin")),
            "kind": str(example.get("kind", "")),
            "sql": {model: short(value) for model, value in mapping(example.get("sql")).items()},
            "band": band,
            "times": times[-len(context) - len(truth) :] if len(times) >= len(context) + len(truth) else [],
            "context": _rounded(context, places),
            "truth": _rounded(truth, places),
            "forecasts": {model: [_rounded(row, places) for row in triple] for model, triple in quantiles.items()},
        }


def _decimals(arrays: Sequence[Sequence[Any]]) -> int:
    values = [v for array in arrays for v in array if number(v) is not None]
    span = max(values) - min(values) if values else 0.0
    return max(0, math.ceil(math.log10(CHART_STEPS / span))) if span > 0 else 6


def _rounded(array: Sequence[Any], places: int) -> list[float | None]:
    return [None if (v := number(value)) is None else round(v, places) for value in array]
