"""The arms of ``students.py``: what is trained, from whom, for how long; each in a run folder that is made once.

Students of one teacher read one label store, which the first of them makes. Each control still gets the whole time that
the labels its student reads took, as if that student had come alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.recipe import Recipe
from potstill.recipe.notation import parse_yaml
from potstill.tasks.control import control_steps
from potstill.tasks.forecasting import prepare
from potstill.tasks.training_data import TrainingData
from potstill.verbs import distill, label

ROOT = Path(__file__).parents[1]


@dataclass
class Arm:
    """One student to train: its name, its teacher's, the recipe without length, and the length told."""

    name: str
    teacher: str
    recipe: Recipe
    steps: int | None
    minutes: float | None

    def run(self, folder: Path) -> Path:
        """Where the arm's run lies."""
        return folder / self.name

    def finished(self, folder: Path) -> bool:
        """Whether it was trained to its end."""
        return (self.run(folder) / "metrics.json").exists()

    def check(self, folder: Path, teacher: Forecaster) -> None:
        """Refuse a finished run that was trained by another recipe, or whose teacher has other weights by now."""
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
    """The parsed file of arms: teachers and rivals by name, the arms, and every key's own value."""

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
        Dotted keys laid over every arm's recipe, such as ``training.max_steps``, which then is every arm's length.
    """
    tree = parse_yaml(path.read_text(encoding="utf-8"))
    teachers = {name: _located(source) for name, source in tree["teachers"].items()}
    arms = []
    for name, told in tree["arms"].items():
        over = {**_dotted(told.get("recipe", {})), **overrides, "data.paths": [str(p) for p in paths]}
        over |= {"teacher": f"{told['teacher']}={teachers[told['teacher']]}", "student": told["student"]}
        recipe = Recipe.lay_over(json.loads(json.dumps(tree["recipe"])), over, path)
        steps = recipe.training.max_steps or told.get("steps")
        if (steps is None) == (told.get("minutes") is None) and "training.max_steps" not in overrides:
            raise UserError(f"{path}: arm {name}: give either steps or minutes.")
        arms.append(Arm(name, told["teacher"], recipe, steps, told.get("minutes")))
    return Plan(teachers, {name: _located(source) for name, source in tree.get("rivals", {}).items()}, arms)


def train(arm: Arm, folder: Path) -> None:
    """Train an arm's student and control, or go on where they were stopped; nothing where they are finished."""
    run = arm.run(folder)
    if arm.finished(folder):
        return
    if (run / "recipe.yaml").exists():
        distill(output=run, resume=True)
        return
    recipe = arm.recipe.model_copy(deep=True)
    recipe.training.max_steps = arm.steps or _steps_in(arm)
    labels = label(recipe, folder / f"labels-{arm.teacher}")
    recipe.labels, recipe.control = str(labels), True
    distill(recipe, run)


def _steps_in(arm: Arm) -> int:
    """How many steps the student takes in the arm's minutes: what a control gets that has this time and no other."""
    recipe = arm.recipe.model_copy(deep=True)
    recipe.training.max_steps = 1
    setup = prepare(recipe)
    lessons = TrainingData.of(setup, None)
    lessons.labelling = 60 * (arm.minutes or 0.0)
    student = setup.family.build(setup.architecture, recipe.training.dropout)
    return max(1, control_steps(setup, lessons, student, taken=0))


def _located(source: str) -> str:
    """A folder named from the repository's root, or the source as it is."""
    return str(ROOT / source) if (ROOT / source).is_dir() else source


def _dotted(tree: dict[str, Any], head: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones, so that they lie over single values and leave their neighbours."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _dotted(value, f"{head}{key}.") if isinstance(value, dict) else {head + key: value}
    return found
