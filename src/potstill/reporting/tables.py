"""All metrics by model and data set, for the sortable tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from potstill.reporting.figures import Figures
from potstill.reporting.values import known, mapping

METRIC_TITLES = {
    "sql": "SQL",
    "wql": "WQL",
    "mase": "MASE",
    "rmsse": "RMSSE",
    "mse": "MSE",
    "mae": "MAE",
    "rmse": "RMSE",
    "mape": "MAPE",
    "smape": "sMAPE",
    "wape": "WAPE",
    "bias": "Bias",
    "coverage_80": "80 % coverage",
    "mse_raw": "MSE, input units",
    "mae_raw": "MAE, input units",
    "rmse_raw": "RMSE, input units",
}
SCALE_TITLES = {
    "": "as measured",
    "_rel_naive": "relative to seasonal naive",
    "_rel_teacher": "relative to the teacher",
}


def tables(figures: Figures) -> dict[str, Any]:
    """All metrics by model and data set, with the metrics' titles and order; empty if there is none."""
    found = {
        metric: None
        for model in figures.models
        for dataset in figures.datasets
        for metric in mapping(figures.metrics["models"][model].get(dataset))
        if figures.value(model, dataset, metric) is not None
    }
    plain = sorted((m for m in found if "_rel_" not in m), key=_place)
    if not plain:
        return {}
    values = {
        model: {
            dataset: known({metric: figures.value(model, dataset, metric) for metric in found})
            for dataset in figures.datasets
        }
        for model in figures.models
    }
    return {
        "metrics": [
            {
                "key": m,
                "label": METRIC_TITLES.get(m, m.replace("_", " ")),
                "scales": [s for s in SCALE_TITLES if m + s in found and not (s and m.startswith("coverage"))],
            }
            for m in plain
        ],
        "scales": {s: title for s, title in SCALE_TITLES.items() if any(m + s in found for m in plain)},
        "datasets": figures.datasets,
        "models": figures.models,
        "values": values,
    }


def cost_table(figures: Figures, titles: Mapping[str, str]) -> dict[str, Any]:
    """The costs that at least one model has (``keys``: their titles), and the models that have one."""
    known_keys = [key for key in titles if any(figures.cost(model, key) is not None for model in figures.costed)]
    models = [m for m in figures.costed if any(figures.cost(m, key) is not None for key in known_keys)]
    return {"keys": {key: titles[key] for key in known_keys}, "models": models}


def _place(metric: str) -> tuple[int, str]:
    names = list(METRIC_TITLES)
    return (names.index(metric) if metric in METRIC_TITLES else len(names), metric)
