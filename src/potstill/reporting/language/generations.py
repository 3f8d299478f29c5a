"""Answers side by side, as generations.json holds them; what is no text is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from potstill.reporting.values import mapping, number

ORDER = ("teacher", "student", "control")
KINDS = ("best", "upper quartile", "median", "lower quartile", "worst")


def answered(generations: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The examples that have a kind, from the best to the worst.

    Each ``{"kind", "prompt", "reference" (text or None), "answers": [(model, text, ROUGE-L or None)]}``.
    """
    found = generations.get("examples")
    examples = [mapping(one) for one in found] if isinstance(found, list) else []
    for example in sorted(
        examples, key=lambda one: KINDS.index(one["kind"]) if one.get("kind") in KINDS else len(KINDS)
    ):
        kind, prompt, answers = example.get("kind"), _text(example.get("prompt")), mapping(example.get("answers"))
        if not isinstance(kind, str) or prompt is None:
            continue
        rouge = mapping(example.get("rouge_l"))
        names = [*(name for name in ORDER if name in answers), *(name for name in answers if name not in ORDER)]
        told = [(n, text, number(rouge.get(n))) for n in names if (text := _text(answers[n])) is not None]
        if told:
            yield {"kind": kind, "prompt": prompt, "reference": _text(example.get("reference")), "answers": told}


def _text(value: Any) -> str | None:
    """The text as a page can hold it: half of a surrogate pair cannot be written."""
    return value.strip().encode("utf-8", "replace").decode() if isinstance(value, str) else None
