"""TRL's GKD on a forecaster: its sequence is its own rolled-out forecast.

Trainer and divergence stay TRL's; ``divergence`` makes their tokens of values.
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
from potstill.training.gkd.bare import bare
from potstill.training.gkd.divergence import Form, divergence
from potstill.training.rollout import on_policy, rollouts
from potstill.training.run_trainer import RunTrainer, TrainerHooks


class ForecastGKDTrainer(RunTrainer, GKDTrainer):
    """GKD on a Chronos-2 student and a Chronos-2 teacher.

    Of ``args``, ``lmbda`` is the share of windows that the student first goes on from by itself (see ``on_policy``),
    ``max_new_tokens`` how many steps it goes at most, ``beta`` the divergence's (0: forward KL, 1: reverse KL).
    ``temperature`` says nothing here: no token is sampled.

    Parameters
    ----------
    student, teacher
        The student is trained in place, the teacher is frozen.
    args
        TRL's, without ``gradient_checkpointing``, which Chronos-2 does not have.
    dataset
        Gives a batch of Windows for a list of ids (``__getitems__``).
    horizon
        Steps of the future that are compared.
    form
        ``heads``: every quantile head is compared with the teacher's at the same level. ``bins``: all heads together
        make one distribution, as GKD's tokens do; heads may then trade places.
    watch
        How a run follows it.

    Raises
    ------
    UserError
        For ``seq_kd``, which would train on the teacher's own forecasts.

    Examples
    --------
    >>> args = GKDConfig("run", lmbda=0.5, max_new_tokens=192, gradient_checkpointing=False)
    >>> watch = TrainerHooks(lambda: {"sql": 0.0}, str)
    >>> ForecastGKDTrainer(student, teacher, args, windows, horizon=96, watch=watch).train()
    """

    loss_is_scaled_for_ga = False  # a mean over the batch, to be divided where several make a step

    def __init__(
        self,
        student: Forecaster,
        teacher: Forecaster,
        args: GKDConfig,
        dataset: Any,
        *,
        horizon: int,
        form: Form = "heads",
        watch: TrainerHooks,
        callbacks: list[Any] | None = None,
    ):
        if args.seq_kd:
            raise UserError("seq_kd: a forecaster has no sequences of its teacher's to copy; leave it out.")
        self.follow(watch, dataset)
        self.student, self.teacher = student, teacher.freeze()
        self.horizon = horizon
        self.form: Form = form
        module: Any = student.module
        module.generation_config = GenerationConfig()  # TRL looks there for words that end a text
        super().__init__(
            model=student.module,
            teacher_model=teacher.module,
            args=args,
            data_collator=lambda rows: {"windows": dataset.__getitems__([row["window"] for row in rows])},
            # TRL takes none but data sets of its own kind: the ids alone are one
            train_dataset=Dataset.from_dict({"window": range(len(dataset))}),
            processing_class=_no_words(),
            callbacks=callbacks,
        )
        del module.generation_config
        bare(module)  # of TRL's pass, which reads words

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """TRL's step, with windows that go on from the student's own forecast in the place of generated text."""
        windows = on_policy(
            inputs["windows"].to(self.args.device),
            self.student,
            rollouts(self.lmbda, self.generation_config.max_new_tokens or 0, self.student.horizon_multiple),
            self.args.seed,
            self.state.global_step,
        )
        # past GKD's own step, which would draw for the whole batch and call the model's `generate`
        return SFTTrainer.training_step(self, model, {"windows": windows}, num_items_in_batch)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The divergence of both forecasts, averaged over windows and steps."""
        windows = inputs["windows"].to(self.args.device)
        with torch.no_grad():
            teacher = self.teacher.forward(windows, self.horizon).forecast
        with self.accelerator.autocast():
            student = self.student.forward(windows, self.horizon).forecast
        loss = divergence(student, teacher, self.beta, self.form).mean()
        self.note(loss, {"gkd": loss}, windows)
        return (loss, student) if return_outputs else loss


def _no_words() -> PreTrainedTokenizerFast:
    # TRL asks for a tokenizer, and for the token it pads with
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"": 0}, unk_token="")), pad_token="")
