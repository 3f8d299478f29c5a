"""The engine: ``transformers.Trainer``, subclassed once.

What is trained is a pair (student, objective); the teacher, live or stored, stays outside of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from potstill.families.base import Forecaster, Model
from potstill.objectives.base import LossInputs
from potstill.objectives.objective import Objective
from potstill.recipe import RolloutConfig, TrainingConfig
from potstill.training.rollout import on_policy
from potstill.training.run_trainer import RunTrainer, TrainerHooks
from potstill.types import Output, Tokens, Windows

TargetProvider = Callable[[Any, int], Any]  # a batch and the horizon asked for, to the batch with the teacher's labels


class DistillationModule(nn.Module):
    """Student and objective as one module, so that a term's own weights are trained and checkpointed too."""

    def __init__(self, student: Model, objective: Objective):
        super().__init__()
        self.student_module = student.module
        self.objective = objective
        self.student = student

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Each weight under one name: safetensors refuses tied ones (a language model's embeddings) under two."""
        state = super().state_dict(*args, **kwargs)
        for name in self._second_names(state):
            del state[name]
        return state

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """What :meth:`state_dict` gave."""
        second = self._second_names(super().state_dict())
        whole = {**state_dict, **{name: state_dict[first] for name, first in second.items() if first in state_dict}}
        return super().load_state_dict(whole, *args, **kwargs)

    @staticmethod
    def _second_names(state: dict[str, Tensor]) -> dict[str, str]:
        """The first name of every weight that has another one before it."""
        first: dict[tuple[int, torch.Size], str] = {}
        places = {name: (tensor.data_ptr(), tensor.shape) for name, tensor in state.items() if tensor.numel()}
        for name, place in places.items():
            first.setdefault(place, name)
        return {name: first[place] for name, place in places.items() if first[place] != name}

    def forward(self, batch: Windows | Tokens, horizon: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and each term's value."""
        output = self.student.forward(batch, horizon)
        teacher = Output(batch.labels) if batch.labels is not None else None
        with torch.autocast(batch.ids.device.type, enabled=False):
            return self.objective(LossInputs(batch, output, teacher))


class DistillationTrainer(RunTrainer, Trainer):
    """Trains a pair on windows.

    Parameters
    ----------
    pair
        Student and objective.
    dataset
        Gives a whole batch of Windows for a list of ids (``__getitems__``).
    arguments
        From :func:`training_arguments`.
    watch
        How the run follows it.
    teach
        Fills ``windows.labels`` for a horizon, from a live teacher or a label store; None where no term asks for it.
    horizon
        Steps of the future the loss sees.
    random_horizon
        Vary the horizon from step to step in whole patches, so that the student also learns short ones.
    rollout
        Which share of the windows the student goes on from by itself before it is taught; default: none.
    """

    def __init__(
        self,
        pair: DistillationModule,
        dataset: Any,
        arguments: TrainingArguments,
        watch: TrainerHooks,
        *,
        teach: TargetProvider | None,
        horizon: int,
        random_horizon: bool = False,
        rollout: RolloutConfig | None = None,
        callbacks: list[Any],
    ):
        self.follow(watch, dataset)
        self.pair, self.teach = pair, teach
        self.horizon, self.random_horizon = horizon, random_horizon
        self.rollout = rollout or RolloutConfig()
        super().__init__(
            model=pair,
            args=arguments,
            train_dataset=dataset,
            data_collator=_as_inputs,
            callbacks=callbacks,
        )

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Teacher's labels where terms need them, then the pair's loss."""
        batch: Windows | Tokens = inputs["batch"].to(self.args.device)
        if self.teach is not None:
            if isinstance(batch, Windows) and isinstance(self.pair.student, Forecaster):
                batch = on_policy(batch, self.pair.student, self.rollout, self.args.seed, self.state.global_step)
            # always the whole horizon: a live teacher then says what a store says, whatever this step looks at
            batch = self.teach(batch, self.horizon)
        horizon = self._horizon_of_step()
        loss, terms = model(first_steps(batch, horizon), horizon)
        if isinstance(batch, Tokens) and num_items_in_batch:
            # a mean over all answer tokens of the step, in how many batches soever they come
            share = int(batch.answer.sum()) * self.current_gradient_accumulation_steps / num_items_in_batch
            loss, terms = loss * share, {name: value * share for name, value in terms.items()}
        self.note(loss, terms, batch)
        return loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> int | None:
        """Answer tokens of all batches of an optimiser step, which their losses are to be means over."""
        batches = [sample["batch"] for sample in batch_samples]
        answers = [int(batch.answer.sum()) for batch in batches if isinstance(batch, Tokens)]
        return sum(answers) or None

    def _horizon_of_step(self) -> int:
        student = self.pair.student
        patch = student.horizon_multiple if isinstance(student, Forecaster) else self.horizon
        if not self.random_horizon or self.horizon <= patch:
            return self.horizon
        # from (seed, step) alone, so that a resumed run draws the same; half of the steps see the whole horizon
        draw = random.Random(f"{self.args.seed}/{self.state.global_step}")
        return self.horizon if draw.random() < 0.5 else patch * draw.randint(1, self.horizon // patch)


def first_steps(windows: Windows | Tokens, horizon: int) -> Windows | Tokens:
    """Windows whose futures and labels end after ``horizon`` steps; a batch of text as it is."""
    if isinstance(windows, Tokens) or horizon >= windows.future.shape[1]:
        return windows
    labels = windows.labels
    labels = labels and replace(labels, values=labels.values[..., :horizon])
    return replace(windows, future=windows.future[:, :horizon], labels=labels)


def training_arguments(
    config: TrainingConfig,
    checkpoints: Path,
    max_steps: int,
    device: str,
    progress: bool,
    kind: type[TrainingArguments] = TrainingArguments,
    **more: Any,
) -> Any:
    """A recipe's training part as transformers.TrainingArguments, or as a ``kind`` of them that has ``more``."""
    decay = {"num_decay_steps": max(1, round(config.decay * max_steps)), "decay_type": "1-sqrt", "min_lr_ratio": 0.0}
    return kind(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulate,
        max_steps=max_steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=round(config.warmup * max_steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip,
        optim="adamw_torch_fused",
        bf16=device_precision(config.precision, device) == "bf16",
        use_cpu=device == "cpu",
        seed=config.seed,
        data_seed=config.seed,
        eval_strategy="no",
        save_strategy="steps",
        save_steps=evaluation_steps(config, max_steps),
        logging_strategy="steps",
        logging_steps=max(1, min(50, max_steps // 100)),
        report_to=config.report_to or "none",
        remove_unused_columns=False,
        disable_tqdm=not progress,
        dataloader_pin_memory=device != "cpu",
        lr_scheduler_kwargs=decay if config.schedule == "warmup_stable_decay" else {},
        **more,
    )


def evaluation_steps(config: TrainingConfig, max_steps: int) -> int:
    """Steps between evaluations, each of which also leaves a checkpoint."""
    return config.eval_steps or max(1, -(-max_steps // 10))


def device_precision(precision: str, device: str) -> str:
    """``auto`` resolved: bf16 where the hardware multiplies it, fp32 where it would be emulated."""
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def _as_inputs(batch: Any) -> dict[str, Any]:
    # the data set's __getitems__ returns the whole batch, so there is nothing to collate
    return {"batch": batch}
