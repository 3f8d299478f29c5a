"""Greedy answers of the models to held-out prompts, with the reference answer and ROUGE-L of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from potstill.evaluation.bootstrap import Interval, interval_of, samples_of_ratio
from potstill.evaluation.language.metrics import example_weights
from potstill.evaluation.language.rouge import rouge_l
from potstill.evaluation.language.scoring import HeldOut
from potstill.families.language.model import LanguageModel

PROMPT_COUNT = 32
MAX_NEW_TOKENS = 128
PROMPTS_PER_BATCH = 8
RANKS_SHOWN = {0.0: "worst", 0.25: "lower quartile", 0.5: "median", 0.75: "upper quartile", 1.0: "best"}
"""The examples that the report shows: quantiles of the ranking by the subject's ROUGE-L."""


@dataclass
class Generations:
    """Answers of every model to the same prompts.

    Attributes
    ----------
    ids
        ``[n]`` ids of the examples.
    prompts, references
        n texts each: the prompt as the models read it, and the reference answer.
    answers
        n texts per model.
    rouge
        ``[n]`` ROUGE-L F1 per model.
    max_new_tokens
        The length at which answers were cut.
    """

    ids: np.ndarray
    prompts: list[str]
    references: list[str]
    max_new_tokens: int
    answers: dict[str, list[str]] = field(default_factory=dict)
    rouge: dict[str, np.ndarray] = field(default_factory=dict)

    def intervals(self) -> dict[str, Interval]:
        """Mean ROUGE-L per model, with its interval over prompts; empty where there is no prompt."""
        if not len(self.ids):
            return {}
        weights, ones = example_weights(len(self.ids)), np.ones(len(self.ids))
        return {name: interval_of(*samples_of_ratio(values, ones, weights)) for name, values in self.rouge.items()}

    def ratio(self, first: str, second: str) -> Interval | None:
        """The first model's mean ROUGE-L divided by the second's, on paired samples; None where the second's is 0."""
        if not len(self.ids) or not self.rouge[second].any():
            return None
        weights = example_weights(len(self.ids))
        return interval_of(*samples_of_ratio(self.rouge[first], self.rouge[second], weights))

    def to_dict(self, subject: str) -> dict[str, Any]:
        """The content of generations.json: all prompts. Those that the report shows have a ``kind``."""
        order = np.argsort(self.rouge[subject], kind="stable") if len(self.ids) else self.ids
        kinds = {int(order[round(share * (len(order) - 1))]): kind for share, kind in RANKS_SHOWN.items() if len(order)}
        return {
            "subject": subject,
            "max_new_tokens": self.max_new_tokens,
            "examples": [
                {
                    "id": int(self.ids[i]),
                    "kind": kinds.get(i),
                    "prompt": self.prompts[i],
                    "reference": self.references[i],
                    "answers": {name: texts[i] for name, texts in self.answers.items()},
                    "rouge_l": {name: float(values[i]) for name, values in self.rouge.items()},
                }
                for i in range(len(self.ids))
            ],
        }


def generate_answers(
    models: Mapping[str, LanguageModel],
    examples: HeldOut,
    count: int = PROMPT_COUNT,
    max_new_tokens: int = MAX_NEW_TOKENS,
    advance: Callable[[int], None] | None = None,
) -> Generations:
    """Generate answers of all models to the same prompts, by greedy decoding.

    Parameters
    ----------
    models
        By name, with the same tokenizer.
    examples
        The source of the prompts: a fixed random sample of those that leave room for the answer.
    count
        The number of prompts; fewer where fewer fit.
    max_new_tokens
        The maximum length of an answer, limited to half of the models' maximum length.
    advance
        Called with the number of answers done so far, over all models.
    """
    room = min(model.max_length for model in models.values())
    new = min(max_new_tokens, room // 2)
    ids, sizes = _fitting(next(iter(models.values())).tokenizer, examples, count, room - new)
    found = Generations(ids, examples.prompts(ids), examples.answers(ids), new)
    ranked = np.argsort(sizes, kind="stable")  # by length, so that batches need little padding
    done = 0
    for name, model in models.items():
        texts = [""] * len(ids)
        for first in range(0, len(ids), PROMPTS_PER_BATCH):
            group = ranked[first : first + PROMPTS_PER_BATCH]
            for i, text in zip(group, model.generate([found.prompts[i] for i in group], new), strict=True):
                texts[i] = text
            done += len(group)
            if advance is not None:
                advance(done)
        found.answers[name] = texts
        found.rouge[name] = rouge_l(found.references, texts)
    return found


def _fitting(tokenizer: Any, examples: HeldOut, count: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids ``[n]``, ascending, of up to ``count`` prompts of 1 to ``most`` tokens, and their lengths in tokens."""
    sizes: dict[int, int] = {}
    for example in np.random.default_rng(0).permutation(len(examples)):
        if len(sizes) == count:
            break
        text = examples.prompts([int(example)])[0]
        size = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        if 1 <= size <= most:
            sizes[int(example)] = size
    ids = np.array(sorted(sizes), dtype=np.int64)
    return ids, np.array([sizes[int(example)] for example in ids], dtype=np.int64)
