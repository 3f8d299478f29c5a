"""A recipe's training section as ``transformers.TrainingArguments``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from potstill.console import say
from potstill.errors import UserError
from potstill.families.devices import CPU, PINNED, kind_of
from potstill.families.precision import device_precision
from potstill.recipe import TrainingConfig
from potstill.training.division import batches_per_step

LOADER_WORKERS = 4  # processes that prepare batches while a GPU computes
#: arguments that another key of the recipe or an option decides
DECIDED_ELSEWHERE = {
    "output_dir": "--output",
    "max_steps": "training.max_steps",
    "num_train_epochs": "training.epochs",
    "per_device_train_batch_size": "training.batch_size",
    "gradient_accumulation_steps": "training.accumulate",
    "learning_rate": "training.learning_rate",
    "lr_scheduler_type": "training.schedule",
    "warmup_steps": "training.warmup",
    "weight_decay": "training.weight_decay",
    "max_grad_norm": "training.clip",
    "bf16": "training.precision",
    "fp16": "training.precision",
    "use_cpu": "training.device",
    "seed": "training.seed",
    "data_seed": "training.seed",
    "report_to": "training.report_to",
    "eval_strategy": "training.eval_steps",
    "eval_steps": "training.eval_steps",
    "save_strategy": "training.eval_steps",
    "save_steps": "training.eval_steps",
    "resume_from_checkpoint": "--resume",
}
#: transformers' two names for activation checkpointing
CHECKPOINTING_ARGUMENTS = ("activation_checkpointing", "gradient_checkpointing")
#: arguments that Potstill carries out itself, see sharding.py
SHARDING_ARGUMENTS = ("fsdp", "fsdp_config")
#: arguments on which Potstill's trainer relies
FIXED_ARGUMENTS = (
    "remove_unused_columns",
    "logging_nan_inf_filter",
    "load_best_model_at_end",
    "save_only_model",
    "save_total_limit",
    "eval_on_start",
    "eval_delay",
)


def training_arguments(
    config: TrainingConfig,
    checkpoints: Path,
    max_steps: int,
    device: str,
    kind: type[TrainingArguments] = TrainingArguments,
    **more: Any,
) -> Any:
    """A recipe's training section as transformers.TrainingArguments, or as a subclass ``kind`` with ``more`` arguments.

    Raises
    ------
    UserError
        As :func:`check_arguments`.
    """
    return on_one_device(_constructed(config, checkpoints, max_steps, device, kind, more), device)


def check_arguments(
    config: TrainingConfig, max_steps: int, device: str, kind: type[TrainingArguments] = TrainingArguments, **more: Any
) -> None:
    """Check ``training.arguments`` before the run begins; arguments as for :func:`training_arguments`.

    Raises
    ------
    UserError
        For a key that is not an argument, or that another key of the recipe decides; or if transformers rejects them.
    """
    _constructed(config, Path("nowhere"), max_steps, device, kind, more)


def refuse_checkpointing(config: TrainingConfig, why: str) -> None:
    """Raise UserError if activation checkpointing (computing activations twice to save memory) is requested."""
    for key in CHECKPOINTING_ARGUMENTS:
        if config.arguments.get(key):
            raise UserError(
                f"training.arguments.{key}: {why}; leave it out.", key="training.checkpointing_not_supported"
            )


def _constructed(
    config: TrainingConfig,
    checkpoints: Path,
    max_steps: int,
    device: str,
    kind: type[TrainingArguments],
    more: Mapping[str, Any],
) -> Any:
    batch_size, accumulate = batches_per_step(config)
    decay = {"num_decay_steps": max(1, round(config.decay * max_steps)), "decay_type": "1-sqrt", "min_lr_ratio": 0.0}
    kind_of_device = kind_of(device)
    workers, pinned = (LOADER_WORKERS if kind_of_device != CPU else 0), kind_of_device in PINNED
    defaults = {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": batch_size,
        "gradient_accumulation_steps": accumulate,
        "max_steps": max_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": round(config.warmup * max_steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip,
        "optim": "adamw_torch_fused",
        "bf16": device_precision(config.precision, device) == "bf16",
        "use_cpu": kind_of_device == CPU,
        "seed": config.seed,
        "data_seed": config.seed,
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": evaluation_steps(config, max_steps),
        "logging_strategy": "steps",
        "logging_steps": max(1, min(50, max_steps // 100)),
        "logging_nan_inf_filter": False,  # it synchronises with the device at every step; hooks.py checks each log
        "report_to": config.report_to or "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,  # callbacks.Progress shows the steps
        "dataloader_pin_memory": pinned,
        "accelerator_config": {"non_blocking": pinned},  # copies of pinned batches then overlap with computing
        "dataloader_num_workers": workers,
        "dataloader_persistent_workers": workers > 0,
        "lr_scheduler_kwargs": decay if config.schedule == "warmup_stable_decay" else {},
    }
    _check_names(config.arguments)
    if config.arguments.get("dataloader_num_workers") == 0:
        defaults["dataloader_persistent_workers"] = False
    try:
        given = {key: value for key, value in config.arguments.items() if key not in SHARDING_ARGUMENTS}
        return kind(**{**defaults, **more, **given})
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(
            f"training.arguments: transformers rejects them ({str(error).splitlines()[0]}); correct or remove them.",
            key="training.arguments_refused",
        ) from None


def on_one_device(arguments: Any, device: str) -> Any:
    """The arguments restricted to one GPU per process. To use several, a launcher starts one process per GPU."""
    index = torch.device(device).index
    if index is not None and kind_of(device) != CPU:
        torch.accelerator.set_device_index(index)
        arguments.__dict__["_setup_devices"] = torch.device(device)  # transformers would take the first
        arguments._n_gpu = 1
    if arguments.n_gpu > 1:
        say(
            f"Using one of {arguments.n_gpu} GPUs; start Potstill with `accelerate launch -m potstill …` to use all of"
            " them."
        )
        arguments._n_gpu = 1
    return arguments


def evaluation_steps(config: TrainingConfig, max_steps: int) -> int:
    """Steps between evaluations. Each evaluation also writes a checkpoint."""
    return config.eval_steps or max(1, -(-max_steps // 10))


def _check_names(given: Mapping[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(TrainingArguments) if field.init]
    for key in given:
        if key in DECIDED_ELSEWHERE:
            raise UserError(
                f"training.arguments.{key}: is set by {DECIDED_ELSEWHERE[key]}; set that instead.",
                key="training.argument_decided_elsewhere",
            )
        if key in FIXED_ARGUMENTS:
            raise UserError(
                f"training.arguments.{key}: Potstill's trainer needs its own value; leave it out.",
                key="training.argument_fixed",
            )
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UserError(
                f"training.arguments.{key}: is not an argument of transformers.TrainingArguments{hint}",
                key="training.unknown_argument",
            )
