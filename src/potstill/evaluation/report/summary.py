"""The run in plain words: one sentence first, then what it was held against, then what to be careful about.

The command line prints ``summary_lines`` and the report shows the same sentences, so that both say one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from potstill.evaluation.report.figures import Figures, Interval, compact, display_name

Verdict = Literal["better", "worse", "even"]
AGAINST = {
    "teacher": "its teacher",
    "control": "its control (same student, no teacher)",
    "ridge": "ridge (a linear map fitted to these data)",
    "seasonal_naive": "seasonal naive (the last season repeated)",
}
EVEN = 0.005  # without an interval, a difference below half a percent is called none


@dataclass(frozen=True)
class Comparison:
    """The student's SQL beside one other model's; ``change`` is the relative difference (−0.1: 10 % less)."""

    model: str
    change: float
    verdict: Verdict
    wins: int
    shared: int
    interval: Interval | None = None

    @property
    def against(self) -> str:
        """The other model, with what it is."""
        return AGAINST.get(self.model, display_name(self.model))

    @property
    def difference(self) -> str:
        """'SQL 4.2 % lower' and the like."""
        if abs(self.change) < 0.0005:
            return "SQL the same"
        return f"SQL {percent(abs(self.change), fine=True)} {'lower' if self.change < 0 else 'higher'}"

    @property
    def span(self) -> str:
        """The 95 % interval of the difference, or nothing."""
        if self.interval is None:
            return ""
        return f"{signed(self.interval.low - 1)} to {signed(self.interval.high - 1)}"

    @property
    def meaning(self) -> str:
        """What follows, in a few words."""
        if self.model == "control":
            return {"better": "the teacher helped", "worse": "the teacher did not help here, it cost accuracy"}.get(
                self.verdict, "no difference that these data can tell"
            )
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

    It is placed as it is shown: 95.3 % reads 95 % and lies within 90–95 %.
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
    measured = claims(figures)
    if measured:
        usual = ", ".join(claim.usual for claim in measured)
        here = ", ".join(f"{claim.measured} {claim.what}" for claim in measured)
        lines.append(f"Usual claims: {usual}; measured here: {here}.")
    return lines + cautions(figures)


def headline(figures: Figures) -> str:
    """The one sentence: skill kept, speed, size; or what is known where there is no teacher."""
    if figures.subject is None:
        return "Nothing was measured: this run holds no figures yet."
    if figures.teacher is None:
        return _without_teacher(figures)
    kept = _kept(figures)
    speed, size = _speed(figures.times_faster()), _size(figures.size_share())
    if speed and size:
        joint = ", but is " if "slower" in speed else ", is "
        return f"{kept}{joint}{speed} and {size}."
    rest = speed or size
    return f"{kept} and is {rest}." if rest else f"{kept}."


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
        found.append(Comparison(other, ratio - 1, _verdict(ratio, interval), wins, shared, interval))
    return found


def claims(figures: Figures) -> list[Claim]:
    """Skill kept, speed and size beside the usual claims (90–95 % kept, 2–5 times faster, 50–80 % smaller)."""
    found = []
    skill, sql = figures.retention("skill"), figures.retention("sql")
    if skill is not None and skill > 0:  # a share of skill below nothing says nothing
        note = f"SQL retention {percent(sql, fine=True)}" if sql is not None else ""
        found.append(
            Claim(percent(skill), "of the skill kept", "90–95 % kept", _place(round(skill, 2), 0.90, 0.95), note)
        )
    faster = figures.times_faster()
    if faster is not None:
        what = "faster" if faster >= 1 else "the speed"
        note = _pair(figures, "series_per_second_b32", "against", "series a second")
        found.append(Claim(f"{times(faster)} times", what, "2–5 times faster", _place(round(faster, 1), 2, 5), note))
    share = figures.size_share()
    if share is not None:
        what = "smaller" if share <= 1 else "larger"
        note = _pair(figures, "parameters", "of", "parameters")
        found.append(
            Claim(percent(abs(1 - share)), what, "50–80 % smaller", _place(round(1 - share, 2), 0.5, 0.8), note)
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


def percent(share: float, fine: bool = False) -> str:
    """A share as a percentage: whole, but with a decimal near 100 % and, if ``fine``, below 10 %."""
    value = share * 100
    decimals = int(abs(value - 100) < 1.5 or (fine and abs(value) < 10))
    return f"{value:.{decimals}f} %"


def signed(change: float) -> str:
    """A relative change with its sign: '+1.2 %', '−3.4 %'."""
    return f"{'+' if change >= 0 else '−'}{abs(change) * 100:.1f} %"


def times(ratio: float) -> str:
    """A factor for people: '12', '3.4', '1.27', '0.46'."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}" if ratio >= 1.95 else f"{ratio:.2f}"


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


def _speed(faster: float | None) -> str:
    if faster is None:
        return ""
    if faster > 1.1:
        return f"{times(faster)} times faster"
    return "about as fast" if faster >= 1 / 1.1 else f"{times(1 / faster)} times slower"


def _size(share: float | None) -> str:
    if share is None:
        return ""
    if share > 1.05:
        return f"{times(share)} times its size"
    return f"{percent(share, fine=True) if share < 0.02 else percent(share)} of its size"


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


def _verdict(ratio: float, interval: Interval | None) -> Verdict:
    low, high = (interval.low, interval.high) if interval else (ratio - EVEN, ratio + EVEN)
    return "better" if high < 1 else "worse" if low > 1 else "even"


def _place(value: float, low: float, high: float) -> str:
    return "above" if value > high else "within" if value >= low else "below"


def _pair(figures: Figures, cost: str, between: str, unit: str) -> str:
    own, other = figures.cost(figures.subject, cost), figures.cost(figures.teacher, cost)
    return "" if own is None or other is None else f"{compact(own)} {between} {compact(other)} {unit}"
