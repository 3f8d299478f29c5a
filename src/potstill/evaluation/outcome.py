"""The result of an evaluation: metrics, retention, confidence intervals, scores per window, examples, and the account.

Skill is 1 − scaled quantile loss (SQL) relative to seasonal naive; retention is the share of the teacher's SQL or skill
that a student keeps; the account lists the data that were used and left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from potstill.evaluation import bootstrap, metrics
from potstill.evaluation.metrics import WindowScores

SEASONAL_NAIVE = "seasonal_naive"
CALIBRATED = "+calibrated"  # end of the name of a model with intervals fitted to its last errors
LEAST_WINDOWS = 20  # with fewer there is no interval: the same windows may rank two models either way
LEAST_BLOCKS = 3  # so many windows without a common step; with fewer a bootstrap sample is the data again


@dataclass
class Scored:
    """The windows of one data set and the scores of every model on them.

    ``rows`` are the positions of the N windows on which a model was scored: a slow baseline gets a subset.
    """

    dataset: str
    series: np.ndarray
    origin: np.ndarray
    horizon: int
    scores: dict[str, WindowScores]
    rows: dict[str, np.ndarray]

    def sql(self, model: str) -> np.ndarray:
        """``[N]`` scaled quantile loss (SQL) per window; NaN where the model was not scored."""
        values = np.full(len(self.series), np.nan)
        values[self.rows[model]] = self.scores[model].sql
        return values

    @property
    def weights(self) -> np.ndarray:
        """``[N]``: how much each window counts in the metrics; see ``WindowScores.weights``."""
        return self.scores[SEASONAL_NAIVE].weights  # it is scored on all windows

    @property
    def blocks(self) -> np.ndarray:
        """``[N]``: windows of one series with the same number overlap."""
        return self.origin // self.horizon

    def on_rows_of(self, other: str, model: str) -> WindowScores:
        """``model``'s scores on the windows on which ``other`` was scored; ``model`` needs scores for all of them."""
        return self.scores[model].take(np.searchsorted(self.rows[model], self.rows[other]))


@dataclass
class Evaluation:
    """The result of ``evaluate_models``.

    Attributes
    ----------
    reference, subject
        The model that others are compared with, and the model that retention and examples refer to.
    metrics
        ``{model: {dataset: {metric: value}}}``, each metric also ``…_rel_naive`` and (where the reference was
        evaluated) ``…_rel_teacher``.
    overall
        ``{model: {metric_rel_naive: geometric mean over data sets, "datasets": how many}}``.
    retention
        ``{dataset | "overall": {"sql", "skill"}}`` of the subject; ``retention_by_model``: the same of every model.
    intervals
        ``{"a/b": {"sql": {"value", "low", "high", "datasets": {dataset: {"value", "low", "high"}}}}}``: the ratio of
        model a's SQL to model b's on the same windows (below one: a is better), a geometric mean over data sets, and
        the number of ``windows``. With fewer than 20 windows, or fewer than three that do not overlap, ``low`` and
        ``high`` are NaN. Pairs: the subject and every other model, and every model and seasonal naive.
    windows
        ``{dataset: {"series": [N], "origin": [N], "weights": [N], "sql": {model: [N]}}}``; the SQL of a data set is the
        mean by these weights.
    examples
        ``{"levels": [0.1, 0.5, 0.9], "examples": [{"kind": "best" | "median" | "worst", …}]}`` for the report, as
        plain values for JSON; see ``examples.pick_examples``.
    details
        ``by_step``, ``calibration`` (see ``profiles.profiles_of``) and ``worst_series`` (see ``worst.worst_series``).
    baseline_costs
        Speed and size of the baselines (see ``cost.baseline_costs``), which belong to the section ``cost``.
    account
        Which windows were used and dropped, the reasons, remarks on the baselines, and what the series are.
    """

    reference: str
    subject: str
    metrics: dict[str, dict[str, dict[str, float]]]
    overall: dict[str, dict[str, float]]
    retention: dict[str, dict[str, float]]
    retention_by_model: dict[str, dict[str, dict[str, float]]]
    intervals: dict[str, dict[str, dict[str, Any]]]
    windows: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    baseline_costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The evaluation's part of metrics.json (the caller adds ``cost`` and ``provenance``)."""
        return {
            "reference": self.reference,
            "subject": self.subject,
            "models": self.metrics,
            "overall": self.overall,
            "retention": self.retention,
            "retention_by_model": self.retention_by_model,
            "intervals": self.intervals,
            **self.details,
            "account": self.account,
        }


