"""TRL's GKD for a forecaster: the generated sequence is its own rolled-out forecast.

Trainer and divergence are TRL's; the module ``divergence`` turns values into tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedTokenizerFast
from trl.experimental.gkd import GKDConfig, GKDTrainer
from trl.trainer.sft_trainer import SFTTrainer

from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.training.gkd.accumulation import items_per_batch
from potstill.training.gkd.bare import restore_forward
from potstill.training.gkd.divergence import Form, divergence
from potstill.training.hooks import RunTrainer, TrainerHooks
from potstill.training.rollout import on_policy, rollouts
from potstill.types import Request


class ForecastGKDTrainer(RunTrainer, GKDTrainer):
    """GKD with a Chronos-2 student and a Chronos-2 teacher.

    In ``args``, ``lmbda`` is the share of windows that are first extended by the student's own forecast (see
    ``on_policy``), ``max_new_tokens`` is the longest extension in steps, and ``beta`` belongs to the divergence (0:
    forward KL, 1: reverse KL). ``temperature`` has no effect: no token is sampled.

    Parameters
    ----------
    student, teacher
        The student is trained in place, the teacher is frozen.
    args
        TRL's configuration, without ``gradient_checkpointing``, which Chronos-2 does not support.
    dataset
        Its ``batch`` returns Windows for a list of ids.
    horizon
        Steps of the future that are compared.
    form
        ``heads``: every quantile is compared with the teacher's at the same level. ``bins``: all quantiles together
        form one distribution, as GKD's tokens do; quantiles can then change places.
    hooks
        What the run supplies: validation, order of the data, names for messages.

    Raises
    ------
    UserError
        For ``seq_kd``, which would train on the teacher's own forecasts.

    Examples
    --------
    >>> args = GKDConfig("run", lmbda=0.5, max_new_tokens=192, gradient_checkpointing=False)
    >>> hooks = TrainerHooks(lambda: {"sql": 0.0}, lambda ids, series: str(ids))
    >>> ForecastGKDTrainer(student, teacher, args, windows, horizon=96, hooks=hooks).train()
    """

    loss_is_scaled_for_ga = False  # transformers divides it by the number of batches; see items_per_batch

    def __init__(
        self,
        student: Forecaster,
        teacher: Forecaster,
        args: GKDConfig,
        dataset: Any,
        *,
        horizon: int,
        form: Form = "heads",
        hooks: TrainerHooks,
        callbacks: list[Any] | None = None,
    ):
        if args.seq_kd:
            raise UserError(
                "seq_kd: forecasters cannot train on the teacher's own forecasts; leave it out.",
                key="training.seq_kd_of_forecaster",
            )
        self.follow(hooks, dataset)
        self.student, self.teacher = student, teacher.freeze()
        self.horizon = horizon
        self.form: Form = form
        module: Any = student.module
        module.generation_config = GenerationConfig()  # TRL reads the end-of-text tokens from it
        super().__init__(
            model=student.module,
            teacher_model=teacher.module,
            args=args,
            data_collator=lambda rows: {"windows": dataset.batch([row["window"] for row in rows])},
            # TRL accepts only data sets of the datasets library: this one holds the ids
            train_dataset=Dataset.from_dict({"window": range(len(dataset))}),
            processing_class=_empty_tokenizer(),
            callbacks=callbacks,
        )
        del module.generation_config
        restore_forward(module)  # TRL replaced it by a pass over tokens

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """TRL's step, with windows extended by the student's own forecast in place of generated text."""
        windows = on_policy(
            inputs["windows"].to(self.args.device),
            self.student,
            rollouts(self.lmbda, self.generation_config.max_new_tokens or 0, self.student.horizon_multiple),
            self.args.seed,
            self.state.global_step,
        )
        # skips GKD's own step, which draws once per batch and calls the model's `generate`
        return SFTTrainer.training_step(self, model, {"windows": windows}, num_items_in_batch)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Tensor:
        """The mean number of windows per batch of the step: the last batch of an epoch may be smaller."""
        return items_per_batch(self.accelerator, [len(sample["windows"]) for sample in batch_samples], device)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The divergence between both forecasts, averaged over the windows of the optimizer step and their steps."""
        windows = inputs["windows"].to(self.args.device)
        with torch.no_grad():
            teacher = self.teacher.forward(windows, Request(self.horizon)).forecast
        with self.accelerator.autocast():
            student = self.student.forward(windows, Request(self.horizon)).forecast
        per_window = divergence(student, teacher, self.beta, self.form).mean(dim=1)
        loss = per_window.mean() if num_items_in_batch is None else per_window.sum() / num_items_in_batch
        self.note(loss, {"gkd": loss}, windows)
        return (loss, student) if return_outputs else loss


def _empty_tokenizer() -> PreTrainedTokenizerFast:
    # TRL requires a tokenizer with a padding token
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"": 0}, unk_token="")), pad_token="")
