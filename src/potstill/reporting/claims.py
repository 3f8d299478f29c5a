"""Measurements next to what is usually claimed of distilled models: skill kept, speed, size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from potstill.reporting.figures import Figures, compact
from potstill.reporting.phrases import compare_with_range, percent, times


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


def claims(figures: Figures) -> list[Claim]:
    """Skill kept, speed and size with the usual claims (90–95 % kept, 2–5 times faster, 50–80 % smaller)."""
    found = []
    skill, sql = figures.retention("skill"), figures.retention("sql")
    if skill is not None and skill > 0 and not figures.too_few:  # a negative share is meaningless
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
        paired = figures.paired_speeds()
        what = "faster" if faster >= 1 else "the speed"
        where = f" {paired[0][0]}" if paired else ""
        notes = [_range(span) for _, _, span in paired[:1] if span]
        notes += [f"{times(value)} times {title}{_in_brackets(span)}" for title, value, span in paired[1:]]
        notes += [pair(figures, rate, "compared with", unit)]
        if figures.certain_speed() is None:
            notes += ["the rounds do not tell which is faster, so measure again on an idle machine"]
        note = "; ".join(part for part in notes if part)
        place = compare_with_range(round(faster, 1), 2, 5)
        found.append(Claim(f"{times(faster)} times", f"{what}{where}", "2–5 times faster", place, note))
    share = figures.size_share()
    if share is not None:
        what = "smaller" if share <= 1 else "larger"
        saved = saved_sizes(figures)
        note = "; ".join(part for part in (saved, pair(figures, "parameters", "of", "parameters")) if part)
        place = compare_with_range(round(1 - share, 2), 0.5, 0.8)
        found.append(Claim(percent(abs(1 - share)), what, "50–80 % smaller", place, note))
    return found


def saved_sizes(figures: Figures) -> str:
    """The subject's size and the teacher's as saved; empty if one of them is not known."""
    own, other = (figures.cost(model, "bytes") for model in (figures.subject, figures.teacher))
    return "" if own is None or other is None else f"{compact(own)}B of {compact(other)}B as saved"


def _range(span: tuple[float, float]) -> str:
    """The range of a speed over the rounds of its measurement."""
    return f"{times(span[0])} to {times(span[1])} over the rounds"


def _in_brackets(span: tuple[float, float] | None) -> str:
    return f" ({times(span[0])} to {times(span[1])})" if span else ""


def usual_claims(measured: Sequence[Claim]) -> list[str]:
    """One line on usual claims and measurements; empty if there is nothing to compare."""
    measured = [claim for claim in measured if claim.usual]
    if not measured:
        return []
    usual = ", ".join(claim.usual for claim in measured)
    here = ", ".join(f"{claim.measured} {claim.what}" for claim in measured)
    return [f"Usual claims: {usual}; measured here: {here}."]


def pair(figures: Figures, cost: str, between: str, unit: str) -> str:
    """The subject's cost and the teacher's; empty if one of them is not known."""
    own, other = figures.cost(figures.subject, cost), figures.cost(figures.teacher, cost)
    return "" if own is None or other is None else f"{compact(own)} {between} {compact(other)} {unit}"
