"""Accuracy against cost: scaled quantile loss (SQL) relative to seasonal naive, by every measured cost."""

from __future__ import annotations

from typing import Any

from potstill.reporting.figures import OVERALL, Figures
from potstill.reporting.values import known

COST_TITLES = {
    "latency_ms_b1": "Latency at batch 1 (ms)",
    "series_per_second_b32": "Series per second, batch 32",
    "series_per_second_b256": "Series per second, batch 256",
    "parameters": "Parameters",
    "active_parameters": "Active parameters",
    "bytes": "Saved weights (bytes)",
    "flops": "FLOPs per series",
    "peak_mb": "Working memory (MiB)",
}


def scatter(figures: Figures) -> dict[str, Any]:
    """SQL relative to seasonal naive, by every cost that at least two models have; empty if there is none."""
    points = []
    for model in figures.models:
        y = {dataset: figures.relative(model, dataset) for dataset in figures.datasets}
        y[OVERALL] = figures.overall_relative(model)
        x = {key: figures.cost(model, key) for key in COST_TITLES}
        points.append({"model": model, "x": known(x), "y": known(y)})
    drawn = [point for point in points if point["x"] and point["y"]]
    axes = [key for key in COST_TITLES if sum(point["x"].get(key, 0) > 0 for point in drawn) > 1]
    if not axes:
        return {}
    return {
        "axes": [{"key": key, "label": COST_TITLES[key], "more": key.startswith("series_per")} for key in axes],
        "datasets": figures.datasets,
        "points": drawn,
    }
