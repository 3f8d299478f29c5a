"""``training.algorithm: gkd``: TRL's trainer of generalised knowledge distillation drives a run.

In GKD (Agarwal et al., "On-Policy Distillation of Language Models", ICLR 2024) the student generates an answer, and its
distribution of every token of that answer is compared with the teacher's. Run folder, log, checkpoints and validation
are Potstill's.
"""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # users need no warning that the module of GKD may move

from trl.experimental.gkd import GKDConfig

from potstill.errors import UserError
from potstill.families.base import Forecaster, Model
from potstill.training.arguments import check_arguments, refuse_checkpointing, training_arguments
from potstill.training.gkd.forecaster import ForecastGKDTrainer
from potstill.training.gkd.language import LanguageGKDTrainer
from potstill.training.hooks import TrainerHooks

logging.getLogger("trl").setLevel(logging.ERROR)  # TRL's advice is for developers, not for users


def gkd_trainer(
    student: Model,
    teacher: Model,
    arguments: tuple[Any, ...],
    dataset: Any,
    hooks: TrainerHooks,
    horizon: int,
    callbacks: Any,
) -> ForecastGKDTrainer | LanguageGKDTrainer:
    """The trainer of a run; ``arguments`` are those of ``training_arguments``, the recipe's training section first."""
    config: Any = arguments[0]
    args = training_arguments(*arguments, kind=GKDConfig, **_settings(config.gkd))
    # TRL's default would compute every pass twice, and Chronos-2 does not support it; new name and old alias
    args.activation_checkpointing = args.gradient_checkpointing = False
    if isinstance(student, Forecaster):
        assert isinstance(teacher, Forecaster)
        return ForecastGKDTrainer(
            student, teacher, args, dataset, horizon=horizon, form=config.gkd.form, hooks=hooks, callbacks=callbacks
        )
    return LanguageGKDTrainer(student, teacher, args, dataset, hooks, callbacks)


def check_gkd_settings(config: Any, max_steps: int, device: str) -> None:
    """Check a recipe's training section against TRL's trainer before the run begins.

    Raises
    ------
    UserError
        For separate learning rates and for activation checkpointing, which are not supported with gkd; and as
        ``check_arguments``.
    """
    if config.learning_rates:
        raise UserError(
            "training.learning_rates: TRL's trainer has one rate for all weights; leave it out, or write"
            " training.algorithm: offline.",
            key="gkd.learning_rates_not_supported",
        )
    refuse_checkpointing(config, "is not available with training.algorithm: gkd")
    check_arguments(config, max_steps, device, GKDConfig, **_settings(config.gkd))


def _settings(gkd: Any) -> dict[str, Any]:
    return {
        "lmbda": gkd.lmbda,
        "beta": gkd.beta,
        "seq_kd": getattr(gkd, "seq_kd", False),
        "max_new_tokens": gkd.max_new_tokens,
        "temperature": getattr(gkd, "temperature", 1.0),
        "disable_dropout": False,  # the recipe sets the student's dropout
    }
