"""The figure that picks a language model's best checkpoint: cross-entropy on a fixed sample of validation examples."""

from __future__ import annotations

import math

import torch

from potstill.errors import UserError
from potstill.evaluation.language.kept import kl_of, largest
from potstill.evaluation.language.metrics import PERPLEXITY
from potstill.evaluation.language.scoring import (
    BATCH_TOKENS,
    CROSS_ENTROPY,
    KL,
    HeldOut,
    Scorable,
    answer_of,
    batches,
    predicted,
    sample,
    sums_of,
)
from potstill.families.language.project import log_probabilities
from potstill.types import Logits, Tokens, TopLogits, chunks

KL_KEPT = "kl_kept"
_TEACHER, _MODEL = "teacher", "model"
_WORST = 100.0  # nats; beyond, the perplexity of a diverged model would overflow


class LanguageValidation:
    """Measures a language model on the same ``count`` examples again and again.

    Parameters
    ----------
    examples
        The validation part.
    count
        Examples per evaluation.
    teacher
        Also measures the distance from it. It answers once; its states are kept, 4 bytes × width per answer token.
    kept
        Keep its largest so many logits instead, and nothing else of the teacher: it may leave the memory then.
    most
        Tokens per batch, padding included.

    Raises
    ------
    UserError
        Where there is no example.
    """

    def __init__(
        self,
        examples: HeldOut,
        count: int,
        teacher: Scorable | None = None,
        kept: int | None = None,
        most: int = BATCH_TOKENS,
    ) -> None:
        if not len(examples):
            raise UserError(
                "data: the validation part holds no example, so no checkpoint can be picked; give more data or another"
                " data.split."
            )
        ids = sample(len(examples), count)
        self.count, self.teacher = len(ids), None if kept else teacher
        self.batches = [examples.__getitems__(group) for group in batches(examples.lengths, ids, most)]
        self._taught: list[Logits] = []
        self._kept = [_largest(teacher, tokens, kept) for tokens in self.batches] if teacher and kept else []

    def __len__(self) -> int:
        return self.count

    def __call__(self, model: Scorable) -> dict[str, float]:
        """``{"loss", "perplexity"}`` and, with a teacher, ``kl`` or ``kl_kept`` of a model; lower is better.

        ``loss`` is the cross-entropy in nats per answer token, ``kl`` is KL(teacher ‖ model) at T = 1, per token too;
        ``kl_kept`` the same over the kept tokens and all others as one.
        """
        width = model.vocabulary
        if self.teacher is not None:
            width = min(width, self.teacher.vocabulary)
            self._taught = self._taught or [answer_of(self.teacher, tokens) for tokens in self.batches]
        totals = {CROSS_ENTROPY: 0.0, KL: 0.0, KL_KEPT: 0.0}
        for i, tokens in enumerate(self.batches):
            answers = {_MODEL: answer_of(model, tokens)}
            if self.teacher is not None:
                answers[_TEACHER] = self._taught[i]
            found = sums_of(answers, tokens, None if self.teacher is None else _TEACHER, width)[_MODEL]
            for figure in totals.keys() & found.keys():
                totals[figure] += float(found[figure].sum())
            if self._kept:
                totals[KL_KEPT] += _distance(answers[_MODEL], self._kept[i], tokens)
        count = sum(int(predicted(tokens).sum()) for tokens in self.batches)
        loss = totals[CROSS_ENTROPY] / count
        figures = {"loss": loss, PERPLEXITY: math.exp(min(loss, _WORST))}
        if self.teacher is not None:
            figures[KL] = totals[KL] / count
        if self._kept:
            figures[KL_KEPT] = totals[KL_KEPT] / count
        return figures


@torch.no_grad()
def _largest(teacher: Scorable, tokens: Tokens, kept: int) -> list[TopLogits]:
    """A list by chunks of the batch's answer tokens."""
    answer = answer_of(teacher, tokens)
    return [largest(log_probabilities(answer, part), kept) for part in chunks(len(answer), teacher.vocabulary)]


@torch.no_grad()
def _distance(answer: Logits, taught: list[TopLogits], tokens: Tokens) -> float:
    """The sum over the batch's answer tokens."""
    targets, first, total = tokens.input_ids[:, 1:][predicted(tokens)], 0, 0.0
    for top in taught:
        part = slice(first, first + len(top))
        total += float(kl_of(log_probabilities(answer, part), top, targets[part]).sum())
        first += len(top)
    return total
