"""TRL's GKD on language models, on the same batches as our own engine's.

Shapes: B examples, T tokens, P tokens of the longest prompt, N of the longest new answer.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import GenerationConfig
from trl.experimental.gkd import GKDConfig, GKDTrainer

from potstill.families.base import Model, evaluating
from potstill.families.language.model import PLAIN
from potstill.training.gkd.bare import bare
from potstill.training.run_trainer import RunTrainer, TrainerHooks
from potstill.types import Tokens

IGNORED = -100  # label of a token that the loss is not about


class LanguageGKDTrainer(RunTrainer, GKDTrainer):
    """GKD on a student and a teacher of one tokenizer.

    Parameters
    ----------
    student, teacher
        The student is trained in place.
    args
        TRL's; ``lmbda`` is drawn batch by batch.
    dataset
        Gives a batch of Tokens for a list of ids (``__getitems__``).
    watch
        How the run follows it.
    """

    loss_is_scaled_for_ga = False  # a mean over the batch's answer tokens, to be divided where several make a step

    def __init__(
        self, student: Model, teacher: Model, args: GKDConfig, dataset: Any, watch: TrainerHooks, callbacks: list[Any]
    ):
        self.follow(watch, dataset)
        learner: Any = student
        master: Any = teacher
        cached = learner.module.config.use_cache  # transformers turns it off, and would save it so
        self.room = min(learner.max_length, master.max_length)
        super().__init__(
            model=student.module,
            teacher_model=teacher.module,
            args=args,
            data_collator=lambda rows: self._inputs(dataset.__getitems__([row["example"] for row in rows])),
            # TRL takes none but data sets of its own kind: the ids alone are one
            train_dataset=Dataset.from_dict({"example": range(len(dataset))}),
            processing_class=learner.tokenizer,
            callbacks=callbacks,
        )
        bare(student.module)  # of TRL's pass, made for a loss that GKD does not take
        learner.module.config.use_cache = cached
        self.generation_config.eos_token_id = learner.ends or None
        for key, value in PLAIN.items():  # not the teacher's own taste, where it writes
            setattr(self.generation_config, key, value)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's divergence, averaged over the answer tokens of the batch."""
        loss: Any = super().compute_loss(model, inputs)
        self.note(loss, {"gkd": loss}, inputs["batch"])
        return loss

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's training; both models' passes are their own again afterwards."""
        try:
            return super().train(*args, **kwargs)
        finally:
            bare(self.model)
            bare(self.teacher_model)

    @staticmethod
    def generalized_jsd_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Any = None, **options: Any) -> Any:
        """TRL's mean over the answer tokens, made of these alone; TRL makes a dozen whole tensors and masks then."""
        answers = labels != IGNORED
        return GKDTrainer.generalized_jsd_loss(student_logits[answers], teacher_logits[answers], **options)

    @staticmethod
    def generate_on_policy_outputs(
        model: nn.Module, inputs: dict[str, Any], generation_config: GenerationConfig
    ) -> tuple[Tensor, Tensor, Tensor]:
        """TRL's answers to the prompts, ``[B, P + N]``, within the room that examples have, padded on the right.

        On the left, as they are generated, the trained pass would count the padding into a token's position.
        """
        room = inputs["room"] - inputs["prompts"].shape[1]
        config = copy.copy(generation_config)
        config.max_new_tokens = min(room, generation_config.max_new_tokens or room)
        with evaluating(model):
            tokens, mask, labels = GKDTrainer.generate_on_policy_outputs(model, inputs, config)
        order = mask.argsort(dim=1, descending=True, stable=True)
        return tokens.gather(1, order), mask.gather(1, order), labels.gather(1, order)

    def _inputs(self, batch: Tokens) -> dict[str, Any]:
        """A batch under the names that GKD reads."""
        prompts, seen = prompts_of(batch)
        return {
            "batch": batch,
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention.long(),
            "labels": batch.input_ids.masked_fill(~batch.answer, IGNORED),
            "prompts": prompts,
            "prompt_attention_mask": seen,
            "room": self.room,
        }

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        """Unknown: of the answers in the data, GKD may train on none."""
        return None


def prompts_of(batch: Tokens) -> tuple[Tensor, Tensor]:
    """What stands before each example's last answer, at least its first token, padded on the left: ``[B, P]`` twice.

    Tokens, and 1 where there is one.
    """
    answer = batch.answer
    length = answer.shape[1]
    place = torch.arange(length)
    last = torch.where(answer, place, -1).amax(dim=1, keepdim=True)
    # the last token before the last answer, wherever an earlier answer ended
    before = torch.where(~answer & (place < last), place, 0).amax(dim=1)
    counts = before + 1
    longest = int(counts.max())
    from_ = place[:longest] - (longest - counts)[:, None]  # negative where the row is padded
    tokens = batch.input_ids.gather(1, from_.clamp(min=0))
    return tokens, (from_ >= 0).long()
