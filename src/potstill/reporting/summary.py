"""The run in plain words: one sentence first, then what it was held against, then what to be careful about.

The command line prints ``summary_lines`` and the report shows the same sentences, so that both say one thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from potstill.reporting.figures import Figures, Interval, compact, display_name
from potstill.reporting.phrases import EVEN, Verdict, joined, percent, place, signed, times, verdict

AGAINST = {
    "teacher": "its teacher",
    "control": "its control (same student, no teacher)",
    "ridge": "ridge (a linear map fitted to these data)",
    "seasonal_naive": "seasonal naive (the last season repeated)",
}
HELPED: dict[Verdict, str] = {
    "better": "the teacher helped",
    "worse": "the teacher did not help here, it cost accuracy",
    "even": "no difference that these data can tell",
}


@dataclass(frozen=True)
class Comparison:
    """The student's error beside one other model's; ``change`` is the relative difference (−0.1: 10 % less)."""

    model: str
    change: float
    verdict: Verdict
    wins: int
    shared: int
    interval: Interval | None = None
    what: str = "SQL"

    @property
    def against(self) -> str:
        """The other model, with what it is."""
        return AGAINST.get(self.model, display_name(self.model))

    @property
    def difference(self) -> str:
        """'SQL 4.2 % lower' and the like; from twice as much on the factor: 'perplexity 16 times as high'."""
        if self.change >= 1:
            return f"{self.what} {times(1 + self.change)} times as high"
        if abs(self.change) < 0.0005:
            return f"{self.what} the same"
        return f"{self.what} {percent(abs(self.change), fine=True)} {'lower' if self.change < 0 else 'higher'}"

    @property
    def span(self) -> str:
        """The 95 % interval of the difference, or nothing."""
        if self.interval is None:
            return ""
        if self.change >= 1:
            return f"{times(self.interval.low)} to {times(self.interval.high)} times"
        return f"{signed(self.interval.low - 1)} to {signed(self.interval.high - 1)}"

    @property
    def meaning(self) -> str:
        """What follows, in a few words."""
        if self.model == "control":
            return HELPED[self.verdict]
        if self.verdict == "even":
            return "level"
        if self.model == "seasonal_naive":
            return "it has skill" if self.verdict == "better" else "no skill: seasonal naive forecasts better"
        return self.verdict

    @property
    def sentence(self) -> str:
        """The whole comparison as the command line prints it."""
        interval = f" (95 % interval {self.span})" if self.span else ""
        wins = f", lower on {self.wins} of {self.shared} data sets" if self.shared > 1 else ""
        return f"Against {self.against}: {self.difference}{interval}{wins}; {self.meaning}."


@dataclass(frozen=True)
class Claim:
    """One measured figure beside what is usually claimed of distilled models; ``place`` is above, within or below.

    It is placed as it is shown: 95.3 % reads 95 % and lies within 90–95 %. Where nothing is usually claimed, ``usual``
    is empty.
    """

    measured: str
    what: str
    usual: str
    place: str
    note: str


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What a run came to, in plain words, most important first.

    Parameters
    ----------
    metrics
        The tree of metrics.json; any part may be absent.

    Returns
    -------
    list of str
        One sentence each. Never empty.
    """
    figures = Figures(metrics)
    lines = [headline(figures), *(comparison.sentence for comparison in comparisons(figures))]
    return lines + beside_the_usual(claims(figures)) + cautions(figures)


def beside_the_usual(measured: Sequence[Claim]) -> list[str]:
    """A line on what is usually claimed and what was measured; none where there is nothing to set side by side."""
    measured = [claim for claim in measured if claim.usual]
    if not measured:
        return []
    usual = ", ".join(claim.usual for claim in measured)
    here = ", ".join(f"{claim.measured} {claim.what}" for claim in measured)
    return [f"Usual claims: {usual}; measured here: {here}."]


def headline(figures: Figures) -> str:
    """The one sentence: skill kept, speed, size; or what is known where there is no teacher."""
    if figures.subject is None:
        return "Nothing was measured: this run holds no figures yet."
    if figures.teacher is None:
        return _without_teacher(figures)
    return joined(_kept(figures), figures.times_faster(), figures.size_share())


def comparisons(figures: Figures) -> list[Comparison]:
    """The student against the teacher, the control and the baselines, as far as they were measured."""
    if figures.subject is None:
        return []
    others = [figures.teacher, "control", "ridge", "auto_theta", "seasonal_naive"]
    found = []
    for other in dict.fromkeys(others):
        ratio = figures.ratio(figures.subject, other)
        if other not in figures.models or other == figures.subject or ratio is None:
            continue
        interval = figures.interval(figures.subject, other)
        wins, shared = figures.wins(figures.subject, other)
        found.append(Comparison(other, ratio - 1, verdict(ratio, interval), wins, shared, interval))
    return found


