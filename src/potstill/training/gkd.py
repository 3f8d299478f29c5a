"""TRL's GKD drives a forecaster: values become bins, quantile heads become distributions over them.

GKD (Agarwal et al., "On-Policy Distillation of Language Models", ICLR 2024) samples sequences from the student and
compares both models' distributions of each next token by a generalised Jensen-Shannon divergence. A forecaster's
sequence is its own rolled-out forecast, and its tokens are values; trainer and divergence stay TRL's.

Shapes: B windows, Q levels, H steps, E edges of E + 1 bins.
"""

from __future__ import annotations

from typing import Any, Literal

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
from potstill.objectives.output import level_weights
from potstill.recipe import RolloutConfig
from potstill.training.rollout import on_policy
from potstill.types import Forecast

Form = Literal["heads", "bins"]
EDGES, REACH = 40, 5.0  # in the context's scale, of which Chronos-2 takes the arcsinh: 5 stands for 74 deviations


class ForecastGKDTrainer(GKDTrainer):
    """GKD on a Chronos-2 student and a Chronos-2 teacher.

    Of ``args``, ``lmbda`` is the share of windows that the student first goes on from by itself (see ``on_policy``),
    ``max_new_tokens`` how many steps it goes at most, ``beta`` the divergence's (0: forward KL, 1: reverse KL).
    ``temperature`` says nothing here: no token is sampled.

    Parameters
    ----------
    student, teacher
        The student is trained in place, the teacher is frozen.
    args
        TRL's; ``gradient_checkpointing`` is turned off, which Chronos-2 does not have.
    dataset
        Gives a batch of Windows for a list of ids (``__getitems__``).
    horizon
        Steps of the future that are compared.
    form
        ``heads``: every quantile head is compared with the teacher's at the same level. ``bins``: all heads together
        make one distribution, as GKD's tokens do; heads may then trade places.

    Raises
    ------
    UserError
        For ``seq_kd``, which would train on the teacher's own forecasts.

    Examples
    --------
    >>> args = GKDConfig("run", lmbda=0.5, max_new_tokens=192, max_steps=1000, per_device_train_batch_size=64)
    >>> ForecastGKDTrainer(student, teacher, args, windows, horizon=96).train()
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
        callbacks: list[Any] | None = None,
    ):
        if args.seq_kd:
            raise UserError("seq_kd: a forecaster has no sequences of its teacher's to copy; leave it out.")
        args.gradient_checkpointing = args.activation_checkpointing = False  # the new name and its old alias
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
        del module.generation_config, module.forward  # the latter is TRL's, around the model's own: it reads words

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """TRL's step, with windows that go on from the student's own forecast in the place of generated text."""
        patches = max(1, (self.generation_config.max_new_tokens or 0) // self.student.patch)
        windows = on_policy(
            inputs["windows"].to(self.args.device),
            self.student,
            RolloutConfig(share=self.lmbda, patches=patches),
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
        return (loss, student) if return_outputs else loss

    def _send_telemetry(self) -> None:
        """Nothing is sent: Potstill works without a network, and tells nobody that it is used."""


def divergence(student: Forecast, teacher: Forecast, beta: float = 0.5, form: Form = "heads") -> Tensor:
    """TRL's generalised Jensen-Shannon divergence of two forecasts, ``[B, H]``; in nats times the context's scale.

    Each quantile ``v`` becomes a soft step over the edges ``e``, ``σ((e − v) / width)``.

    ``bins`` averages the steps of all heads into one cumulative distribution, whose increments are the bins'
    probabilities. It does not see which head stands where. ``heads`` compares the steps level by level, each edge being
    a token with two values, below and above. Near one another this is quadratic in the distance of the two quantiles;
    further apart every edge between them adds its share, so that it grows with the distance, where a divergence of
    bins that do not overlap stays what it is and gives no gradient.
    """
    teacher = teacher.at_levels(student.levels).in_scale_of(student)
    edges = torch.linspace(-REACH, REACH, EDGES, device=student.values.device)
    weights = level_weights(student.levels)
    width = 2 * REACH / (EDGES - 1)
    logits = [_steps(f.values.to(student.values).float(), edges, width) for f in (student, teacher)]
    if form == "bins":
        logits = [_as_bins(step, weights) for step in logits]
        return width * GKDTrainer.generalized_jsd_loss(*logits, beta=beta, reduction="none").sum(dim=-1)
    pairs = [torch.stack([step, torch.zeros_like(step)], dim=-1) for step in logits]
    jsd = GKDTrainer.generalized_jsd_loss(*pairs, beta=beta, reduction="none")  # [B, Q, H, E, 2]
    return width * torch.einsum("bqhen,q->bh", jsd, weights)


def _steps(values: Tensor, edges: Tensor, width: float) -> Tensor:
    """``[B, Q, H, E]``: the logit of each quantile lying below each edge."""
    return (edges - values[..., None]) / width


def _as_bins(steps: Tensor, weights: Tensor) -> Tensor:
    """``[B, H, E + 1]``: logarithms of the probabilities of the bins between edges."""
    below = torch.einsum("bqhe,q->bhe", steps.sigmoid(), weights)
    return (
        torch.diff(below, prepend=torch.zeros_like(below[..., :1]), append=torch.ones_like(below[..., :1]))
        .clamp(min=1e-9)
        .log()
    )


def _no_words() -> PreTrainedTokenizerFast:
    # TRL asks for a tokenizer, and for the token it pads with
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"": 0}, unk_token="")), pad_token="")
