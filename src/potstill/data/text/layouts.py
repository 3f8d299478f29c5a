"""The known layouts of records, and their detection by keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

QUESTION_ANSWER_KEYS = (("question", "answer"), ("prompt", "completion"), ("prompt", "response"))

KNOWN_LAYOUTS = (
    "messages ([{role, content}]), sharegpt (conversations), alpaca (instruction, output), "
    "question_answer (question and answer, prompt and completion or response) or text"
)

_FITS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "messages": lambda fields: "messages" in fields,
    "sharegpt": lambda fields: "conversations" in fields,
    "alpaca": lambda fields: "instruction" in fields and "output" in fields,
    "question_answer": lambda fields: any(q in fields and a in fields for q, a in QUESTION_ANSWER_KEYS),
    "text": lambda fields: "text" in fields,
}


def detect(records: Sequence[dict[str, Any]]) -> str | None:
    """The layout whose keys most records have; None if no record has the keys of a known layout."""
    counts = {name: sum(fits(fields) for fields in records) for name, fits in _FITS.items()}
    best = max(counts, key=lambda name: counts[name])  # the first one in a tie: more specific keys come first
    return best if counts[best] else None