def claims(figures: Figures) -> list[Claim]:
    """Skill kept, speed and size beside the usual claims (90–95 % kept, 2–5 times faster, 50–80 % smaller)."""
    found = []
    skill, sql = figures.retention("skill"), figures.retention("sql")
    if skill is not None and skill > 0:  # a share of skill below nothing says nothing
        note = f"SQL retention {percent(sql, fine=True)}" if sql is not None else ""
        found.append(
            Claim(percent(skill), "of the skill kept", "90–95 % kept", place(round(skill, 2), 0.90, 0.95), note)
        )
    return found + cost_claims(figures, "series_per_second_b32", "series a second")


def cost_claims(figures: Figures, rate: str, unit: str) -> list[Claim]:
    """Speed and size beside the usual claims."""
    found = []
    faster = figures.times_faster()
    if faster is not None:
        what = "faster" if faster >= 1 else "the speed"
        note = pair(figures, rate, "against", unit)
        found.append(Claim(f"{times(faster)} times", what, "2–5 times faster", place(round(faster, 1), 2, 5), note))
    share = figures.size_share()
    if share is not None:
        what = "smaller" if share <= 1 else "larger"
        note = pair(figures, "parameters", "of", "parameters")
        found.append(
            Claim(percent(abs(1 - share)), what, "50–80 % smaller", place(round(1 - share, 2), 0.5, 0.8), note)
        )
    return found


def cautions(figures: Figures) -> list[str]:
    """What a careful reader should hold against the figures above."""
    found = []
    coverage = figures.mean(figures.subject, "coverage_80")
    if coverage is not None:
        judged = "too narrow" if coverage < 0.75 else "too wide" if coverage > 0.85 else "honest"
        found.append(f"Its 80 % band holds {percent(coverage)} of the truth: {judged}.")
    if figures.teacher is not None and "student" in figures.models and "control" not in figures.models:
        found.append("No control was trained (--control), so what the teacher added is not known.")
    teacher = figures.overall_relative(figures.teacher)
    if teacher is not None and teacher >= 1:
        found.append(f"The teacher itself is no better than seasonal naive here ({teacher:.2f} of its SQL).")
    if figures.datasets and all(name.startswith("ETT") for name in figures.datasets):
        found.append("ETT data alone discriminate little: a linear map stands level with foundation models there.")
    elif len(figures.datasets) == 1:
        found.append("One data set only: in a domain with plenty of data, most of the skill is easy to keep.")
    return found


def _kept(figures: Figures) -> str:
    owner = "the teacher's" if figures.teacher == "teacher" else f"{display_name(str(figures.teacher))}'s"
    skill = figures.retention("skill")
    if skill is None:
        sql = figures.retention("sql")
        if sql is None:
            return "Was not measured on the same data as its teacher"
        return f"Keeps {percent(sql)} of {owner} accuracy (SQL; the teacher has no skill over seasonal naive)"
    if skill > 1.005:
        return f"Keeps all of {owner} skill and more ({percent(skill)})"
    if skill <= 0:
        return f"Loses {owner} skill (it forecasts no better than seasonal naive)"
    return f"Keeps {'only ' if skill < 0.795 else ''}{percent(skill)} of {owner} skill"


def _without_teacher(figures: Figures) -> str:
    name = display_name(str(figures.subject))
    naive = figures.ratio(figures.subject, "seasonal_naive")
    naive = figures.overall_relative(figures.subject) if naive is None else naive
    parameters = figures.cost(figures.subject, "parameters")
    rate = figures.cost(figures.subject, "series_per_second_b32")
    costs = [f"{compact(parameters)} parameters"] if parameters is not None else []
    costs += [f"{compact(rate)} series a second"] if rate is not None else []
    with_costs = f", with {' and '.join(costs)}" if costs else ""
    if naive is None:
        return f"{name} was measured{with_costs}; no seasonal naive or teacher stands beside it."
    if abs(naive - 1) < EVEN:
        return f"{name} forecasts as well as seasonal naive (SQL){with_costs}."
    side = "lower" if naive < 1 else "higher"
    return f"{name}'s error (SQL) is {percent(abs(naive - 1))} {side} than seasonal naive's{with_costs}."


def pair(figures: Figures, cost: str, between: str, unit: str) -> str:
    """The subject's cost beside the teacher's; nothing where one of them is not known."""
    own, other = figures.cost(figures.subject, cost), figures.cost(figures.teacher, cost)
    return "" if own is None or other is None else f"{compact(own)} {between} {compact(other)} {unit}"
