"""What a run needs before its first step: teachers, windows and the student's shape, checked against one another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch

from potstill.data.series.store import Store, open_store
from potstill.data.series.training_windows import TrainingWindows
from potstill.data.series.windows import SeriesWindows, require_windows
from potstill.errors import UserError
from potstill.evaluation.baselines import make_baseline
from potstill.families.base import Architecture, Family, Forecaster
from potstill.families.load import load
from potstill.families.registry import family
from potstill.objectives.base import import_terms
from potstill.objectives.objective import Objective
from potstill.recipe import Recipe, TrainingConfig
from potstill.tasks.foreign import refuse_foreign
from potstill.tasks.gkd import check_engine, check_forecasters
from potstill.tasks.lengths import fit_lengths

DEFAULT_FAMILY = "chronos2"
FEWEST_STEPS = 1000  # a small file has too few windows for one pass to train anything
LENGTHS = ("context_length", "prediction_length")
AUTO = "auto"  # labels: made by the run itself


class Job(Protocol):
    """What training and timing ask of a checked run, of forecasters or of language models."""

    recipe: Recipe
    device: str

    @property
    def horizon(self) -> int:
        """Steps of the future that the loss sees."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps of the student's training."""
        ...

    def training_windows(self, steps: int) -> Any:
        """The training data set of a run of that many steps."""
        ...

    def batches(self, count: int) -> list[list[int]]:
        """Ids of batches to time a step on, as the training has them."""
        ...

    def objective(self, alpha: float | None = None) -> Objective:
        """The recipe's objective, or the same with another α (0: the truth alone, further terms left out)."""
        ...


@dataclass
class Setup:
    """A checked run: everything but the student's weights. Its recipe is its own, to be resolved further."""

    recipe: Recipe
    device: str
    store: Store
    windows: SeriesWindows
    validation: SeriesWindows
    teachers: dict[str, Forecaster]
    family: Family

    @cached_property
    def architecture(self) -> Architecture:
        """The student's config; raises UserError where the sizes asked for do not fit."""
        teacher, data = next(iter(self.teachers.values()), None), self.recipe.data
        overrides = _overrides(self.recipe, self.family)
        return self.family.design(teacher, overrides, data.context_length, data.prediction_length)

    @property
    def horizon(self) -> int:
        """Steps of the future that the loss sees."""
        return self.recipe.data.prediction_length

    @property
    def steps(self) -> int:
        """Optimiser steps of the student's training."""
        return steps_of(self.recipe.training, len(self.windows))

    @property
    def windows_seen(self) -> int:
        """Windows that the student's training looks at, one seen twice counted twice."""
        return self.steps * self.recipe.training.batch_size * self.recipe.training.accumulate

    def training_windows(self, steps: int) -> TrainingWindows:
        """The training data set of a run of that many steps."""
        training = self.recipe.training
        length = steps * training.batch_size * training.accumulate
        return TrainingWindows(self.windows, self.recipe.data, training.seed, length)

    def batches(self, count: int) -> list[list[int]]:
        """The first one, again and again: windows are all of one size."""
        return [list(range(min(self.recipe.training.batch_size, len(self.training_windows(self.steps)))))] * count

    def objective(self, alpha: float | None = None) -> Objective:
        """The recipe's objective, or the same with another α (0: the truth alone, further terms left out)."""
        return objective_of(self.recipe, alpha)


def objective_of(recipe: Recipe, alpha: float | None) -> Objective:
    """A recipe's objective, or the same with another α."""
    config = recipe.objective
    if alpha is not None:
        config = config.model_copy(update={"alpha": alpha, "terms": {}})
    return Objective(config)


def steps_of(training: TrainingConfig, windows: int) -> int:
    """Optimiser steps: as many as told, else one pass or as many as the epochs say, and by default at least 1,000."""
    if training.max_steps is not None:
        return training.max_steps
    one_pass = windows / (training.batch_size * training.accumulate)
    if training.epochs is not None:
        return max(1, round(one_pass * training.epochs))
    return max(FEWEST_STEPS, round(one_pass))


