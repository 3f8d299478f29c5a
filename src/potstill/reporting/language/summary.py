"""A language run in plain words: one sentence first, then what it was held against, then what to be careful about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from potstill.reporting.figures import compact, display_name
from potstill.reporting.language.figures import FEW, LanguageFigures
from potstill.reporting.phrases import joined, percent, place, verdict
from potstill.reporting.summary import HELPED, Claim, Comparison, beside_the_usual, cost_claims
from potstill.reporting.values import mapping, number

COMPARED = {"perplexity": "perplexity", "kl": "KL to the teacher"}
_RATE = "tokens_per_second_b1"


@dataclass(frozen=True)
class TokenComparison(Comparison):
    """The student's perplexity or its distance from the teacher beside another model's."""

    what: str = COMPARED["perplexity"]

    @property
    def meaning(self) -> str:
        """What follows, in a few words."""
        if self.what == COMPARED["kl"]:
            return {"better": "closer to the teacher", "worse": "further from the teacher"}.get(
                self.verdict, "as far from the teacher"
            )
        if self.model == "control":
            return HELPED[self.verdict]
        return "level" if self.verdict == "even" else self.verdict


def summary_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What a language run came to, one sentence each, most important first; any part may be absent."""
    figures = LanguageFigures(metrics)
    lines = [headline(figures), *(comparison.sentence for comparison in comparisons(figures))]
    return lines + quality(figures) + labels(figures) + beside_the_usual(claims(figures)) + cautions(figures)


def headline(figures: LanguageFigures) -> str:
    """The one sentence: agreement, speed, size; or what is known where there is no teacher."""
    if figures.subject is None:
        return "Nothing was measured: this run holds no figures yet."
    name = display_name(figures.subject)
    if figures.teacher is None:
        costs = [(figures.cost(figures.subject, "parameters"), "parameters"), (_rate(figures), "tokens a second")]
        known = [f"{compact(value)} {unit}" for value, unit in costs if value is not None]
        with_costs = f", with {' and '.join(known)}" if known else ""
        value = figures.of(figures.subject, "perplexity")
        what = f"'s perplexity on held-out answers is {compact(value)}" if value is not None else " was measured"
        return f"{name}{what}{with_costs}; no teacher stands beside it."
    owner = "the teacher" if figures.teacher == "teacher" else display_name(figures.teacher)
    agreement = figures.of(figures.subject, "agreement")
    kept = (
        f"Was not compared with {owner} token by token"
        if agreement is None
        else f"Agrees with {owner} on {percent(agreement)} of tokens"
    )
    return joined(kept, figures.times_faster(), figures.size_share())


def comparisons(figures: LanguageFigures) -> list[TokenComparison]:
    """The subject against the teacher (perplexity), the control and every other model (perplexity and KL)."""
    found = []
    others = [name for name in (figures.teacher, "control", *figures.models) if name in figures.models]
    for other in dict.fromkeys(others):
        for metric, what in COMPARED.items():
            ratio = figures.ratio(figures.subject, other, metric)
            if other == figures.subject or ratio is None:
                continue
            interval = figures.interval(figures.subject, other, metric)
            found.append(
                TokenComparison(str(other), ratio - 1, verdict(ratio, interval), 0, 0, interval=interval, what=what)
            )
    return found


def claims(figures: LanguageFigures) -> list[Claim]:
    """Agreement, perplexity kept, speed and size; beside the last three what is usually claimed."""
    found = []
    agreement = figures.of(figures.subject, "agreement")
    if agreement is not None:
        kl = figures.of(figures.subject, "kl")
        note = f"KL {compact(kl)} nats per token" if kl is not None else ""
        found.append(Claim(percent(agreement), "of tokens as the teacher", "", "", note))
    own, taught = (figures.of(model, "perplexity") for model in (figures.subject, figures.teacher))
    if own and taught:
        kept, note = taught / own, f"{compact(own)} against {compact(taught)}"
        usual = "90–95 % kept"
        found.append(Claim(percent(kept), "of the perplexity kept", usual, place(round(kept, 2), 0.90, 0.95), note))
    return found + cost_claims(figures, _RATE, "tokens a second")


def quality(figures: LanguageFigures) -> list[str]:
    """Perplexity and ROUGE-L of every model, a line each; for the command line, where there is no table."""
    lines = []
    for metric, title in (("perplexity", "Perplexity"), ("rouge_l", "ROUGE-L")):
        known = [(m, value) for m in figures.models if (value := figures.of(m, metric)) is not None]
        if known:
            lines.append(f"{title}: {', '.join(f'{display_name(m)} {compact(value)}' for m, value in known)}.")
    return lines


def labels(figures: LanguageFigures) -> list[str]:
    """What the stored logits that the student learned from could show it of its distance from the teacher."""
    told = mapping(figures.metrics.get("labels"))
    kept, mass, seen, full = (number(told.get(key)) for key in ("kept", "mass", "kl_kept", "kl"))
    if kept is None or mass is None or seen is None or full is None:
        return []
    return [
        f"Labels: the largest {kept:.0f} logits hold {percent(mass)} of the teacher's probability at temperature"
        f" {compact(number(told.get('temperature')))}, and see {compact(seen)} of a KL of {compact(full)} nats."
    ]


def cautions(figures: LanguageFigures) -> list[str]:
    """What a careful reader should hold against the figures above."""
    found = []
    if figures.teacher is not None and "student" in figures.models and "control" not in figures.models:
        found.append("No control was trained (--control), so what the teacher added is not known.")
    own, taught = (figures.of(model, "perplexity") for model in (figures.subject, figures.teacher))
    if own is not None and taught is not None and own < taught:
        found.append(
            f"The teacher's own perplexity on these answers is higher ({compact(taught)} against {compact(own)}): to"
            " agree with it is not to be right."
        )
    examples = figures.count("answers", "examples")
    if examples is not None and examples < FEW:
        found.append(f"Few held-out examples ({examples}): the intervals are wide, and may be too narrow still.")
    cut = figures.count("prompts", "max_new_tokens")
    asked = figures.count("prompts", "answered")
    if cut is not None and asked and any(number(figures.of(m, "rouge_l")) is not None for m in figures.models):
        found.append(f"ROUGE-L is of {asked} prompts, answered greedily and cut at {cut} tokens.")
    return found


def _rate(figures: LanguageFigures) -> float | None:
    return figures.cost(figures.subject, _RATE)
