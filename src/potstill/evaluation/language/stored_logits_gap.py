"""How much the K largest logits of a teacher show: their probability mass, and the part of the KL that they cover.

All other tokens count as one outcome, so the divergence is at most the full one. The gap is the divergence within those
other tokens.

Shapes: n answer tokens of a chunk, K kept logits, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from potstill.evaluation.language.scoring import HeldOut, Scorable, answer_of, batches, predicted, sample
from potstill.families.language.project import log_probabilities
from potstill.objectives.kl import Kl
from potstill.objectives.tokens import TokenInputs
from potstill.types import TopLogits, chunks, log_sum_exp_of_others

EXAMPLES_FOR_GAP = 100


def largest(log_probability: Tensor, kept: int, temperature: float = 1.0) -> TopLogits:
    """The part of log-probabilities ``[n, V]`` that a label store keeps."""
    top = log_probability.topk(min(kept, log_probability.shape[1]), dim=1)
    scaled = log_probability / temperature
    total = scaled.logsumexp(dim=1)
    others = log_sum_exp_of_others(scaled, top.indices) - total
    return TopLogits(top.indices, top.values, total, temperature, others)


def kl_of(own: Tensor, teacher: Tensor | TopLogits, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher ‖ student) in nats ``[n]``, for the student's log-probabilities ``[n, V]``."""
    return Kl(temperature).per_token(TokenInputs(own, teacher, targets)) / temperature**2


@torch.no_grad()
def gap_of_labels(
    teacher: Scorable, student: Scorable, examples: HeldOut, kept: int, temperature: float, most: int = EXAMPLES_FOR_GAP
) -> dict[str, Any]:
    """How much of the KL to the teacher the stored logits show, on held-out answers.

    Returns
    -------
    dict
        ``kept``, ``temperature``; means per answer token at that temperature: ``mass`` (the teacher's probability of
        the kept tokens), ``kl`` (nats, over all V), ``kl_kept`` (over the kept tokens and all others as one outcome),
        ``gap`` (the difference).
    """
    width = min(teacher.vocabulary, student.vocabulary)
    mass, full, seen, count = 0.0, 0.0, 0.0, 0
    for group in batches(examples.lengths, sample(len(examples), most)):
        tokens = examples.batch(group)
        answers = [answer_of(model, tokens) for model in (teacher, student)]
        targets = tokens.input_ids[:, 1:][predicted(tokens)]
        for part in chunks(len(targets), width):
            full_teacher, own = (log_probabilities(answer, part, width) for answer in answers)
            top = largest(full_teacher, kept, temperature)
            mass += float((top.logits / temperature - top.log_sum_exp[:, None]).exp().sum())
            full += float(kl_of(own, full_teacher, targets[part], temperature).sum())
            seen += float(kl_of(own, top, targets[part], temperature).sum())
        count += len(targets)
    figures = {"mass": mass / count, "kl": full / count, "kl_kept": seen / count, "gap": (full - seen) / count}
    return {"kept": kept, "temperature": temperature, **figures}
