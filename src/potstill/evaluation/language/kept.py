"""What a teacher's largest K logits leave out: their mass, and the distance between teacher and student that they see.

With all other tokens as one outcome the divergence can only be smaller than the full one: what differs is how teacher
and student spread the rest.

Shapes: n answer tokens of a chunk, K kept, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from potstill.evaluation.language.scoring import HeldOut, Scorable, answer_of, batches, predicted, sample
from potstill.families.language.project import log_probabilities
from potstill.objectives.tokens import Kl, Places
from potstill.types import TopLogits, chunks

EXAMPLES = 100


def largest(log_probability: Tensor, kept: int, temperature: float = 1.0) -> TopLogits:
    """Of log-probabilities ``[n, V]`` what a label store keeps of them."""
    top = log_probability.topk(min(kept, log_probability.shape[1]), dim=1)
    return TopLogits(top.indices, top.values, (log_probability / temperature).logsumexp(dim=1), temperature)


def kl_of(own: Tensor, taught: Tensor | TopLogits, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher ‖ student) in nats ``[n]``, of the student's log-probabilities ``[n, V]``."""
    return Kl(temperature).per_token(Places(own, taught, targets)) / temperature**2


@torch.no_grad()
def gap_of_labels(
    teacher: Scorable, student: Scorable, examples: HeldOut, kept: int, temperature: float, most: int = EXAMPLES
) -> dict[str, Any]:
    """How much of the distance to the teacher a student learned from stored logits could see, on held-out answers.

    Returns
    -------
    dict
        ``kept``, ``temperature``; means per answer token at that temperature: ``mass`` (of the teacher's probability in
        the kept tokens), ``kl`` (nats, over all V), ``kl_kept`` (over the kept ones and the rest as one), ``gap``
        (their difference).
    """
    width = min(teacher.vocabulary, student.vocabulary)
    mass, full, seen, count = 0.0, 0.0, 0.0, 0
    for group in batches(examples.lengths, sample(len(examples), most)):
        tokens = examples.__getitems__(group)
        answers = [answer_of(model, tokens) for model in (teacher, student)]
        targets = tokens.input_ids[:, 1:][predicted(tokens)]
        for part in chunks(len(targets), width):
            taught, own = (log_probabilities(answer, part, width) for answer in answers)
            top = largest(taught, kept, temperature)
            mass += float((top.logits / temperature - top.log_sum_exp[:, None]).exp().sum())
            full += float(kl_of(own, taught, targets[part], temperature).sum())
            seen += float(kl_of(own, top, targets[part], temperature).sum())
        count += len(targets)
    figures = {"mass": mass / count, "kl": full / count, "kl_kept": seen / count, "gap": (full - seen) / count}
    return {"kept": kept, "temperature": temperature, **figures}
