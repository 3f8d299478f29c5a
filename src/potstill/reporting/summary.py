"""The summary of a run: one headline, then comparisons with other models, then cautions.

The command line prints ``summary_lines`` and the report shows the same sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potstill.reporting.figures import (
    CONTROLS,
    MEAN_OF_EXPERTS,
    ORACLE,
    SOURCE,
    Figures,
    Interval,
    compact,
    display_name,
)
from potstill.reporting.phrases import (
    SMALLEST_DIFFERENCE,
    Verdict,
    compare_with_range,
    even,
    headline_sentence,
    percent,
    signed,
    times,
    verdict,
    with_better_models,
)
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
TERMS = (
    "Skill is how far the scaled quantile loss (SQL) is below that of seasonal naive, which repeats the last season;"
    " CI is the confidence interval."
)
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
    """The student's error compared with another model's; ``change`` is the relative difference (−0.1: 10 % less)."""

    model: str
    change: float
    verdict: Verdict
    wins: int
    shared: int
    interval: Interval | None = None
    what: str = "SQL"
    described: str = ""

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


@dataclass(frozen=True)
class Claim:
    """One measurement and what is usually claimed of distilled models; ``place`` is above, within or below.

    The rounded number is compared: 95.3 % is shown as 95 % and is within 90–95 %. ``usual`` is empty if there is no
    usual claim.
    """

    measured: str
    what: str
    usual: str
    place: str
    note: str


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The results of a run in sentences, most important first.

    Parameters
    ----------
    metrics
        The content of metrics.json; any part may be absent.

    Returns
    -------
    list of str
        One sentence each. Never empty.
    """
    figures = Figures(metrics)
    terms = [] if figures.subject is None else [TERMS]
    lines = [headline(figures), *terms, *(comparison.sentence for comparison in comparisons(figures))]
    return lines + usual_claims(claims(figures)) + cautions(figures)


def usual_claims(measured: Sequence[Claim]) -> list[str]:
    """One line on usual claims and measurements; empty if there is nothing to compare."""
    measured = [claim for claim in measured if claim.usual]
    if not measured:
        return []
    usual = ", ".join(claim.usual for claim in measured)
    here = ", ".join(f"{claim.measured} {claim.what}" for claim in measured)
    return [f"Usual claims: {usual}; measured here: {here}."]


def headline(figures: Figures) -> str:
    """One sentence: skill kept, speed, size, and models that are better; without a teacher, what is known."""
    if figures.subject is None:
        return "Nothing was measured: this run has no metrics yet."
    better = {c.model: c for c in comparisons(figures) if c.model in HEADLINE_NAMES and c.verdict == "worse"}
    if figures.teacher is None:
        better.pop("seasonal_naive", None)  # the sentence itself compares with it
        return with_better_models(_without_teacher(figures), [_ahead(comparison) for comparison in better.values()])
    sentence = headline_sentence(_kept(figures), figures.times_faster(), figures.size_share())
    return with_better_models(sentence, [_ahead(comparison) for comparison in better.values()])


def _ahead(comparison: Comparison) -> tuple[str, str, float]:
    name = HEADLINE_NAMES.get(comparison.model, comparison.model)
    return name, comparison.what, 1 - 1 / (1 + comparison.change)


def comparisons(figures: Figures) -> list[Comparison]:
    """The student compared with teacher, source, controls and baselines, if they were evaluated."""
    if figures.subject is None:
        return []
    best = figures.experts.get("best_expert")
    described = {best: f"the expert that is best on the validation part, {best}"} if best else {}
    others = [figures.teacher, SOURCE, best, MEAN_OF_EXPERTS, *CONTROLS, "ridge", "auto_theta", "seasonal_naive"]
    found = []
    for other in dict.fromkeys(others):
        ratio = figures.ratio(figures.subject, other)
        if other not in figures.models or other == figures.subject or ratio is None:
            continue
        interval = figures.interval(figures.subject, other)
        wins, shared = figures.wins(figures.subject, other)
        text = described.get(other, "")
        found.append(Comparison(other, ratio - 1, verdict(ratio, interval), wins, shared, interval, described=text))
    return found + _with_oracle(figures)


def _with_oracle(figures: Figures) -> list[Comparison]:
    """A mixture compared with whoever knew the best expert of each window."""
    oracle, own = number(figures.experts.get("oracle_sql_rel_naive")), figures.overall_relative(figures.subject)
    if oracle is None or own is None:
        return []
    return [Comparison(ORACLE, own / oracle - 1, verdict(own / oracle, None), 0, 0)]


