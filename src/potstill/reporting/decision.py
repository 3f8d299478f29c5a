"""The headline of a run: the decision in words. Baselines and controls come first: nothing is kept that they do better.

After it comes the lead: what the headline leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence

from potstill.reporting.comparisons import HEADLINE_NAMES, Comparison, comparisons
from potstill.reporting.figures import BASELINE_ORDER, CONTROLS, SOURCE, Figures, compact, display_name
from potstill.reporting.phrases import SMALLEST_DIFFERENCE, headline_sentence, joined, percent, size, speed

MATCHES = 0.02  # a difference that is not significant and below this counts as a match


def headline(figures: Figures) -> str:
    """The decision in one sentence; without windows or metrics, why there is none."""
    if figures.subject is None:
        return "Nothing was measured: this run has no metrics yet."
    if figures.too_few:
        return f"{figures.too_few}."
    compared = comparisons(figures)
    worse = {comparison.model: comparison for comparison in compared if comparison.verdict == "worse"}
    simpler = [worse[name] for name in BASELINE_ORDER if name in worse]
    without = [worse[name] for name in CONTROLS if name in worse]
    if simpler and max(c.change for c in simpler) >= max((c.change for c in without), default=0.0):
        return _use_a_baseline(figures, simpler)
    best = figures.experts.get("best_expert")
    if best in worse:
        return f"The expert {best} alone is more accurate: use it ({_lower(worse[best])})."
    if SOURCE in worse:
        return f"The student before it grew is more accurate: keep it ({_lower(worse[SOURCE])})."
    if without:
        best = max(without, key=lambda comparison: comparison.change)
        kept = f"{_kept(figures)}, but training without it" if figures.teacher else "Training without a teacher"
        too = f", and so {'does' if len(simpler) == 1 else 'do'} {joined(_names(simpler))}" if simpler else ""
        return f"{kept} does better ({_lower(best)}){too}."
    return _with_even_models(_own(figures), compared)


def lead(figures: Figures) -> str:
    """What the headline leaves open: what is kept, speed and size; empty if the headline says it."""
    if figures.subject is None:
        return ""
    own, said = _own(figures), headline(figures)
    if own.removesuffix(".") in said:
        return ""
    subject = f"The {figures.label(figures.subject).lower()}" if figures.subject == "student" else figures.subject
    if figures.teacher is None:
        return "" if figures.too_few else own
    if not figures.too_few and not said.startswith(_kept(figures)):
        return f"{subject} {own[0].lower()}{own[1:]}"
    costs = [part for part in (speed(figures.certain_speed()), size(figures.size_share())) if part]
    return f"{subject} is {' and '.join(costs)}, compared with the teacher." if costs else ""


def _use_a_baseline(figures: Figures, simpler: Sequence[Comparison]) -> str:
    """The sentence for baselines that are more accurate than the subject."""
    best = max(simpler, key=lambda comparison: comparison.change)
    name = HEADLINE_NAMES[best.model]
    first, *rest = _names(simpler)
    named = joined([first[:1].upper() + first[1:], *rest])
    against = figures.ratio(figures.teacher, best.model)
    still = figures.teacher is not None and against is not None and against < 1 - SMALLEST_DIFFERENCE
    use = (
        f"use {'it' if len(simpler) == 1 else name}{', or the teacher, which is more accurate still' if still else ''}"
    )
    return f"{named} {'is' if len(simpler) == 1 else 'are'} more accurate here: {use} ({_lower(best)})."


def _names(compared: Sequence[Comparison]) -> list[str]:
    """The names of the other models within a sentence."""
    return [HEADLINE_NAMES[comparison.model] for comparison in compared]


def _lower(comparison: Comparison) -> str:
    """How much lower the other model's error is."""
    return f"{comparison.what} {percent(1 - 1 / (1 + comparison.change), fine=True)} lower"


def _with_even_models(sentence: str, compared: Sequence[Comparison]) -> str:
    """The headline with the baselines and controls that are not significantly different at its end."""
    known = [c for c in compared if c.model in (*CONTROLS, *BASELINE_ORDER) and c.interval]
    names = _names([comparison for comparison in known if comparison.verdict == "even"])
    if not names:
        return sentence
    return f"{sentence.removesuffix('.')}; no significant difference from {joined(names)}."


def _own(figures: Figures) -> str:
    """What is kept of the teacher, speed and size; without a teacher, the error compared with seasonal naive's."""
    if figures.teacher is None:
        return _without_teacher(figures)
    return headline_sentence(_kept(figures), figures.certain_speed(), figures.size_share())


def _matches(figures: Figures) -> bool:
    """Whether the subject's error is the teacher's, as far as these windows tell."""
    against = next((c for c in comparisons(figures) if c.model == figures.teacher), None)
    return against is not None and against.verdict == "even" and abs(against.change) <= MATCHES


def _kept(figures: Figures) -> str:
    owner = "the teacher's" if figures.teacher == "teacher" else f"{display_name(str(figures.teacher))}'s"
    skill = figures.retention("skill")
    if skill is None:
        sql = figures.retention("sql")
        if sql is None:
            return "Was not evaluated on the same data as its teacher"
        return f"Keeps {percent(sql)} of {owner} accuracy (SQL; the teacher is no better than seasonal naive)"
    if _matches(figures):
        return f"Matches {'the teacher' if figures.teacher == 'teacher' else display_name(str(figures.teacher))}"
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