def prepare(recipe: Recipe) -> Setup:
    """Load, cut and check everything a run needs.

    Raises
    ------
    UserError
        One sentence on what does not fit: a term without a teacher, lengths beyond the teacher's, no usable window.
    """
    if not recipe.data.paths:
        raise UserError("data.paths: no data given; name a CSV or Parquet file or a folder with --data.")
    recipe = recipe.model_copy(deep=True)
    refuse_foreign(recipe)
    import_terms(recipe.imports)
    for baseline in recipe.evaluation.baselines:
        make_baseline(baseline)  # a misspelt one must not wait for the end of the training
    needs = Objective(recipe.objective).needs
    check_engine(recipe)
    _check_objective(recipe, needs)
    device = available(recipe.training.device)
    teachers = {name: t.freeze() for name, t in load_teachers(recipe, device).items()}
    recipe.data = fit_lengths(recipe.data, list(teachers.values()))
    store = open_store(recipe.data)
    windows = SeriesWindows(store, recipe.data, "train")
    if recipe.data.synthetic < 1:
        require_windows(windows)
    validation = SeriesWindows(store, recipe.data, "validation")
    require_windows(validation)
    require_windows(SeriesWindows(store, recipe.data, recipe.evaluation.split, stride=1))
    first = next(iter(teachers.values()), None)
    chosen = family(recipe.student.family or (first.family if first else DEFAULT_FAMILY))
    check_forecasters(recipe, [teacher.family for teacher in teachers.values()], chosen.name)
    return Setup(recipe, device, store, windows, validation, teachers, chosen)


def load_teachers(recipe: Recipe, device: str) -> dict[str, Forecaster]:
    """The recipe's teachers by name."""
    loaded: dict[str, Forecaster] = {}
    for config in recipe.teacher:
        name = config.name or config.source.rstrip("/").split("/")[-1]
        if name in loaded:
            raise UserError(f"teacher: two teachers are called {name!r}; name them apart, as in first=ID.")
        loaded[name] = load(config.source, device=device, precision=config.precision, revision=config.revision)
    return loaded


def _overrides(recipe: Recipe, chosen: Family) -> dict[str, Any]:
    for key, value in recipe.student.overrides.items():
        other = "training.dropout" if "dropout" in key else f"data.{key}" if key in LENGTHS else None
        if other is not None:
            raise UserError(f"--student: {key} is decided by {other}; write --set {other}={value} instead.")
    preset = recipe.student.preset
    if preset is None:
        return recipe.student.overrides
    if preset not in chosen.presets:
        raise UserError(
            f"student.preset: {chosen.name} has no {preset!r}; known: {', '.join(chosen.presets) or 'none'}."
        )
    return {**chosen.presets[preset], **recipe.student.overrides}


def _check_objective(recipe: Recipe, needs: frozenset[str]) -> None:
    if needs and not recipe.teacher and not recipe.labels:
        raise UserError(
            "teacher: the objective asks for one (objective.alpha > 0);"
            " give --teacher, or --alpha 0 to train on the truth."
        )
    if recipe.labels == AUTO and len(recipe.teacher) != 1:
        raise UserError(
            f"labels: auto: a store holds one teacher's answers, {len(recipe.teacher)} given; leave it out."
        )
    unmet = needs - {"forecast"}
    if recipe.labels and unmet:
        raise UserError(f"labels: a store holds forecasts only, but the objective asks for {', '.join(sorted(unmet))}.")
    if recipe.training.rollout.share > 0 and (recipe.labels or not needs):
        raise UserError(
            "training.rollout: only a live teacher can say how to go on from where the student went; give"
            " --teacher and an --alpha above 0 without --labels, or leave training.rollout out."
        )
    if recipe.student.start == "teacher" and not recipe.teacher:
        raise UserError("student.start: teacher: there is no teacher to start from; give --teacher.")


def available(device: str | None) -> str:
    """The device asked for; without a wish cuda where there is one. Raises UserError where it is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU on this machine; use --device cpu.")
    return device or ("cuda" if torch.cuda.is_available() else "cpu")
