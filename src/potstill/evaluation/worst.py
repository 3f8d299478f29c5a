"""The series that a model forecasts worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from potstill.evaluation.outcome import Scored

WORST_SERIES = 20


def worst_series(scored: Sequence[Scored], names: Sequence[str], subject: str) -> list[dict[str, Any]]:
    """The twenty series with the highest SQL of the subject, worst first.

    Parameters
    ----------
    scored
        The scores of all data sets.
    names
        Names of the store's series.
    subject
        The model that ranks them.

    Returns
    -------
    list of dict
        ``series`` (its name), ``dataset``, ``windows``, ``sql`` of every model that was scored on all of these windows,
        and the subject's ``mase``, ``bias`` and ``coverage_80``.
    """
    rows = [row for one in scored for row in _of_dataset(one, names, subject)]
    return sorted(rows, key=lambda row: -row["sql"][subject])[:WORST_SERIES]


def _of_dataset(one: Scored, names: Sequence[str], subject: str) -> list[dict[str, Any]]:
    _, which, windows = np.unique(one.series, return_inverse=True, return_counts=True)
    scores = one.scores[subject]
    steps = np.bincount(which, scores.count)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(which, values) / steps

    whole = [model for model in one.scores if len(one.rows[model]) == len(one.series)]
    sql = {model: mean(one.scores[model].sql * scores.count) for model in whole}
    mase, bias, covered = mean(scores.mase * scores.count), mean(scores.bias * scores.count), mean(scores.covered)
    first = np.unique(which, return_index=True)[1]
    worst = np.argsort(-sql[subject], kind="stable")[:WORST_SERIES]
    return [
        {
            "series": names[int(one.series[first[i]])],
            "dataset": one.dataset,
            "windows": int(windows[i]),
            "sql": {model: float(values[i]) for model, values in sql.items()},
            "mase": float(mase[i]),
            "bias": float(bias[i]),
            "coverage_80": float(covered[i]),
        }
        for i in worst
    ]
