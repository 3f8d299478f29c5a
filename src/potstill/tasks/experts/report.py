"""What a run measures of the experts of a mixture: their use by data set, the best one, and an oracle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from potstill.evaluation.metrics import geometric_mean
from potstill.evaluation.outcome import SEASONAL_NAIVE, Evaluation
from potstill.families.experts.model import Mixture
from potstill.reporting.figures import MEAN_OF_EXPERTS, ORACLE
from potstill.tasks.experts.monitor import entropy_of, evenness_of, usage_of

#: names of other models of the report
RESERVED = ("student", "teacher", "control", MEAN_OF_EXPERTS, ORACLE, SEASONAL_NAIVE)
_WINDOWS = 256  # per data set


def usage_by_dataset(mixture: Mixture, windows: Any) -> dict[str, Any]:
    """By data set of ``SeriesWindows``: mean weight of each expert, entropy and evenness of the weights, and how many
    experts run for a window, on average."""
    found: dict[str, Any] = {"names": list(mixture.experts), "usage": {}, "entropy": {}, "evenness": {}, "run": {}}
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
        found["run"][dataset] = float((weights > 0).sum(dim=1).double().mean())
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
        sql, weights = windows["sql"], windows["weights"]  # the same average as in all other figures
        best = np.min([sql[name] for name in validation], axis=0)
        ratios.append(weights @ best / (weights @ sql[SEASONAL_NAIVE]))
    best_expert = min(validation, key=lambda name: validation[name])
    return {
        "validation_sql": dict(validation),
        "best_expert": best_expert,
        "oracle_sql_rel_naive": geometric_mean(ratios),
    }
