"""``training.engine: trl``: TRL's trainer of generalised knowledge distillation drives a run.

GKD (Agarwal et al., "On-Policy Distillation of Language Models", ICLR 2024) lets the student answer, and compares its
distribution of every token of that answer with the teacher's. Run folder, log, checkpoints and validation stay ours.
"""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # that GKD may move is no user's concern

from trl.experimental.gkd import GKDConfig

from potstill.families.base import Forecaster, Model
from potstill.recipe import TrainingConfig
from potstill.training.gkd.forecaster import ForecastGKDTrainer
from potstill.training.gkd.language import LanguageGKDTrainer
from potstill.training.run_trainer import TrainerHooks
from potstill.training.trainer import training_arguments

logging.getLogger("trl").setLevel(logging.ERROR)  # its advice is for who writes the trainer's call


def gkd_trainer(
    student: Model,
    teacher: Model,
    told: tuple[Any, ...],
    dataset: Any,
    watch: TrainerHooks,
    horizon: int,
    callbacks: Any,
) -> ForecastGKDTrainer | LanguageGKDTrainer:
    """The trainer of a run; ``told`` is what ``training_arguments`` takes, the recipe's part first."""
    config: TrainingConfig = told[0]
    gkd = config.gkd
    args = training_arguments(
        *told,
        kind=GKDConfig,
        lmbda=gkd.lmbda,
        beta=gkd.beta,
        seq_kd=gkd.seq_kd,
        max_new_tokens=gkd.max_new_tokens,
        temperature=gkd.temperature,
        disable_dropout=False,  # the student has the recipe's
    )
    # TRL's default would compute every pass twice, and Chronos-2 cannot; the new name and its old alias
    args.activation_checkpointing = args.gradient_checkpointing = False
    args._n_gpu = min(1, args.n_gpu)  # TRL refuses several in one process
    if isinstance(student, Forecaster):
        assert isinstance(teacher, Forecaster)
        return ForecastGKDTrainer(
            student, teacher, args, dataset, horizon=horizon, form=gkd.form, watch=watch, callbacks=callbacks
        )
    return LanguageGKDTrainer(student, teacher, args, dataset, watch, callbacks)
