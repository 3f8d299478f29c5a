"""The layouts of records that are known, told by their keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

PAIRS = (("question", "answer"), ("prompt", "completion"), ("prompt", "response"))

KNOWN = (
    "messages ([{role, content}]), sharegpt (conversations), alpaca (instruction, output), "
    "question_answer (question and answer, prompt and completion or response) or text"
)

_FITS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "messages": lambda fields: "messages" in fields,
    "sharegpt": lambda fields: "conversations" in fields,
    "alpaca": lambda fields: "instruction" in fields and "output" in fields,
    "question_answer": lambda fields: any(q in fields and a in fields for q, a in PAIRS),
    "text": lambda fields: "text" in fields,
}


def detect(records: Sequence[dict[str, Any]]) -> str | None:
    """The layout whose keys most of the records have; None where none has any."""
    counts = {name: sum(fits(fields) for fields in records) for name, fits in _FITS.items()}
    best = max(counts, key=lambda name: counts[name])  # of equals the first: the more telling keys stand first
    return best if counts[best] else None
