"""The numbers of metrics.json that the report shows; any part of the file may be absent.

The structure is that of SPEC "The surface that others rely on": ``models.{model}.{dataset}.{metric}``, ``retention``,
``cost``, ``account``, ``provenance``; also ``reference`` and ``subject`` (names of models, if they are not ``teacher``
and ``student``) and ``intervals.{"a/b"}.{metric}.{value, low, high, datasets}`` for the ratio of model a's metric to
model b's. The name ``overall`` is not a data set but the mean over data sets, and is read separately.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from potstill.evaluation.outcome import CALIBRATED, LEAST_BLOCKS, LEAST_WINDOWS
from potstill.reporting.values import mapping, number

OVERALL = "overall"
BASELINE_ORDER = ("ridge", "auto_theta", "seasonal_naive")
CONTROLS = ("control", "control_start")
_SMALLEST_PLAIN, _LARGEST_PLAIN = 1e-6, 1e15  # numbers between these are written without an exponent
SIMILAR_SPEED = 1.1  # up to this factor, models are about as fast
SOURCE = "source"  # the finished student from which a mixture grew
MEAN_OF_EXPERTS, ORACLE = "mean of experts", "oracle"  # of a mixture; the oracle knows the best expert of each window
MODEL_ORDER = ("student", SOURCE, *CONTROLS, "teacher", *BASELINE_ORDER)
MODEL_NAMES = {
    "teacher": "Teacher",
    "student": "Student",
    "control": "Control",
    "control_start": "Control from the student's start",
    SOURCE: "The student before it grew",
    "seasonal_naive": "Seasonal naive",
    "ridge": "Ridge",
    "auto_theta": "AutoTheta",
    MEAN_OF_EXPERTS: "Mean of all experts",
    ORACLE: "Oracle",
}


@dataclass(frozen=True)
class Interval:
    """The ratio of two models' metric with its 95 % confidence interval; below one the first model is better."""

    value: float
    low: float
    high: float


