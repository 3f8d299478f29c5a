"""Example windows for the report: best, median and worst of each data set by the subject's scaled quantile loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SHOWN_LEVELS = {0.1: 0, 0.5: 4, 0.9: 8}
"""Quantile levels that are drawn, and their positions in ``metrics.EVALUATION_LEVELS``."""
SHORTEST_TAIL = 48


def pick_examples(
    dataset: str,
    sql: dict[str, np.ndarray],
    subject: str,
    ids: np.ndarray,
    windows: Any,
    forecast: Callable[[str, Any], np.ndarray],
) -> list[dict[str, Any]]:
    """Best, median and worst window as plain values for JSON.

    Parameters
    ----------
    sql
        ``[N]`` per model; a model without an entry is not shown.
    subject
        The model whose SQL ranks the windows.
    ids
        ``[N]`` window ids in ``windows``.
    forecast
        ``(model, Windows) -> [n, 9, H]`` quantiles at ``metrics.EVALUATION_LEVELS``.

    Returns
    -------
    A list of ``{"dataset", "series" (name), "origin", "kind", "sql": {model: value}, "context": its last two horizons,
    "truth": [H], "forecasts": {model: [[H] for each level shown]}}`` in input units; missing values are None. Where the
    series has dates, ``times`` are those of the steps shown of context and truth, in ISO 8601.
    """
    order = np.argsort(sql[subject], kind="stable")
    picked = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    rows = np.array(list(picked.values()))
    batch = windows.batch(ids[rows])
    series, origin = windows.locate(ids[rows])
    tail = max(SHORTEST_TAIL, 2 * batch.future.shape[1])
    quantiles = {model: forecast(model, batch) for model in sql}
    return [
        {
            "dataset": dataset,
            "series": windows.store.names[int(series[i])],
            "origin": int(origin[i]),
            "kind": kind,
            "sql": {model: float(values[rows[i]]) for model, values in sql.items()},
            "context": _plain(batch.context[i, -tail:].numpy()),
            "truth": _plain(batch.future[i].numpy()),
            "forecasts": {model: [_plain(q[i, at]) for at in SHOWN_LEVELS.values()] for model, q in quantiles.items()},
            **_times(windows.store, int(series[i]), int(origin[i]), batch.context[i, -tail:], batch.future.shape[1]),
        }
        for i, kind in enumerate(picked)
    ]


def _times(store: Any, series: int, origin: int, context: Any, horizon: int) -> dict[str, list[str]]:
    """``times`` of the steps shown; empty for a series without dates."""
    times = np.asarray(store.timestamps(series, origin - len(context), len(context) + horizon))
    if times.dtype.kind != "M":
        return {}
    return {"times": [text.removesuffix("T00:00:00") for text in np.datetime_as_string(times.astype("M8[s]"))]}


def _plain(values: np.ndarray) -> list[float | None]:
    """Seven significant digits (the precision of float32), None for missing values."""
    return [float(f"{value:.7g}") if np.isfinite(value) else None for value in values]
