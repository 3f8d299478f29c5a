"""What the report's charts and sortable tables draw, as one small JSON tree for the page's script.

forecasts.json, written by the evaluation and read here::

    {"levels": [0.1, 0.5, 0.9],
     "examples": [{"dataset": "ETTh1", "series": "ETTh1/HUFL", "origin": 11520, "kind": "best" | "median" | "worst",
                   "sql": {"student": 0.41, …},                 # of this window
                   "context": [x, …], "truth": [x, …],          # input units, null is missing; truth has H steps
                   "forecasts": {"student": [[q at levels[0], H steps], …one row per level], …}}]}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from potstill.evaluation.report_figures import BASELINES, OVERALL, Figures, display_name, number

POINTS = 300  # along a curve: more than a screen shows
STEPS = 2000  # of a forecast chart's range: half a pixel on the largest screen
KINDS = ("best", "median", "worst")
COSTS = {
    "latency_ms_b1": "Latency at batch 1 (ms)",
    "series_per_second_b32": "Series per second, batch 32",
    "series_per_second_b256": "Series per second, batch 256",
    "parameters": "Parameters",
    "bytes": "Bytes",
    "flops": "FLOPs per series",
    "peak_mb": "Peak memory (MB)",
}
METRICS = {
    "sql": "SQL",
    "wql": "WQL",
    "mase": "MASE",
    "mse": "MSE",
    "mae": "MAE",
    "rmse": "RMSE",
    "mape": "MAPE",
    "smape": "sMAPE",
    "coverage_80": "80 % coverage",
    "mse_raw": "MSE, input units",
    "mae_raw": "MAE, input units",
    "rmse_raw": "RMSE, input units",
}
SCALES = {"": "as measured", "_rel_naive": "relative to seasonal naive", "_rel_teacher": "relative to the teacher"}


def chart_data(figures: Figures, log: Sequence[Mapping[str, Any]], forecasts: Mapping[str, Any]) -> dict[str, Any]:
    """Gather everything the page's script draws; what is absent is an empty tree and its section is left out."""
    data = {
        "models": {},
        "loss": loss_curves(log),
        "validation": validation_curves(log),
        "examples": list(examples(forecasts)),
        "scatter": scatter(figures),
        "tables": tables(figures),
    }
    shown = [*data["loss"], *data["validation"], *figures.costed]
    shown += [model for example in data["examples"] for model in example["forecasts"]]
    data["models"] = {name: {"label": display_name(name), "style": style} for name, style in styles(shown).items()}
    return data


def styles(models: Iterable[str]) -> dict[str, str]:
    """A fixed look (CSS class) for each known model, and the next free one for every other."""
    known = ("teacher", "student", "control", *BASELINES)
    others = [name for name in dict.fromkeys(models) if name not in known]
    free = {name: f"m-other{index % 3}" for index, name in enumerate(others)}
    return {name: free.get(name, f"m-{name}") for name in dict.fromkeys(models)}


