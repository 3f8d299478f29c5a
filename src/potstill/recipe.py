"""The one configuration tree: typed, validated, YAML in and YAML out.

Reading a recipe imports no torch, so that ``--help`` and a misspelt key answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from potstill.errors import UserError
from potstill.notation import Dumper, parse_source, parse_student, parse_teachers, parse_yaml

#: what a recipe of language models has where it says nothing else
LANGUAGE = {
    "objective": {"alpha": 0.5, "soft": "kl", "hard": "cross_entropy"},
    "training": {"learning_rate": 3e-4, "batch_size": 16},
    "evaluation": {"baselines": [], "max_windows": 500},
}
RIVALS = {"training.max_steps": "training.epochs", "training.epochs": "training.max_steps"}


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class TeacherConfig(_Node):
    """One teacher: where it comes from and how much it counts."""

    source: str = Field(description="hub id, folder, or 'embedded'; settings may follow, as in ID:patch_size=64")
    name: str | None = Field(default=None, description="name in reports; default: the last part of the source")
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub id")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="precision of the teacher's weights")


class StudentConfig(_Node):
    """Shape of the student and where its first weights come from."""

    family: str | None = Field(default=None, description="default: the teacher's own family")
    start: Literal["random", "teacher"] = Field(
        default="random", description="fresh weights, or embeddings, heads and layers"
    )
    preset: str | None = Field(default=None, description="a named size, such as 3x384")
    overrides: dict[str, Any] = Field(default_factory=dict, description="keys of the family's own config")


class DataConfig(_Node):
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


class ObjectiveConfig(_Node):
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


class RolloutConfig(_Node):
    """Windows in which the student first goes on by itself and the live teacher answers from where it went."""

    share: float = Field(
        default=0.0, ge=0, le=1, description="share of the windows whose context ends with the student's own forecast"
    )
    patches: int = Field(default=8, ge=1, description="the longest such ending, in the student's output patches")


class GkdConfig(_Node):
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


class TrainingConfig(_Node):
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


class EvaluationConfig(_Node):
    """What the finished run is measured on."""

    split: Literal["validation", "test"] = "test"
    stride: int | None = Field(
        default=None, ge=1, description="default: 5 (never a divisor of common seasons), wider when large"
    )
    max_windows: int = Field(default=2000, ge=1, description="per data set")
    baselines: list[str] = Field(default_factory=lambda: ["seasonal_naive", "ridge", "auto_theta"])


class Recipe(_Node):
    """A whole run. ``Recipe.read(path)`` and ``recipe.write(path)`` are inverse."""

    task: Literal["forecast", "language"] = "forecast"
    teacher: list[TeacherConfig] = Field(default_factory=list)
    student: StudentConfig = Field(default_factory=StudentConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    objective: ObjectiveConfig = Field(default_factory=ObjectiveConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    imports: list[str] = Field(default_factory=list, description="Python files that define terms of your own")
    labels: str | None = Field(
        default=None,
        description="a label store made by `potstill label`; 'auto': the run labels its windows once, into RUN/labels;"
        " default: the teacher answers live",
    )
    control: bool = Field(default=False, description="also train a twin without the teacher for the same time")
    control_steps: int | None = Field(
        default=None, ge=1, description="the twin's steps; calibrated once when the run starts"
    )

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return parse_teachers(value)

    @field_validator("student", mode="before")
    @classmethod
    def _short_student(cls, value: Any) -> Any:
        return parse_student(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _of_language(self) -> Recipe:
        """What language models have otherwise, where nobody set it; it stays as unset as any default."""
        if self.task != "language":
            return self
        values = {**LANGUAGE}
        if self.labels:  # the largest logits hold the mass at 1, and little more than a third of it at 2
            values["objective"] = {**LANGUAGE["objective"], "temperature": 1.0}
        for part, defaults in values.items():
            node = getattr(self, part)
            for key, value in defaults.items():
                if key not in node.model_fields_set:
                    setattr(node, key, value)
                    node.model_fields_set.discard(key)
        return self

    @classmethod
    def read(cls, path: str | Path | None, overrides: dict[str, Any] | None = None) -> Recipe:
        """Read a YAML file (or start from the defaults) and lay ``{"dotted.key": value}`` overrides over it.

        Raises
        ------
        UserError
            Naming the file, the key and what was expected.
        """
        return cls.lay_over(_read_yaml(Path(path)) if path is not None else {}, overrides or {}, path)

    @classmethod
    def lay_over(cls, tree: dict[str, Any], overrides: dict[str, Any], path: str | Path | None = None) -> Recipe:
        """Validate a tree of plain values with dotted overrides laid over it; ``path`` names its file in messages.

        An override takes its rival out of the tree: ``training.epochs`` replaces the file's ``training.max_steps``.
        """
        for key, value in overrides.items():
            rival = RIVALS.get(key)
            if rival is not None and rival not in overrides and value is not None:
                _set(tree, rival.split("."), None)
            _set(tree, key.split("."), value)
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UserError(_sentence(error, path)) from None

    def absolute(self) -> Recipe:
        """A copy that means the same from any working directory: local paths in it are absolute.

        Hub ids, ``embedded`` and ``auto`` stay as they are; a teacher's source is a path where a folder is there.
        """
        recipe = self.model_copy(deep=True)
        if recipe.data.paths:
            recipe.data.paths = [path if path == "embedded" else _absolute(path) for path in recipe.data.paths]
        if recipe.imports:
            recipe.imports = [_absolute(path) for path in recipe.imports]
        if recipe.labels not in (None, "auto"):
            recipe.labels = _absolute(recipe.labels)
        for teacher in recipe.teacher:
            place, _ = parse_source(teacher.source)
            if place != "embedded" and Path(place).expanduser().exists():
                teacher.source = _absolute(place) + teacher.source.removeprefix(place)
        return recipe

    def write(self, path: str | Path) -> None:
        """Write the resolved recipe as YAML; reading it back gives an equal recipe."""
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        """The recipe as YAML text."""
        return yaml.dump(self.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); a recipe is a YAML file.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{place}: not valid YAML; mend the line or start from a file in recipes/.") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(
            f"{path}: expected keys such as teacher, data, training at the top; found a {type(tree).__name__}."
        )
    return tree


def _absolute(path: str) -> str:
    # not resolved: a data set goes by the name of the link that was given
    return str(Path(path).expanduser().absolute())


def _set(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        node = tree.setdefault(key, {})
        if isinstance(node, str) and key == "student":
            node = tree[key] = parse_student(node)
        if not isinstance(node, dict):
            raise UserError(f"--set {'.'.join(keys)}: {key!r} holds a plain value and has no keys below it.")
        tree = node
    tree[keys[-1]] = value


def _sentence(error: ValidationError, path: str | Path | None) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "recipe"
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        what = f"no such key{'; known: ' + ', '.join(known) if known else ''}"
    elif not isinstance(first["input"], dict):
        what += f" (given: {first['input']!r})"
    more = f" ({len(error.errors()) - 1} more problem(s) follow.)" if len(error.errors()) > 1 else ""
    return f"{path or 'options'}: {where}: {what}.{more}"


def _known_keys(parts: tuple[Any, ...]) -> list[str]:
    node: Any = Recipe
    for part in parts:
        if isinstance(part, int):
            continue
        annotation = node.model_fields[part].annotation if part in node.model_fields else None
        inner = getattr(annotation, "__args__", (annotation,))
        node = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if node is None:
            return []
    return list(node.model_fields)
