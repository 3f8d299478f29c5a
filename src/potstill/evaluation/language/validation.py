"""The metric that selects a language model's best checkpoint: cross-entropy on fixed validation examples."""

from __future__ import annotations

import math

import torch

from potstill.errors import UserError
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
from potstill.evaluation.language.stored_logits_gap import kl_of, largest
from potstill.families.language.project import log_probabilities
from potstill.types import Logits, Tokens, TopLogits, chunks

KL_KEPT = "kl_kept"
_TEACHER, _MODEL = "teacher", "model"
_LARGEST_LOSS = 100.0  # nats; above it the perplexity of a diverged model would overflow


class LanguageValidation:
    """Evaluates language models on the same ``count`` examples.

    Parameters
    ----------
    examples
        The validation examples.
    count
        Examples per evaluation.
    teacher
        If given, KL to it is measured, too. It runs once; its hidden states are kept, 4 bytes × width per answer token.
    kept
        Keep this number of the teacher's largest logits instead of its hidden states; the teacher can then be unloaded.
    most
        Tokens per batch, with padding.

    Raises
    ------
    UserError
        When there is no example.
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
                "data: the validation part has no example, so the best checkpoint cannot be selected; give more data or"
                " another data.split.",
                key="evaluation.no_validation_example",
            )
        ids = sample(len(examples), count)
        self.count, self.teacher = len(ids), None if kept else teacher
        self.batches = [examples.batch(group) for group in batches(examples.lengths, ids, most)]
        self._teacher_logits: list[Logits] = []
        self._teacher_top = [_largest(teacher, tokens, kept) for tokens in self.batches] if teacher and kept else []

    def __len__(self) -> int:
        return self.count

    def prepare(self) -> None:
        """Run the teacher, if that is still to be done."""
        if self.teacher is not None:
            self._teacher_logits = self._teacher_logits or [answer_of(self.teacher, tokens) for tokens in self.batches]

    def __call__(self, model: Scorable) -> dict[str, float]:
        """``{"loss", "perplexity"}`` and, with a teacher, ``kl`` or ``kl_kept`` of a model; lower is better.

        ``loss`` is the cross-entropy in nats per answer token, ``kl`` is KL(teacher ‖ model) at T = 1 per token;
        ``kl_kept`` is the same over the kept tokens, with all others as one outcome.
        """
        width = model.vocabulary
        if self.teacher is not None:
            width = min(width, self.teacher.vocabulary)
            self.prepare()
        totals = {CROSS_ENTROPY: 0.0, KL: 0.0, KL_KEPT: 0.0}
        for i, tokens in enumerate(self.batches):
            answers = {_MODEL: answer_of(model, tokens)}
            if self.teacher is not None:
                answers[_TEACHER] = self._teacher_logits[i]
            found = sums_of(answers, tokens, None if self.teacher is None else _TEACHER, width)[_MODEL]
            for figure in totals.keys() & found.keys():
                totals[figure] += float(found[figure].sum())
            if self._teacher_top:
                totals[KL_KEPT] += _top_kl(answers[_MODEL], self._teacher_top[i], tokens)
        count = sum(int(predicted(tokens).sum()) for tokens in self.batches)
        loss = totals[CROSS_ENTROPY] / count
        figures = {"loss": loss, PERPLEXITY: math.exp(min(loss, _LARGEST_LOSS))}
        if self.teacher is not None:
            figures[KL] = totals[KL] / count
        if self._teacher_top:
            figures[KL_KEPT] = totals[KL_KEPT] / count
        return figures


@torch.no_grad()
def _largest(teacher: Scorable, tokens: Tokens, kept: int) -> list[TopLogits]:
    """The teacher's largest logits, by chunk of the batch's answer tokens."""
    answer = answer_of(teacher, tokens)
    return [largest(log_probabilities(answer, part), kept) for part in chunks(len(answer), teacher.vocabulary)]


@torch.no_grad()
def _top_kl(answer: Logits, teacher: list[TopLogits], tokens: Tokens) -> float:
    """KL to the teacher's largest logits, summed over the batch's answer tokens."""
    targets, first, total = tokens.input_ids[:, 1:][predicted(tokens)], 0, 0.0
    for top in teacher:
        part = slice(first, first + len(top))
        total += float(kl_of(log_probabilities(answer, part), top, targets[part]).sum())
        first += len(top)
    return total