class Figures:
    """Numbers of one metrics.json; every accessor returns None where the file has no value.

    Parameters
    ----------
    metrics
        The parsed file. It is not changed.
    """

    rates: ClassVar[tuple[str, ...]] = ("series_per_second_b32", "series_per_second_b256")
    speedups: ClassVar[Mapping[str, str]] = {"speedup_b32": "at batch 32", "speedup_b1": "at batch 1"}

    def __init__(self, metrics: Mapping[str, Any]):
        self.metrics = metrics
        models = mapping(metrics.get("models"))
        ranked = sorted(models, key=lambda name: (_rank(name), name))
        self.models: list[str] = [name for name in ranked if mapping(models[name])]
        found = {dataset: None for name in self.models for dataset in models[name] if dataset != OVERALL}
        self.datasets: list[str] = list(found)
        costed = [name for name in mapping(metrics.get("cost")) if name not in self.models]
        self.costed: list[str] = self.models + sorted(costed, key=_rank)

    @property
    def experts(self) -> Mapping[str, Any]:
        """What was measured of a mixture's experts; empty for other models."""
        return mapping(self.metrics.get("experts"))

    @property
    def subject(self) -> str | None:
        """The model that the report describes: the student, or the first that is neither teacher nor baseline."""
        named, reference = self.metrics.get("subject"), self.metrics.get("reference")
        others = [name for name in self.models if name not in (*BASELINE_ORDER, *CONTROLS, "teacher", reference)]
        return next((name for name in (named, "student", *others, reference, "teacher") if name in self.models), None)

    @property
    def teacher(self) -> str | None:
        """The model that the subject is compared with, if it was evaluated."""
        given = self.metrics.get("reference", "teacher")
        name = given if isinstance(given, str) and given in self.models else "teacher"
        return name if name in self.models and name != self.subject else None

    def label(self, model: str | None) -> str:
        """The name of a model in the report; a mixture is not called a student."""
        return "Mixture" if self.experts and model == "student" else display_name(str(model))

    def value(self, model: str | None, dataset: str, metric: str) -> float | None:
        """One metric of one model on one data set."""
        return number(_branch(self.metrics, "models", model, dataset).get(metric))

    def relative(self, model: str | None, dataset: str, metric: str = "sql") -> float | None:
        """The metric divided by seasonal naive's, from the file or computed from both."""
        given = self.value(model, dataset, f"{metric}_rel_naive")
        if given is not None:
            return given
        return _quotient(self.value(model, dataset, metric), self.value("seasonal_naive", dataset, metric))

    def overall_relative(self, model: str | None, metric: str = "sql") -> float | None:
        """Geometric mean over the data sets of the metric relative to seasonal naive."""
        return self._mean(lambda dataset: self.relative(model, dataset, metric))

    def ratio(self, first: str | None, second: str | None, metric: str = "sql") -> float | None:
        """Geometric mean of first / second over the data sets of both.

        The value from the evaluation, if there is one: it compares on the same windows, which matters for a slow
        baseline that was evaluated on a subset.
        """
        given = self._pair(first, second, metric)
        if given is not None:
            return given[0]
        return self._mean(lambda d: _quotient(self.value(first, d, metric), self.value(second, d, metric)))

    def mean(self, model: str | None, metric: str) -> float | None:
        """Arithmetic mean over the data sets (for coverage, which is not a ratio)."""
        values = [v for v in (self.value(model, d, metric) for d in self.datasets) if v is not None]
        return sum(values) / len(values) if values else None

    def calibrated(self, model: str | None) -> tuple[int, float] | None:
        """Past horizons to whose errors a model's intervals were fitted, and the coverage of the 80 % band then."""
        horizons = mapping(self.metrics.get("calibrated_rows")).get(model or "", 0)
        coverage = self.mean(f"{model}{CALIBRATED}", "coverage_80")
        return (horizons, coverage) if horizons and coverage is not None else None

    def calibrate_horizons(self, model: str | None) -> int:
        """Past horizons to whose errors ``potstill forecast`` fits a model's intervals by default."""
        return mapping(self.metrics.get("calibrate_horizons")).get(model or "", 0)

    def wins(self, first: str | None, second: str | None) -> tuple[int, int]:
        """The number of data sets on which the first model's SQL is lower, and the number of data sets of both."""
        pairs = {d: _quotient(self.value(first, d, "sql"), self.value(second, d, "sql")) for d in self.datasets}
        pairs |= {d: found[0] for d in self.datasets if (found := self._pair(first, second, dataset=d))}
        ratios = [ratio for ratio in pairs.values() if ratio is not None]
        return sum(ratio < 1 for ratio in ratios), len(ratios)

    def retention(self, kind: str, dataset: str = OVERALL) -> float | None:
        """``sql``: teacher SQL / student SQL. ``skill``: (1 − student's SQL relative to naive) / (1 − teacher's).

        Skill retention is None if the teacher has no skill (it is no better than seasonal naive).
        """
        if self.teacher is None or self.subject is None:
            return None
        whole = dataset == OVERALL
        teacher = self.overall_relative(self.teacher) if whole else self.relative(self.teacher, dataset)
        if kind == "skill" and (teacher is None or teacher >= 1):
            return None
        given = number(_branch(self.metrics, "retention", dataset).get(kind))
        if given is not None:
            return given
        if kind == "sql":
            if whole:
                return self.ratio(self.teacher, self.subject)
            return _quotient(self.value(self.teacher, dataset, "sql"), self.value(self.subject, dataset, "sql"))
        student = self.overall_relative(self.subject) if whole else self.relative(self.subject, dataset)
        return None if student is None or teacher is None else (1 - student) / (1 - teacher)

    def cost(self, model: str | None, what: str) -> float | None:
        """One cost of one model."""
        return number(_branch(self.metrics, "cost", model).get(what))

    def cost_range(self, model: str | None, what: str) -> tuple[float, float] | None:
        """The lowest and highest value of a cost over the rounds of the measurement."""
        given = _branch(self.metrics, "cost", model).get(f"{what}_range")
        low, high = map(number, given) if isinstance(given, (list, tuple)) and len(given) == 2 else (None, None)
        return None if low is None or high is None else (low, high)

    def paired_speeds(self) -> list[tuple[str, float, tuple[float, float] | None]]:
        """The subject's speed relative to the teacher's, in paired rounds: at which batch, the median, the range."""
        if self.metrics.get("reference", "teacher") != self.teacher:
            return []
        found = [(title, self.cost(self.subject, key), key) for key, title in self.speedups.items()]
        return [(title, v, self.cost_range(self.subject, key)) for title, v, key in found if v is not None]

    def times_faster(self) -> float | None:
        """The subject's speed relative to the teacher's: from paired rounds, or from the first rate or latency."""
        paired = self.paired_speeds()
        if paired:
            return paired[0][1]
        for what in self.rates:
            faster = _quotient(self.cost(self.subject, what), self.cost(self.teacher, what))
            if faster is not None:
                return faster
        return _quotient(self.cost(self.teacher, "latency_ms_b1"), self.cost(self.subject, "latency_ms_b1"))

    def certain_speed(self) -> float | None:
        """:meth:`times_faster`; None where its rounds do not tell which model is faster, as on a busy machine."""
        span = next((span for _, _, span in self.paired_speeds()), None)
        undecided = span is not None and span[0] < 1 / SIMILAR_SPEED and span[1] > SIMILAR_SPEED
        return None if undecided else self.times_faster()

    def size_share(self) -> float | None:
        """The subject's size as saved (or its parameters) divided by the teacher's."""
        for what in ("bytes", "parameters"):
            share = _quotient(self.cost(self.subject, what), self.cost(self.teacher, what))
            if share is not None:
                return share
        return None

    def interval(
        self, first: str | None, second: str | None, metric: str = "sql", dataset: str = OVERALL
    ) -> Interval | None:
        """The interval of first / second, from either order of the pair; of one data set if given."""
        found = self._pair(first, second, metric, dataset)
        if found is None or found[1] is None or found[2] is None:
            return None
        return Interval(found[0], found[1], found[2])

    @property
    def windows(self) -> int | None:
        """The number of test windows of all data sets."""
        return self._count("windows")

    @property
    def too_few(self) -> str:
        """Why the evaluated windows are too few for a verdict; empty if they are enough, or their number is unknown."""
        windows, apart = self.windows, self._count("without_overlap")
        if windows is None:
            return ""
        if windows < LEAST_WINDOWS:
            return f"{windows} {'window' if windows == 1 else 'windows'}: too few to tell"
        if apart is not None and apart < LEAST_BLOCKS:
            return f"{windows} windows that overlap: too few to tell"
        return ""

    def _count(self, key: str) -> int | None:
        """A count of the account, summed over the data sets."""
        sets = _branch(self.metrics, "account", "datasets")
        found = [count for one in sets.values() if (count := number(mapping(one).get(key))) is not None]
        return int(sum(found)) if found else None

    def _pair(
        self, first: str | None, second: str | None, metric: str = "sql", dataset: str = OVERALL
    ) -> tuple[float, float | None, float | None] | None:
        """The ratio of a pair and the ends of its interval, which a ratio of few windows has not."""
        tree = _branch(self.metrics, "intervals")
        for pair, inverse in ((f"{first}/{second}", False), (f"{second}/{first}", True)):
            entry = (
                _branch(tree, pair, metric) if dataset == OVERALL else _branch(tree, pair, metric, "datasets", dataset)
            )
            value, low, high = (number(entry.get(key)) for key in ("value", "low", "high"))
            if value is None or value <= 0:
                continue
            if low is None or high is None or min(low, high) <= 0:
                return (1 / value if inverse else value), None, None
            return (1 / value, 1 / high, 1 / low) if inverse else (value, low, high)
        return None

    def _mean(self, of: Callable[[str], float | None]) -> float | None:
        values = [v for v in map(of, self.datasets) if v is not None and v > 0]
        return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def display_name(model: str) -> str:
    """The name of a model in the report."""
    base = model.removesuffix(CALIBRATED)
    return MODEL_NAMES.get(base, base) + (", calibrated" if model != base else "")


def compact(value: float | None, digits: int = 3) -> str:
    """A short number: 3 significant digits, with K, M, G, T above ten thousand; an en dash for None.

    Numbers beyond these units and those below 1e-6 have an exponent.
    """
    if value is None:
        return "–"
    if value and not _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        return f"{value:.{digits - 1}e}"
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " K")):
        if abs(value) >= max(limit * (1 - 0.5 * 10**-digits), 10_000):
            return f"{_plain(value / limit, digits)}{unit}"
    return f"{value:,.0f}" if abs(value) >= 1000 else _plain(value, digits)


def _plain(value: float, digits: int) -> str:
    value = float(f"{value:.{digits}g}")
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)) + 1e-9))
    return f"{value:.{places}f}"


def _rank(name: str) -> int:
    name = name.removesuffix(CALIBRATED)
    return MODEL_ORDER.index(name) if name in MODEL_ORDER else 1


def _branch(tree: Mapping[str, Any], *keys: str | None) -> Mapping[str, Any]:
    for key in keys:
        tree = mapping(tree.get(key)) if key is not None else {}
    return tree


def _quotient(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None
