"""The arms of ``students.py``: student, teacher and length of each training; each arm has a run folder and runs once.

Students of one teacher read one label store, which the first of them writes. Each control still gets the whole time
that these labels took, as if its student were the only one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.recipe import OfflineRecipe, Recipe
from potstill.recipe.notation import parse_yaml
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.base import TrainingData
from potstill.training.control import steps_in
from potstill.verbs import distill, label

ROOT = Path(__file__).parents[1]
TIMED = 5000  # length of the training whose first steps are timed: it logs as rarely as the real one


@dataclass
class Arm:
    """One student to train: its name, its teacher's name, the recipe without length, the length in steps or minutes."""

    name: str
    teacher: str
    recipe: Recipe
    steps: int | None
    minutes: float | None

    def run(self, folder: Path) -> Path:
        """The folder of the arm's run."""
        return folder / self.name

    def finished(self, folder: Path) -> bool:
        """Whether its training is finished."""
        return (self.run(folder) / "metrics.json").exists()

    def check(self, folder: Path, teacher: Forecaster) -> None:
        """Refuse a finished run that was trained with another recipe, or whose teacher's weights have changed since."""
        run = self.run(folder)
        done = Recipe.read(run / "recipe.yaml")
        for part in ("student", "data", "objective"):
            if getattr(done, part) != getattr(self.recipe.absolute(), part):
                raise UserError(f"{run}: was trained with another {part}; remove it to train it again.")
        provenance = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["provenance"]
        if provenance["teachers"][self.teacher]["fingerprint"] != teacher.fingerprint:
            labels = folder / f"labels-{self.teacher}"
            raise UserError(f"{run}: its teacher has other weights by now; remove it and {labels} to train it again.")


@dataclass
class Plan:
    """The parsed file of arms: teachers and rivals by name, and the arms."""

    teachers: dict[str, str]
    rivals: dict[str, str]
    arms: list[Arm]


def read_plan(path: Path, paths: Iterable[Path], overrides: dict[str, Any]) -> Plan:
    """Read the YAML file of arms.

    Parameters
    ----------
    path
        See ``students.yaml``.
    paths
        The data to train on.
    overrides
        Dotted keys that override every arm's recipe, such as ``training.max_steps``, the length of every arm then.
    """
    tree = parse_yaml(path.read_text(encoding="utf-8"))
    teachers = {name: _located(source) for name, source in tree["teachers"].items()}
    arms = []
    for name, arm in tree["arms"].items():
        over = {**_dotted(arm.get("recipe", {})), **overrides, "data.paths": [str(p) for p in paths]}
        over |= {"teacher": f"{arm['teacher']}={teachers[arm['teacher']]}", "student": arm["student"]}
        recipe = Recipe.lay_over(json.loads(json.dumps(tree["recipe"])), over, path)
        steps = recipe.training.max_steps or arm.get("steps")
        if (steps is None) == (arm.get("minutes") is None) and "training.max_steps" not in overrides:
            raise UserError(f"{path}: arm {name}: give either steps or minutes.")
        arms.append(Arm(name, arm["teacher"], recipe, steps, arm.get("minutes")))
    return Plan(teachers, {name: _located(source) for name, source in tree.get("rivals", {}).items()}, arms)


def train(arm: Arm, folder: Path) -> None:
    """Train an arm's student and control, or resume them; do nothing if they are finished."""
    run = arm.run(folder)
    if arm.finished(folder):
        return
    if (run / "recipe.yaml").exists():
        distill(output=run, resume=True)
        return
    recipe = arm.recipe.model_copy(deep=True)
    assert isinstance(recipe, OfflineRecipe)
    recipe.training.max_steps = arm.steps or _steps_in(arm)
    labels = label(recipe, folder / f"labels-{arm.teacher}")
    recipe.labels, recipe.control = str(labels), True
    distill(recipe, run)


def _steps_in(arm: Arm) -> int:
    """How many steps the student takes in the arm's minutes, computed like the steps of a control with this time."""
    recipe = arm.recipe.model_copy(deep=True)
    recipe.training.max_steps = TIMED
    task = prepare_forecasting(recipe)
    alone = TrainingData(task.dataset(TIMED))
    return steps_in(60 * (arm.minutes or 0.0), lambda: task.training(arm.name, alone, TIMED, dict, random_start=True))


def _located(source: str) -> str:
    """A folder relative to the repository's root, or the source as it is."""
    return str(ROOT / source) if (ROOT / source).is_dir() else source


def _dotted(tree: dict[str, Any], head: str = "") -> dict[str, Any]:
    """Nested keys as dotted keys, so that they override single values and keep the others."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _dotted(value, f"{head}{key}.") if isinstance(value, dict) else {head + key: value}
    return found
