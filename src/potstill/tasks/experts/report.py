"""What a run says about the experts of a mixture: their use by data set, and how the mixture compares with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from potstill.evaluation.metrics import geometric_mean
from potstill.evaluation.outcome import SEASONAL_NAIVE, Evaluation
from potstill.families.experts.model import Mixture
from potstill.reporting.phrases import percent, signed
from potstill.tasks.experts.monitor import entropy_of, evenness_of, usage_of

MEAN = "mean of experts"  # a model of the report
#: names of other models of the report
RESERVED = ("student", "teacher", "control", MEAN, SEASONAL_NAIVE)
_WINDOWS = 256  # per data set


def usage_by_dataset(mixture: Mixture, windows: Any) -> dict[str, Any]:
    """Mean weight of each expert, and entropy and evenness of the weights, by data set of ``SeriesWindows``."""
    found: dict[str, Any] = {"names": list(mixture.experts), "usage": {}, "entropy": {}, "evenness": {}}
    for number, dataset in enumerate(windows.store.datasets):
        first, end = windows.range_of(number)
        if first == end:
            continue
        step = max(1, (end - first) // _WINDOWS)
        batch = windows.batch(range(first, end, step)[:_WINDOWS]).newest(mixture.max_context)
        weights = mixture.weights(batch).cpu()
        found["usage"][dataset] = usage_of(weights)
        found["entropy"][dataset] = entropy_of(weights)
        found["evenness"][dataset] = evenness_of(weights)
    return found


def compare_experts(found: Evaluation, validation: Mapping[str, float]) -> dict[str, Any]:
    """The best single expert, and an oracle.

    Parameters
    ----------
    found
        The evaluation of the mixture (``student``) and of all experts.
    validation
        Validation loss of each expert.

    Returns
    -------
    dict
        ``validation_sql`` by expert; ``best_expert``: the one with the lowest; ``oracle_sql_rel_naive``: the SQL,
        relative to seasonal naive, of whoever knew the best expert of each window (geometric mean over data sets).
    """
    ratios = []
    for windows in found.windows.values():
        sql = windows["sql"]
        best = np.min([sql[name] for name in validation], axis=0)
        ratios.append(best.mean() / sql[SEASONAL_NAIVE].mean())
    best_expert = min(validation, key=lambda name: validation[name])
    return {
        "validation_sql": dict(validation),
        "best_expert": best_expert,
        "oracle_sql_rel_naive": geometric_mean(ratios),
    }


def comparison_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The mixture compared with its best expert, with the mean of all and with the oracle, one sentence each."""
    experts = metrics["experts"]
    own = metrics["overall"]["student"]["sql_rel_naive"]
    best = experts["best_expert"]
    oracle = _apart(own / experts["oracle_sql_rel_naive"] - 1)
    return [
        f"Compared with the best single expert on the validation part, {best}: {_difference(metrics, best)}.",
        f"Compared with the mean of all experts: {_difference(metrics, MEAN)}.",
        f"Compared with an oracle that knows the best expert of each window: {oracle}.",
    ]


def _difference(metrics: Mapping[str, Any], other: str) -> str:
    ratio = metrics["intervals"][f"student/{other}"]["sql"]
    change, low, high = (ratio[key] - 1 for key in ("value", "low", "high"))
    size = f"{_apart(change)} (95 % CI {signed(low)} to {signed(high)})"
    return size if low * high > 0 else f"{size}; no significant difference"


def _apart(change: float) -> str:
    return f"SQL {percent(abs(change), fine=True)} {'lower' if change < 0 else 'higher'}"
