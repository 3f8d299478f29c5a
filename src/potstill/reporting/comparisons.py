"""The student compared with baselines, controls and its teacher: differences, intervals, verdicts."""

from __future__ import annotations

from dataclasses import dataclass

from potstill.reporting.figures import (
    BASELINE_ORDER,
    CONTROLS,
    MEAN_OF_EXPERTS,
    ORACLE,
    SOURCE,
    Figures,
    Interval,
    display_name,
)
from potstill.reporting.phrases import Verdict, even, percent, signed, times, verdict
from potstill.reporting.values import number

DESCRIPTIONS = {
    "teacher": "its teacher",
    SOURCE: "the student from which it grew",
    "control": "its control (the same student trained without a teacher for the same time)",
    "control_start": "its control from the same first weights (trained on the truth alone for the same time)",
    MEAN_OF_EXPERTS: "the mean of all experts",
    ORACLE: "an oracle that knows the best expert of each window",
    "ridge": "ridge (a linear model fitted to these data)",
    "seasonal_naive": "seasonal naive (the last season repeated)",
}
HEADLINE_NAMES = {
    SOURCE: "the student from which it grew",
    "control": "its control",
    "control_start": "its control from the same first weights",
    "ridge": "ridge",
    "auto_theta": "AutoTheta",
    "seasonal_naive": "seasonal naive",
}
CONTROL_VERDICTS: dict[str, dict[Verdict, str]] = {
    "control": {
        "better": "the teacher helped",
        "worse": "the teacher did not help: the control is more accurate",
    },
    "control_start": {
        "better": "the teacher's outputs helped beyond its weights",
        "worse": "the teacher's weights helped, its outputs did not",
    },
}


@dataclass(frozen=True)
class Comparison:
    """The student's error compared with another model's; ``change`` is the relative difference (−0.1: 10 % less).

    ``too_few`` says why there is no verdict.
    """

    model: str
    change: float
    verdict: Verdict
    wins: int
    shared: int
    interval: Interval | None = None
    what: str = "SQL"
    described: str = ""
    too_few: str = ""

    @property
    def against(self) -> str:
        """The other model, with a description."""
        return self.described or DESCRIPTIONS.get(self.model, display_name(self.model))

    @property
    def difference(self) -> str:
        """'SQL 4.2 % lower' and the like; a factor from twice as high on: 'perplexity 16 times as high'."""
        if self.change >= 1:
            return f"{self.what} {times(1 + self.change)} times as high"
        if abs(self.change) < 0.0005:
            return f"{self.what} the same"
        return f"{self.what} {percent(abs(self.change), fine=True)} {'lower' if self.change < 0 else 'higher'}"

    @property
    def span(self) -> str:
        """The 95 % confidence interval of the difference, or an empty text."""
        if self.interval is None:
            return ""
        if self.change >= 1:
            return f"{times(self.interval.low)} to {times(self.interval.high)} times"
        return f"{signed(self.interval.low - 1)} to {signed(self.interval.high - 1)}"

    @property
    def meaning(self) -> str:
        """The conclusion, in a few words."""
        if self.model == ORACLE:
            return "the limit of choosing one expert per window"
        if self.verdict == "unknown":
            return self.too_few
        if self.verdict == "even":
            return even(self.interval)
        if self.model in CONTROLS:
            return CONTROL_VERDICTS[self.model][self.verdict]
        if self.model == "seasonal_naive":
            return "it has skill" if self.verdict == "better" else "no skill: seasonal naive is more accurate"
        return self.verdict

    @property
    def sentence(self) -> str:
        """The comparison as one sentence."""
        interval = f" (95 % CI {self.span})" if self.span else ""
        wins = f", lower on {self.wins} of {self.shared} data sets" if self.shared > 1 else ""
        return f"Compared with {self.against}: {self.difference}{interval}{wins}; {self.meaning}."


def comparisons(figures: Figures) -> list[Comparison]:
    """The student compared with baselines, controls, source and teacher, if they were evaluated."""
    if figures.subject is None:
        return []
    best = figures.experts.get("best_expert")
    described = {best: f"the expert that is best on the validation part, {best}"} if best else {}
    others = [best, MEAN_OF_EXPERTS, *BASELINE_ORDER, *CONTROLS, SOURCE, figures.teacher]
    found, few = [], figures.too_few
    for other in dict.fromkeys(others):
        ratio = figures.ratio(figures.subject, other)
        if other not in figures.models or other == figures.subject or ratio is None:
            continue
        interval = figures.interval(figures.subject, other)
        wins, shared = figures.wins(figures.subject, other)
        text = described.get(other, "")
        judged = verdict(ratio, interval, few)
        found.append(Comparison(other, ratio - 1, judged, wins, shared, interval, described=text, too_few=few))
    return found + _with_oracle(figures)


def _with_oracle(figures: Figures) -> list[Comparison]:
    """A mixture compared with whoever knew the best expert of each window."""
    oracle, own = number(figures.experts.get("oracle_sql_rel_naive")), figures.overall_relative(figures.subject)
    if oracle is None or own is None:
        return []
    return [Comparison(ORACLE, own / oracle - 1, verdict(own / oracle, None), 0, 0)]