def conclude(scored: list[Scored], reference: str, subject: str, account: dict[str, Any]) -> Evaluation:
    """Compute metrics, retention and intervals from the scores of all data sets."""
    table = _metrics(scored, reference)
    overall = {model: _overall(sets) for model, sets in table.items()}
    kept = {m: _retention(table[m], table[reference]) for m in table if reference in table and m != reference}
    windows = {
        s.dataset: {
            "series": s.series,
            "origin": s.origin,
            "weights": s.weights,
            "sql": {model: s.sql(model) for model in s.scores},
        }
        for s in scored
    }
    return Evaluation(
        reference=reference,
        subject=subject,
        metrics=table,
        overall=overall,
        retention=kept.get(subject, {}),
        retention_by_model=kept,
        intervals=_intervals(scored, subject),
        windows=windows,
        account=account,
    )


def _metrics(scored: list[Scored], reference: str) -> dict[str, dict[str, dict[str, float]]]:
    table: dict[str, dict[str, dict[str, float]]] = {}
    for one in scored:
        for model, scores in one.scores.items():
            values = metrics.summarise(scores)
            naive = metrics.summarise(one.on_rows_of(model, SEASONAL_NAIVE))
            found = {**values, **metrics.relative(values, naive, "rel_naive")}
            if reference in one.scores:
                teacher = metrics.summarise(one.on_rows_of(model, reference))
                found |= metrics.relative(values, teacher, "rel_teacher")
            table.setdefault(model, {})[one.dataset] = found
    return table


def _overall(sets: dict[str, dict[str, float]]) -> dict[str, float]:
    names = [f"{name}_rel_naive" for name in ("sql", "wql", "mase", "mse", "mae")]
    means = {name: metrics.geometric_mean(values[name] for values in sets.values()) for name in names}
    return {**means, "datasets": len(sets)}


def _retention(model: dict[str, dict[str, float]], teacher: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Per data set and overall: teacher SQL / model SQL, and the share of the teacher's skill that the model keeps."""
    ratio = {name: 1 / values["sql_rel_teacher"] for name, values in model.items() if values["sql_rel_teacher"]}
    own = {name: model[name]["sql_rel_naive"] for name in ratio}
    # the teacher's on the windows of the model, which may be fewer
    of_teacher = {name: own[name] * ratio[name] for name in ratio}
    kept = {n: {"sql": ratio[n], "skill": metrics.skill_retention(own[n], of_teacher[n])} for n in ratio}
    means = [metrics.geometric_mean(values.values()) for values in (ratio, own, of_teacher)]
    kept["overall"] = {"sql": means[0], "skill": metrics.skill_retention(means[1], means[2])}
    return kept


def _intervals(scored: list[Scored], subject: str) -> dict[str, dict[str, dict[str, Any]]]:
    weights = {
        one.dataset: bootstrap.draw_weights(one.series, one.blocks, seed=index) for index, one in enumerate(scored)
    }
    models = list(dict.fromkeys(model for one in scored for model in one.scores))
    pairs = [(subject, other) for other in models if other != subject]
    pairs += [
        (model, SEASONAL_NAIVE)
        for model in models
        if model not in (subject, SEASONAL_NAIVE) and subject != SEASONAL_NAIVE
    ]
    return {f"{first}/{second}": {"sql": _ratio(scored, weights, first, second)} for first, second in pairs}


def _ratio(scored: list[Scored], weights: dict[str, np.ndarray], first: str, second: str) -> dict[str, Any]:
    """Ratio of two models' mean SQL on the windows of both: geometric mean over data sets, and per data set."""
    found: dict[str, dict[str, Any]] = {}
    logs, windows, blocks = [], 0, 0
    for one in scored:
        if first not in one.scores or second not in one.scores:
            continue
        above, below = one.sql(first), one.sql(second)
        both = np.isfinite(above) & np.isfinite(below)
        share = one.scores[first].take(np.searchsorted(one.rows[first], np.flatnonzero(both))).weights
        interval, drawn = bootstrap.mean_ratio(share * above[both], share * below[both], weights[one.dataset][:, both])
        logs.append(drawn)
        count, apart = int(both.sum()), _independent(one.series[both], one.blocks[both])
        found[one.dataset] = _entry(interval, count, apart)
        windows, blocks = windows + count, blocks + apart
    whole = bootstrap.geometric_mean_ratio([interval["value"] for interval in found.values()], logs)
    return {**_entry(whole, windows, blocks), "datasets": found}


def _entry(interval: bootstrap.Interval, windows: int, blocks: int) -> dict[str, Any]:
    """The interval for metrics.json, without ends where there are too few windows."""
    if windows < LEAST_WINDOWS or blocks < LEAST_BLOCKS:
        interval = bootstrap.Interval(interval.value, float("nan"), float("nan"))
    return {**interval.to_dict(), "windows": windows}


def _independent(series: np.ndarray, blocks: np.ndarray) -> int:
    """The number of blocks: windows of one series that do not overlap, about."""
    return np.unique(np.stack([series, blocks]), axis=1).shape[1]
