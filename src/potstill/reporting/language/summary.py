"""The summary of a language run: one headline, then comparisons with other models, then cautions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from potstill.reporting.claims import Claim, cost_claims, usual_claims
from potstill.reporting.comparisons import CONTROL_VERDICTS, HEADLINE_NAMES, Comparison
from potstill.reporting.figures import CONTROLS, compact, display_name
from potstill.reporting.language.figures import FEW_EXAMPLES, LanguageFigures
from potstill.reporting.phrases import compare_with_range, even, headline_sentence, percent, verdict, with_better_models
from potstill.reporting.values import mapping, number

COMPARED_METRICS = {"perplexity": "perplexity", "kl": "KL to the teacher"}
_RATE = "tokens_per_second_b1"


@dataclass(frozen=True)
class TokenComparison(Comparison):
    """The student's perplexity or KL to the teacher compared with another model's."""

    what: str = COMPARED_METRICS["perplexity"]

    @property
    def against(self) -> str:
        """The other model; the comparison of perplexity, which comes first, describes it."""
        return (
            HEADLINE_NAMES.get(self.model, super().against) if self.what == COMPARED_METRICS["kl"] else super().against
        )

    @property
    def meaning(self) -> str:
        """The conclusion, in a few words."""
        if self.verdict == "even":
            return even(self.interval)
        if self.what == COMPARED_METRICS["kl"]:
            return "closer to the teacher" if self.verdict == "better" else "further from the teacher"
        return CONTROL_VERDICTS[self.model][self.verdict] if self.model in CONTROLS else self.verdict


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The results of a language run in sentences, most important first; any part may be absent."""
    figures = LanguageFigures(metrics)
    lines = [headline(figures), *(comparison.sentence for comparison in comparisons(figures))]
    return lines + quality(figures) + labels(figures) + usual_claims(claims(figures)) + cautions(figures)


def headline(figures: LanguageFigures) -> str:
    """One sentence: agreement, speed, size, a control that is better; without a teacher, what is known."""
    if figures.subject is None:
        return "Nothing was measured: this run has no metrics yet."
    name = display_name(figures.subject)
    if figures.teacher is None:
        costs = [(figures.cost(figures.subject, "parameters"), "parameters"), (_rate(figures), "tokens per second")]
        known = [f"{compact(value)} {unit}" for value, unit in costs if value is not None]
        with_costs = f", with {' and '.join(known)}" if known else ""
        value = figures.of(figures.subject, "perplexity")
        what = f"'s perplexity on held-out answers is {compact(value)}" if value is not None else " was evaluated"
        return f"{name}{what}{with_costs}; there is no teacher to compare it with."
    owner = "the teacher" if figures.teacher == "teacher" else display_name(figures.teacher)
    agreement = figures.of(figures.subject, "agreement")
    kept = (
        f"Was not compared with {owner} token by token"
        if agreement is None
        else f"Agrees with {owner} on {percent(agreement)} of tokens"
    )
    better = [
        (HEADLINE_NAMES[comparison.model], comparison.what, 1 - 1 / (1 + comparison.change))
        for comparison in comparisons(figures)
        if comparison.model in CONTROLS and comparison.verdict == "worse"
    ]
    return with_better_models(headline_sentence(kept, figures.certain_speed(), figures.size_share()), better)


def comparisons(figures: LanguageFigures) -> list[TokenComparison]:
    """The subject compared with the teacher (perplexity), the control and all other models (perplexity and KL)."""
    found = []
    others = [name for name in (figures.teacher, *CONTROLS, *figures.models) if name in figures.models]
    for other in dict.fromkeys(others):
        for metric, what in COMPARED_METRICS.items():
            ratio = figures.ratio(figures.subject, other, metric)
            if other == figures.subject or ratio is None:
                continue
            interval = figures.interval(figures.subject, other, metric)
            found.append(
                TokenComparison(str(other), ratio - 1, verdict(ratio, interval), 0, 0, interval=interval, what=what)
            )
    return found


def claims(figures: LanguageFigures) -> list[Claim]:
    """Agreement, perplexity retention, speed and size; the last three with usual claims."""
    found = []
    agreement = figures.of(figures.subject, "agreement")
    if agreement is not None:
        kl = figures.of(figures.subject, "kl")
        note = f"KL {compact(kl)} nats per token" if kl is not None else ""
        found.append(Claim(percent(agreement), "of tokens the same as the teacher", "", "", note))
    own, teacher = (figures.of(model, "perplexity") for model in (figures.subject, figures.teacher))
    if own and teacher:
        kept, note = teacher / own, f"{compact(own)} compared with {compact(teacher)}"
        usual = "90–95 % kept"
        found.append(
            Claim(percent(kept), "of the perplexity kept", usual, compare_with_range(round(kept, 2), 0.90, 0.95), note)
        )
    return found + cost_claims(figures, _RATE, "tokens per second")


def quality(figures: LanguageFigures) -> list[str]:
    """Perplexity and ROUGE-L of every model, one line each, for the command line."""
    lines = []
    for metric, title in (("perplexity", "Perplexity"), ("rouge_l", "ROUGE-L")):
        known = [(m, value) for m in figures.models if (value := figures.of(m, metric)) is not None]
        if known:
            lines.append(f"{title}: {', '.join(f'{display_name(m)} {compact(value)}' for m, value in known)}.")
    return lines


def labels(figures: LanguageFigures) -> list[str]:
    """How much of the KL to the teacher the stored logits showed the student."""
    gap = mapping(figures.metrics.get("labels"))
    kept, mass, seen, full = (number(gap.get(key)) for key in ("kept", "mass", "kl_kept", "kl"))
    if kept is None or mass is None or seen is None or full is None:
        return []
    return [
        f"Labels: the largest {kept:.0f} logits hold {percent(mass)} of the teacher's probability at temperature"
        f" {compact(number(gap.get('temperature')))}, and show {compact(seen)} of a KL of {compact(full)} nats."
    ]


def cautions(figures: LanguageFigures) -> list[str]:
    """Limits of the results above."""
    found = []
    if figures.teacher is not None and "student" in figures.models and "control" not in figures.models:
        found.append("No control was trained (--control), so the effect of the teacher is not known.")
    own, teacher = (figures.of(model, "perplexity") for model in (figures.subject, figures.teacher))
    if own is not None and teacher is not None and own < teacher:
        found.append(
            f"The teacher's own perplexity on these answers is higher ({compact(teacher)}; the student's is"
            f" {compact(own)}): agreement with this teacher does not mean accuracy."
        )
    examples = figures.count("answers", "examples")
    if examples is not None and examples < FEW_EXAMPLES:
        found.append(f"Few held-out examples ({examples}): the intervals are wide, and may still be too narrow.")
    cut = figures.count("prompts", "max_new_tokens")
    asked = figures.count("prompts", "answered")
    if cut is not None and asked and any(number(figures.of(m, "rouge_l")) is not None for m in figures.models):
        found.append(f"ROUGE-L is from {asked} prompts, with greedy decoding and at most {cut} new tokens.")
    return found


def _rate(figures: LanguageFigures) -> float | None:
    return figures.cost(figures.subject, _RATE)
