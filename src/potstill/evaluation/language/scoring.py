"""Passes over held-out answers: cross-entropy, KL and agreement of every model, summed over the tokens of an example.

The logits of a batch are projected chunk by chunk, the teacher's once for all models, so that no tensor of the size
tokens × vocabulary is in memory.

Shapes: n examples, B examples of a batch, T tokens, N answer tokens of a batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from potstill.families.base import evaluating
from potstill.families.language.project import log_probabilities
from potstill.types import Logits, Output, Request, Tokens, chunks
from potstill.types.exact import in_float64

CROSS_ENTROPY, KL, AGREEMENT = "cross_entropy", "kl", "agreement"
BATCH_TOKENS = 4096  # per batch, with padding


class Scorable(Protocol):
    """The interface of a language model that can be scored."""

    @property
    def module(self) -> torch.nn.Module:
        """What holds the weights."""
        ...

    @property
    def vocabulary(self) -> int:
        """Width of the output layer, V."""
        ...

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        ...

    def forward(self, tokens: Tokens, request: Request) -> Output:
        """The Logits of the answer tokens."""
        ...


class HeldOut(Protocol):
    """Examples by id: see ``potstill.data.text.Examples``."""

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` tokens of each example."""
        ...

    def __len__(self) -> int: ...

    def batch(self, ids: Any) -> Tokens:
        """Examples as one padded batch."""
        ...

    def prompts(self, ids: Any) -> list[str]:
        """The text before the first answer of each."""
        ...

    def answers(self, ids: Any) -> list[str]:
        """The first answer of each."""
        ...


@dataclass
class TokenScores:
    """The scores of one model on n examples.

    Attributes
    ----------
    tokens
        ``[n]`` answer tokens of each example.
    sums
        The sum of each metric over an example's answer tokens, ``[n]`` float64: ``cross_entropy`` (nats) and, with a
        teacher, ``kl`` (KL(teacher ‖ model) at T = 1, nats) and ``agreement`` (tokens where both have the same argmax).
    """

    tokens: np.ndarray
    sums: dict[str, np.ndarray]


def batches(lengths: np.ndarray, ids: np.ndarray, most: int = BATCH_TOKENS) -> list[np.ndarray]:
    """Groups of ``ids`` of similar length, of at most ``most`` padded tokens each; a longer example has its own group.

    The longest come first, so that a lack of memory shows at the start.
    """
    ranked = ids[np.argsort(-lengths[ids], kind="stable")]
    groups, first = [], 0
    while first < len(ranked):
        size = max(1, most // max(1, int(lengths[ranked[first]])))
        groups.append(ranked[first : first + size])
        first += size
    return groups


def score_examples(
    models: Mapping[str, Scorable],
    examples: HeldOut,
    ids: np.ndarray,
    reference: str | None = None,
    advance: Callable[[int], None] | None = None,
    most: int = BATCH_TOKENS,
) -> dict[str, TokenScores]:
    """Score all models on the same examples, batch by batch.

    Parameters
    ----------
    models
        By name, with the same tokenizer. If their output layers differ in width, the common tokens are compared.
    examples, ids
        The data set, and the ids ``[n]`` of the examples to score.
    reference
        The teacher's name; with None there is no ``kl`` and ``agreement``.
    advance
        Called with the number of examples done so far.
    most
        Tokens per batch.
    """
    width = min(model.vocabulary for model in models.values())
    place = {int(example): i for i, example in enumerate(ids)}
    counts = np.zeros(len(ids))
    scores = {name: TokenScores(counts, {}) for name in models}
    done = 0
    for group in batches(examples.lengths, ids, most):
        tokens = examples.batch(group)
        answers = {name: answer_of(model, tokens) for name, model in models.items()}
        rows = [place[int(example)] for example in group]
        counts[rows] = predicted(tokens).sum(dim=1).numpy()
        for name, sums in sums_of(answers, tokens, reference, width).items():
            for figure, values in sums.items():
                scores[name].sums.setdefault(figure, np.zeros(len(ids)))[rows] = values.cpu().numpy()
        done += len(group)
        if advance is not None:
            advance(done)
    return scores


@torch.no_grad()
def answer_of(model: Scorable, tokens: Tokens) -> Logits:
    """The model's Logits at the answer tokens, in evaluation mode."""
    with evaluating(model.module):
        logits = model.forward(tokens.to(model.device), Request()).logits
    assert isinstance(logits, Logits)
    return logits


def predicted(tokens: Tokens) -> Tensor:
    """``[B, T − 1]`` bool: which of the tokens from the second on are answers; the first token is not predicted."""
    return tokens.answer[:, 1:]


@torch.no_grad()
def sums_of(
    answers: Mapping[str, Logits], tokens: Tokens, reference: str | None, width: int
) -> dict[str, dict[str, Tensor]]:
    """Sums over each example's answer tokens by model and metric, ``[B]`` float64."""
    among = predicted(tokens)
    targets, row = tokens.input_ids[:, 1:][among], among.nonzero()[:, 0]
    sums: dict[str, dict[str, Tensor]] = {name: {} for name in answers}
    for part in chunks(len(targets), width):
        teacher = log_probabilities(answers[reference], part, width) if reference is not None else None
        for name, answer in answers.items():
            own = teacher if teacher is not None and name == reference else log_probabilities(answer, part, width)
            for figure, values in _per_token(own, teacher, targets[part]).items():
                exact = in_float64(values)
                whole = sums[name].setdefault(figure, exact.new_zeros(len(tokens)))
                whole.index_add_(0, row[part].to(exact.device), exact)
    return sums


def _per_token(own: Tensor, teacher: Tensor | None, targets: Tensor) -> dict[str, Tensor]:
    """Each metric at n tokens, from log-probabilities ``[n, V]``."""
    found = {CROSS_ENTROPY: -own.gather(1, targets.to(own.device)[:, None])[:, 0]}
    if teacher is not None:
        teacher = teacher.to(own.device)
        found[KL] = (teacher.exp() * (teacher - own)).sum(dim=1).clamp(min=0)  # rounding can make it negative
        found[AGREEMENT] = own.argmax(dim=1) == teacher.argmax(dim=1)
    return found


def sample(count: int, most: int) -> np.ndarray:
    """Ids of at most ``most`` of ``count`` examples, ascending; the sample is always the same."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def longest(examples: HeldOut, ids: Sequence[int] | np.ndarray) -> int:
    """The number of tokens of the longest of some examples."""
    return int(examples.lengths[np.asarray(ids)].max(initial=0))
