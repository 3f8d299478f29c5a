"""Answers of the models from generations.json; values that are not text are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from potstill.reporting.values import mapping, number

ANSWER_ORDER = ("teacher", "student", "control", "control_start")
ANSWER_KINDS = ("best", "upper quartile", "median", "lower quartile", "worst")


def shown_answers(generations: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The examples with a kind, from the best to the worst.

    Each is ``{"kind", "prompt", "reference" (text or None), "answers": [(model, text, ROUGE-L or None)]}``.
    """
    found = generations.get("examples")
    examples = [mapping(one) for one in found] if isinstance(found, list) else []
    for example in sorted(
        examples,
        key=lambda one: ANSWER_KINDS.index(one["kind"]) if one.get("kind") in ANSWER_KINDS else len(ANSWER_KINDS),
    ):
        kind, prompt, answers = example.get("kind"), _text(example.get("prompt")), mapping(example.get("answers"))
        if not isinstance(kind, str) or prompt is None:
            continue
        rouge = mapping(example.get("rouge_l"))
        names = [
            *(name for name in ANSWER_ORDER if name in answers),
            *(name for name in answers if name not in ANSWER_ORDER),
        ]
        found_answers = [(n, text, number(rouge.get(n))) for n in names if (text := _text(answers[n])) is not None]
        if found_answers:
            yield {
                "kind": kind,
                "prompt": prompt,
                "reference": _text(example.get("reference")),
                "answers": found_answers,
            }


def _text(value: Any) -> str | None:
    """The text without half surrogate pairs, which UTF-8 cannot encode."""
    return value.strip().encode("utf-8", "replace").decode() if isinstance(value, str) else None
