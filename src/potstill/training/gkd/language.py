"""TRL's GKD for language models, on the same batches as the algorithm ``offline``.

Shapes: B examples, T tokens, P tokens of the longest prompt, N tokens of the longest generated answer.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import GenerationConfig
from trl.experimental.gkd import GKDConfig, GKDTrainer
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.sft_trainer import SFTTrainer

from potstill.families.base import Model, evaluating
from potstill.families.language.model import GENERATION_DEFAULTS
from potstill.training.gkd.accumulation import items_per_batch
from potstill.training.gkd.bare import restore_forward
from potstill.training.hooks import RunTrainer, TrainerHooks
from potstill.types import Tokens

IGNORED_LABEL = -100  # label of a token that the loss ignores


class LanguageGKDTrainer(RunTrainer, GKDTrainer):
    """GKD with a student and a teacher that share a tokenizer.

    Parameters
    ----------
    student, teacher
        The student is trained in place.
    args
        TRL's configuration; ``lmbda`` is the probability, per batch, of training on generated answers.
    dataset
        Its ``batch`` returns Tokens for a list of ids.
    hooks
        What the run supplies: validation, order of the data, names for messages.
    """

    loss_is_scaled_for_ga = False  # transformers divides it by the number of batches; see items_per_batch

    def __init__(
        self, student: Model, teacher: Model, args: GKDConfig, dataset: Any, hooks: TrainerHooks, callbacks: list[Any]
    ):
        self.follow(hooks, dataset)
        student_model: Any = student
        teacher_model: Any = teacher
        use_cache = (
            student_model.module.config.use_cache
        )  # transformers turns the cache off and would save that setting
        self.max_length = min(student_model.max_length, teacher_model.max_length)
        self.step_batches: list[dict[str, Any]] = []  # those of the optimizer step
        self.answer_tokens: Tensor | None = None  # see items_per_batch; None until the step's answers are generated
        super().__init__(
            model=student.module,
            teacher_model=teacher.module,
            args=args,
            data_collator=lambda rows: self._inputs(dataset.batch([row["example"] for row in rows])),
            # TRL accepts only data sets of the datasets library: this one holds the ids
            train_dataset=Dataset.from_dict({"example": range(len(dataset))}),
            processing_class=student_model.tokenizer,
            callbacks=callbacks,
        )
        restore_forward(student.module)  # TRL replaced it by a pass for a loss that GKD does not use
        student_model.module.config.use_cache = use_cache
        self.generation_config.eos_token_id = student_model.ends or None
        # with seq_kd the teacher generates, too: without its own sampling defaults
        for key, value in GENERATION_DEFAULTS.items():
            setattr(self.generation_config, key, value)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> None:
        """Keep the batches of an optimizer step; their answers may still be generated and are counted afterwards."""
        self.step_batches, self.answer_tokens = batch_samples, None

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """TRL's step, with a loss that is the mean over the answer tokens of all batches of the optimizer step."""
        # In the first batch of the step, the answers of all its batches are generated and counted. This is not done
        # when the batches are fetched: a resumed run restores the state of the random numbers after that.
        if self.answer_tokens is None:
            for batch in self.step_batches:
                self._generate(model, batch)
            counts = [int((batch["labels"][:, 1:] != IGNORED_LABEL).sum()) for batch in self.step_batches]
            self.answer_tokens = items_per_batch(self.accelerator, counts, self.args.device)
        # skips GKD's own step, which generates batch by batch
        return SFTTrainer.training_step(self, model, inputs, self.answer_tokens)

    def _generate(self, model: nn.Module, batch: dict[str, Any]) -> None:
        """Replace a batch's answers: by the student's with probability λ, otherwise, with seq_kd, by the teacher's."""
        if random.random() <= self.lmbda:
            source = model
        elif self.seq_kd:
            source = self.teacher_model
        else:
            return
        with unwrap_model_for_generation(
            source, self.accelerator, generation_kwargs=self.generation_kwargs
        ) as generating:
            answers = self.generate_on_policy_outputs(generating, batch, self.generation_config)
        batch["input_ids"], batch["attention_mask"], batch["labels"] = answers

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's divergence, summed over the batch's answer tokens and divided by ``num_items_in_batch``.

        Without that number it is the mean over the batch.
        """
        loss: Any = super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        self.note(loss, {"gkd": loss}, inputs["batch"])
        return loss

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's training; afterwards both models have their own forward passes again."""
        try:
            return super().train(*args, **kwargs)
        finally:
            restore_forward(self.model)
            restore_forward(self.teacher_model)

    @staticmethod
    def generalized_jsd_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Any = None, **options: Any) -> Any:
        """TRL's mean, computed on the answer tokens only; TRL computes a dozen tensors over all tokens, then masks."""
        answers = labels != IGNORED_LABEL
        return GKDTrainer.generalized_jsd_loss(student_logits[answers], teacher_logits[answers], **options)

    @staticmethod
    def generate_on_policy_outputs(
        model: nn.Module, inputs: dict[str, Any], generation_config: GenerationConfig
    ) -> tuple[Tensor, Tensor, Tensor]:
        """TRL's answers to the prompts, ``[B, P + N]``, at most as long as the models read, padded on the right.

        With the padding on the left, as generated, the training pass would count it in the tokens' positions.
        """
        available = inputs["max_length"] - inputs["prompts"].shape[1]
        config = copy.copy(generation_config)
        config.max_new_tokens = min(available, generation_config.max_new_tokens or available)
        with evaluating(model):
            tokens, mask, labels = GKDTrainer.generate_on_policy_outputs(model, inputs, config)
        order = mask.argsort(dim=1, descending=True, stable=True)
        return tokens.gather(1, order), mask.gather(1, order), labels.gather(1, order)

    def _inputs(self, batch: Tokens) -> dict[str, Any]:
        """A batch with the keys that GKD reads."""
        prompts, mask = prompts_of(batch)
        return {
            "batch": batch,
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention.long(),
            "labels": batch.input_ids.masked_fill(~batch.answer, IGNORED_LABEL),
            "prompts": prompts,
            "prompt_attention_mask": mask,
            "max_length": self.max_length,
        }


def prompts_of(batch: Tokens) -> tuple[Tensor, Tensor]:
    """The prompt before each example's last answer, at least its first token, padded on the left.

    Returns the tokens ``[B, P]`` and the attention mask ``[B, P]``.
    """
    answer = batch.answer
    length = answer.shape[1]
    place = torch.arange(length)
    last = torch.where(answer, place, -1).amax(dim=1, keepdim=True)
    # the last token before the last answer, wherever an earlier answer ended
    before = torch.where(~answer & (place < last), place, 0).amax(dim=1)
    counts = before + 1
    longest = int(counts.max())
    index = place[:longest] - (longest - counts)[:, None]  # negative in the padding
    tokens = batch.input_ids.gather(1, index.clamp(min=0))
    return tokens, (index >= 0).long()
