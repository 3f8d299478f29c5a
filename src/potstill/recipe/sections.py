"""The parts of a recipe: each key with its type, its bounds and what it is when nobody says."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: what a recipe of language models has where it says nothing else
LANGUAGE = {
    "objective": {"alpha": 0.5, "soft": "kl", "hard": "cross_entropy"},
    "training": {"learning_rate": 3e-4, "batch_size": 16},
    "evaluation": {"baselines": [], "max_windows": 500},
}


class Node(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class TeacherConfig(Node):
    """One teacher: where it comes from and how much it counts."""

    source: str = Field(description="hub id, folder, or 'embedded'; settings may follow, as in ID:patch_size=64")
    name: str | None = Field(default=None, description="name in reports; default: the last part of the source")
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub id")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="precision of the teacher's weights")


class StudentConfig(Node):
    """Shape of the student and where its first weights come from."""

    family: str | None = Field(default=None, description="default: the teacher's own family")
    start: Literal["random", "teacher"] = Field(
        default="random", description="fresh weights, or embeddings, heads and layers"
    )
    preset: str | None = Field(default=None, description="a named size, such as 3x384")
    overrides: dict[str, Any] = Field(default_factory=dict, description="keys of the family's own config")


class DataConfig(Node):
    """Which series, cut how. Lengths are in steps of the series."""

    paths: list[str] = Field(default_factory=list)
    target: list[str] | None = Field(default=None, description="columns to forecast; default: as columns says")
    columns: Literal["all", "first"] = Field(
        default="all", description="without a target: every numeric column of a file, or its first"
    )
    exclude: list[str] = Field(default_factory=list, description="file names (without ending) to leave out")
    max_files: int | None = Field(default=None, ge=1)
    split: str = Field(default="8:1:1", description="fractions a:b:c, 'ett', 'suite', 'by-file' or two dates 'D1,D2'")
    context_length: int = Field(default=720, ge=1)
    prediction_length: int = Field(default=96, ge=1)
    stride: int = Field(default=1, ge=1)
    missing: Literal["keep", "impute", "drop"] = Field(default="keep", description="what becomes of missing values")
    balance: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="a data set is drawn in proportion to its windows to this power (1: every window once)",
    )
    synthetic: float = Field(default=0.0, ge=0, le=1, description="share of training windows drawn from generators")
    augmented: float = Field(
        default=0.0, ge=0, le=1, description="share of training windows that mix or warp real series"
    )
    train_windows: int | None = Field(
        default=None, ge=1, description="use only this many real training windows (scarce data)"
    )
    max_length: int = Field(default=512, ge=8, description="text: tokens of a prompt and its answer together")
    format: Literal["auto", "alpaca", "sharegpt", "messages", "question_answer", "text"] = Field(
        default="auto", description="text: how records are laid out; auto looks at their keys"
    )

    @model_validator(mode="after")
    def _shares(self) -> DataConfig:
        if self.synthetic + self.augmented > 1:
            raise ValueError("data.synthetic + data.augmented must not exceed 1")
        if self.target and self.columns == "first":
            raise ValueError("data.target names the columns; leave data.columns out")
        return self


class ObjectiveConfig(Node):
    """Total = alpha · soft + (1 − alpha) · hard, plus extra terms by name."""

    alpha: float = Field(default=0.8, ge=0, le=1, description="1: the teacher alone, 0: the truth alone")
    temperature: float = Field(
        default=2.0, gt=0, allow_inf_nan=False, description="divides the logits that a divergence compares"
    )
    soft: str = Field(default="quantile_match", description="term that compares with the teacher")
    hard: str = Field(default="pinball", description="term that compares with the truth")
    terms: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="more terms: name → {weight, …the term's own options}"
    )


class RolloutConfig(Node):
    """Windows in which the student first goes on by itself and the live teacher answers from where it went."""

    share: float = Field(
        default=0.0, ge=0, le=1, description="share of the windows whose context ends with the student's own forecast"
    )
    patches: int = Field(default=8, ge=1, description="the longest such ending, in the student's output patches")


class GkdConfig(Node):
    """Generalised knowledge distillation by TRL (``training.engine: trl``); names as in trl's GKDConfig."""

    lmbda: float = Field(
        default=0.5, ge=0, le=1, description="how often the student's own answers are learned from, not the data's"
    )
    beta: float = Field(default=0.5, ge=0, le=1, description="of the divergence; 0: KL, 1: reverse KL, between: JSD")
    seq_kd: bool = Field(default=False, description="text: in place of the data's answers learn the teacher's own")
    max_new_tokens: int = Field(
        default=128, ge=1, description="longest answer that is generated; steps of the future for a forecaster"
    )
    temperature: float = Field(default=0.9, gt=0, allow_inf_nan=False, description="text: that answers are sampled at")
    form: Literal["heads", "bins"] = Field(
        default="heads", description="forecasters: quantile by quantile, or all of them as one distribution over bins"
    )


class TrainingConfig(Node):
    """The optimiser and the schedule; names as in transformers.TrainingArguments."""

    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=64, ge=1)
    epochs: float | None = Field(
        default=None, gt=0, description="passes over the training windows; default: one, and at least 1,000 steps"
    )
    max_steps: int | None = Field(default=None, ge=1, description="optimiser steps, in place of epochs")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of the steps")
    schedule: Literal["cosine", "linear", "constant_with_warmup", "warmup_stable_decay"] = "cosine"
    decay: float = Field(default=0.2, gt=0, le=1, description="share of the steps that warmup_stable_decay decays over")
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    accumulate: int = Field(default=1, ge=1, description="batches per optimiser step")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto: bf16 where the hardware has it"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0
    device: Literal["cpu", "cuda"] | None = Field(default=None, description="default: cuda where there is one")
    eval_steps: int | None = Field(default=None, ge=1, description="default: a tenth of the run")
    eval_windows: int = Field(default=512, ge=1, description="validation windows per evaluation")
    patience: int | None = Field(default=None, ge=1, description="evaluations without improvement before stopping")
    report_to: list[str] = Field(default_factory=list, description="tensorboard, wandb, trackio, mlflow …")
    random_horizon: bool = Field(default=False, description="vary the horizon from batch to batch, whole patches")
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    engine: Literal["potstill", "trl"] = Field(
        default="potstill", description="trl: its GKD trainer, on the student's own answers, without the objective"
    )
    gkd: GkdConfig = Field(default_factory=GkdConfig)

    @model_validator(mode="after")
    def _one_length(self) -> TrainingConfig:
        if self.max_steps is not None and self.epochs is not None:
            raise ValueError("max_steps and epochs contradict each other; give one of them")
        if self.engine != "trl" and self.gkd != GkdConfig():
            raise ValueError("gkd belongs to engine: trl; write that, or leave gkd out")
        return self


class EvaluationConfig(Node):
    """What the finished run is measured on."""

    split: Literal["validation", "test"] = "test"
    stride: int | None = Field(
        default=None, ge=1, description="default: 5 (never a divisor of common seasons), wider when large"
    )
    max_windows: int = Field(default=2000, ge=1, description="per data set")
    baselines: list[str] = Field(default_factory=lambda: ["seasonal_naive", "ridge", "auto_theta"])
