"""Training curves: loss by term and validation metrics, from the lines of log.jsonl."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from potstill.reporting.values import mapping, number, short

CURVE_POINTS = 300  # per curve: more than a screen can resolve


def loss_curves(log: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Training loss by term: ``{model: {"total": curve, "terms": {name: curve}}}``, a curve being [steps, values]."""
    curves: dict[str, dict[str, Any]] = {}
    for model, lines in _events(log, "train").items():
        names = list(dict.fromkeys(name for line in lines for name in mapping(line.get("terms"))))
        terms = {name: _curve((line["step"], mapping(line.get("terms")).get(name)) for line in lines) for name in names}
        total = _curve((line["step"], line.get("loss")) for line in lines)
        if total[0] or any(curve[0] for curve in terms.values()):
            curves[model] = {"total": total, "terms": {name: curve for name, curve in terms.items() if curve[0]}}
    return curves


def validation_curves(log: Sequence[Mapping[str, Any]], metric: str) -> dict[str, list[list[float]]]:
    """A validation metric by step: ``{model: [steps, values]}``."""
    curves = {
        model: _curve(((line["step"], line.get(metric)) for line in lines), thin=False)
        for model, lines in _events(log, "eval").items()
    }
    return {model: curve for model, curve in curves.items() if curve[0]}


def _events(log: Sequence[Mapping[str, Any]], event: str) -> dict[str, list[Mapping[str, Any]]]:
    """Lines of one event by model, in step order; of steps that a resumed run logs twice, the later line counts."""
    by_model: dict[str, dict[float, Mapping[str, Any]]] = {}
    for line in log:
        if line.get("event") == event and number(line.get("step")) is not None:
            by_model.setdefault(str(line.get("model", "student")), {})[line["step"]] = line
    return {model: [lines[step] for step in sorted(lines)] for model, lines in by_model.items()}


def _curve(pairs: Iterable[tuple[Any, Any]], thin: bool = True) -> list[list[float]]:
    """[steps, values] without missing values; a long curve is reduced to the means of its segments."""
    known = [(x, y) for x, raw in pairs if (y := number(raw)) is not None]
    size = max(1, math.ceil(len(known) / CURVE_POINTS)) if thin else 1
    segments = [known[i : i + size] for i in range(0, len(known), size)]
    steps = [segment[-1][0] for segment in segments]
    return [steps, [short(sum(y for _, y in segment) / len(segment)) for segment in segments]]