def loss_curves(log: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Training loss by term: ``{model: {"total": curve, "terms": {name: curve}}}``, a curve being [steps, values]."""
    curves: dict[str, dict[str, Any]] = {}
    for model, lines in _events(log, "train").items():
        names = list(dict.fromkeys(name for line in lines for name in _mapping(line.get("terms"))))
        terms = {
            name: _curve((line["step"], _mapping(line.get("terms")).get(name)) for line in lines) for name in names
        }
        total = _curve((line["step"], line.get("loss")) for line in lines)
        if total[0] or any(curve[0] for curve in terms.values()):
            curves[model] = {"total": total, "terms": {name: curve for name, curve in terms.items() if curve[0]}}
    return curves


def validation_curves(log: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    """Validation SQL over the steps: ``{model: [steps, values]}``."""
    curves = {
        model: _curve(((line["step"], line.get("sql")) for line in lines), thin=False)
        for model, lines in _events(log, "eval").items()
    }
    return {model: curve for model, curve in curves.items() if curve[0]}


def examples(forecasts: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The windows of forecasts.json, reduced to the lowest, middle and highest level and a tail of the context."""
    levels = [level for level in forecasts.get("levels") or [] if number(level) is not None]
    if not levels:
        return
    middle = min(range(len(levels)), key=lambda i: abs(levels[i] - 0.5))
    rows = [levels.index(min(levels)), middle, levels.index(max(levels))]
    band = [levels[row] for row in rows]
    found = [e for e in forecasts.get("examples") or [] if isinstance(e, Mapping) and e.get("truth")]
    for example in sorted(found, key=lambda e: KINDS.index(e["kind"]) if e.get("kind") in KINDS else len(KINDS)):
        truth = example["truth"]
        context = list(example.get("context") or [])[-max(24, 3 * len(truth) // 2) :]
        quantiles = {
            model: [rows_of[row] for row in rows]
            for model, rows_of in _mapping(example.get("forecasts")).items()
            if isinstance(rows_of, Sequence) and len(rows_of) == len(levels)
        }
        everything = [context, truth, *(row for triple in quantiles.values() for row in triple)]
        places = _decimals(everything)
        yield {
            "dataset": str(example.get("dataset", "")),
            "series": str(example.get("series", "")),
            "origin": _short(example.get("origin")),
            "kind": str(example.get("kind", "")),
            "sql": {model: _short(value) for model, value in _mapping(example.get("sql")).items()},
            "band": band,
            "context": _rounded(context, places),
            "truth": _rounded(truth, places),
            "forecasts": {model: [_rounded(row, places) for row in triple] for model, triple in quantiles.items()},
        }


def scatter(figures: Figures) -> dict[str, Any]:
    """SQL relative to seasonal naive against every cost that at least two models know; empty where there is none."""
    points = []
    for model in figures.models:
        y = {dataset: figures.relative(model, dataset) for dataset in figures.datasets}
        y[OVERALL] = figures.overall_relative(model)
        x = {key: figures.cost(model, key) for key in COSTS}
        points.append({"model": model, "x": _known(x), "y": _known(y)})
    drawn = [point for point in points if point["x"] and point["y"]]
    axes = [key for key in COSTS if sum(point["x"].get(key, 0) > 0 for point in drawn) > 1]
    if not axes:
        return {}
    return {
        "axes": [{"key": key, "label": COSTS[key], "more": key.startswith("series_per")} for key in axes],
        "datasets": figures.datasets,
        "points": drawn,
    }


def tables(figures: Figures) -> dict[str, Any]:
    """Every figure by model, data set and metric, with the metrics' names and order; empty where there is none."""
    found = {
        metric: None
        for model in figures.models
        for dataset in figures.datasets
        for metric in _mapping(figures.metrics["models"][model].get(dataset))
        if figures.value(model, dataset, metric) is not None
    }
    plain = sorted((m for m in found if "_rel_" not in m), key=_place)
    if not plain:
        return {}
    values = {
        model: {
            dataset: _known({metric: figures.value(model, dataset, metric) for metric in found})
            for dataset in figures.datasets
        }
        for model in figures.models
    }
    return {
        "metrics": [
            {
                "key": m,
                "label": METRICS.get(m, m.replace("_", " ")),
                "scales": [s for s in SCALES if m + s in found and not (s and m.startswith("coverage"))],
            }
            for m in plain
        ],
        "scales": {s: title for s, title in SCALES.items() if any(m + s in found for m in plain)},
        "datasets": figures.datasets,
        "models": figures.models,
        "values": values,
    }


def _events(log: Sequence[Mapping[str, Any]], event: str) -> dict[str, list[Mapping[str, Any]]]:
    """Lines of one event by model, in step order; a resumed run writes steps twice and the later line counts."""
    by_model: dict[str, dict[float, Mapping[str, Any]]] = {}
    for line in log:
        if line.get("event") == event and number(line.get("step")) is not None:
            by_model.setdefault(str(line.get("model", "student")), {})[line["step"]] = line
    return {model: [lines[step] for step in sorted(lines)] for model, lines in by_model.items()}


def _curve(pairs: Iterable[tuple[Any, Any]], thin: bool = True) -> list[list[float]]:
    """[steps, values] without gaps; a long curve becomes the means of its stretches."""
    known = [(x, y) for x, raw in pairs if (y := number(raw)) is not None]
    size = max(1, math.ceil(len(known) / POINTS)) if thin else 1
    stretches = [known[i : i + size] for i in range(0, len(known), size)]
    steps = [stretch[-1][0] for stretch in stretches]
    return [steps, [_short(sum(y for _, y in stretch) / len(stretch)) for stretch in stretches]]


def _decimals(arrays: Sequence[Sequence[Any]]) -> int:
    values = [v for array in arrays for v in array if number(v) is not None]
    span = max(values) - min(values) if values else 0.0
    return max(0, math.ceil(math.log10(STEPS / span))) if span > 0 else 6


def _rounded(array: Sequence[Any], places: int) -> list[float | None]:
    return [None if (v := number(value)) is None else round(v, places) for value in array]


def _short(value: Any) -> Any:
    known = number(value)
    return None if known is None else round(known) if known.is_integer() else float(f"{known:.6g}")


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _short(value) for key, value in values.items() if value is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _place(metric: str) -> tuple[int, str]:
    names = list(METRICS)
    return (names.index(metric) if metric in METRICS else len(names), metric)
