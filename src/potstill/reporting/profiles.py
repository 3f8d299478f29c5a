"""Error by step ahead and calibration of each model, for the charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from potstill.reporting.figures import Figures
from potstill.reporting.values import mapping, number, short


def profiles(figures: Figures) -> dict[str, Any]:
    """``steps``: {model: {data set: {"sql": [H], "mase": [H]}}}; ``levels`` and ``below``: {model: {data set: [Q]}}.

    Without one of them, it is absent; both absent: empty.
    """
    steps = {
        model: {dataset: {k: _short(v) for k, v in mapping(one).items()} for dataset, one in sets.items()}
        for model, sets in _by_model(figures, figures.metrics.get("by_step"))
    }
    calibration = mapping(figures.metrics.get("calibration"))
    levels = [level for level in calibration.get("levels") or [] if number(level) is not None]
    below = {
        model: {dataset: _short(values) for dataset, values in sets.items() if len(values) == len(levels)}
        for model, sets in _by_model(figures, calibration.get("models"))
    }
    found = {"steps": steps} if steps else {}
    return found | ({"levels": levels, "below": below} if levels and below else {})


def _by_model(figures: Figures, tree: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(model, mapping(mapping(tree).get(model))) for model in figures.models if mapping(tree).get(model)]


def _short(values: Any) -> list[Any]:
    return [short(value) for value in values] if isinstance(values, (list, tuple)) else []