def claims(figures: Figures) -> list[Claim]:
    """Skill kept, speed and size with the usual claims (90–95 % kept, 2–5 times faster, 50–80 % smaller)."""
    found = []
    skill, sql = figures.retention("skill"), figures.retention("sql")
    if skill is not None and skill > 0:  # a negative share is meaningless
        note = f"SQL retention {percent(sql, fine=True)}" if sql is not None else ""
        found.append(
            Claim(
                percent(skill),
                "of the skill kept",
                "90–95 % kept",
                compare_with_range(round(skill, 2), 0.90, 0.95),
                note,
            )
        )
    return found + cost_claims(figures, "series_per_second_b32", "series per second")


def cost_claims(figures: Figures, rate: str, unit: str) -> list[Claim]:
    """Speed and size with the usual claims."""
    found = []
    faster = figures.times_faster()
    if faster is not None:
        what = "faster" if faster >= 1 else "the speed"
        note = pair(figures, rate, "compared with", unit)
        found.append(
            Claim(f"{times(faster)} times", what, "2–5 times faster", compare_with_range(round(faster, 1), 2, 5), note)
        )
    share = figures.size_share()
    if share is not None:
        what = "smaller" if share <= 1 else "larger"
        note = pair(figures, "parameters", "of", "parameters")
        found.append(
            Claim(
                percent(abs(1 - share)),
                what,
                "50–80 % smaller",
                compare_with_range(round(1 - share, 2), 0.5, 0.8),
                note,
            )
        )
    return found


def cautions(figures: Figures) -> list[str]:
    """Limits of the results above."""
    found = []
    coverage = figures.mean(figures.subject, "coverage_80")
    if coverage is not None:
        width = "too narrow" if coverage < 0.75 else "too wide" if coverage > 0.85 else "close to 80 %"
        found.append(f"Its 80 % interval covers {percent(coverage)} of the true values: {width}.")
    without_control = "student" in figures.models and "control" not in figures.models
    if figures.teacher is not None and without_control and not figures.experts:  # a mixture has its experts instead
        found.append("No control was trained (--control), so the effect of the teacher is not known.")
    teacher = figures.overall_relative(figures.teacher)
    if teacher is not None and teacher >= 1:
        found.append(f"The teacher itself is no better than seasonal naive here ({teacher:.2f} of its SQL).")
    if figures.datasets and all(name.startswith("ETT") for name in figures.datasets):
        found.append("ETT data alone prove little: a linear model is as accurate as foundation models on them.")
    elif len(figures.datasets) == 1:
        found.append("Only one data set: with plenty of data from one domain, most of the skill is easy to keep.")
    return found


def _kept(figures: Figures) -> str:
    owner = "the teacher's" if figures.teacher == "teacher" else f"{display_name(str(figures.teacher))}'s"
    skill = figures.retention("skill")
    if skill is None:
        sql = figures.retention("sql")
        if sql is None:
            return "Was not evaluated on the same data as its teacher"
        return f"Keeps {percent(sql)} of {owner} accuracy (SQL; the teacher is no better than seasonal naive)"
    if skill > 1.005:
        return f"Keeps all of {owner} skill and more ({percent(skill)})"
    if skill <= 0:
        return f"Loses {owner} skill (it is no better than seasonal naive)"
    return f"Keeps {'only ' if skill < 0.795 else ''}{percent(skill)} of {owner} skill"


def _without_teacher(figures: Figures) -> str:
    name = figures.label(figures.subject)
    naive = figures.ratio(figures.subject, "seasonal_naive")
    naive = figures.overall_relative(figures.subject) if naive is None else naive
    parameters = figures.cost(figures.subject, "parameters")
    rate = figures.cost(figures.subject, "series_per_second_b32")
    costs = [f"{compact(parameters)} parameters"] if parameters is not None else []
    costs += [f"{compact(rate)} series per second"] if rate is not None else []
    with_costs = f", with {' and '.join(costs)}" if costs else ""
    if naive is None:
        return f"{name} was evaluated{with_costs}, without seasonal naive or a teacher to compare with."
    if abs(naive - 1) < SMALLEST_DIFFERENCE:
        return f"{name} is as accurate as seasonal naive (SQL){with_costs}."
    side = "lower" if naive < 1 else "higher"
    return f"{name}'s error (SQL) is {percent(abs(naive - 1))} {side} than seasonal naive's{with_costs}."


def pair(figures: Figures, cost: str, between: str, unit: str) -> str:
    """The subject's cost and the teacher's; empty if one of them is not known."""
    own, other = figures.cost(figures.subject, cost), figures.cost(figures.teacher, cost)
    return "" if own is None or other is None else f"{compact(own)} {between} {compact(other)} {unit}"
