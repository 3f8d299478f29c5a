"""``training.engine: trl``: what a recipe may say with it, and what the plan says of it."""

from __future__ import annotations

from importlib.util import find_spec

from potstill.errors import UserError
from potstill.objectives.objective import Objective
from potstill.recipe import LANGUAGE, GkdConfig, ObjectiveConfig, Recipe

TRL = "trl"
FAMILY = "chronos2"  # the forecasters that TRL's trainer takes for a text model


def check_engine(recipe: Recipe) -> None:
    """Raise UserError where TRL's engine is wanted and something is asked for that it does not do."""
    training = recipe.training
    if training.engine != TRL:
        return
    if find_spec("trl") is None or find_spec("datasets") is None:
        raise UserError("training.engine: trl is not installed; run: pip install 'potstill[lm]'")
    for told, name in (
        (recipe.labels, "labels"),
        (training.rollout.share, "training.rollout"),
    ):
        if told:
            raise UserError(f"{name}: TRL's GKD asks the teacher wherever the student went (gkd.lmbda); leave it out.")
    usual = ObjectiveConfig(**(LANGUAGE["objective"] if recipe.task == "language" else {}))
    for key in ObjectiveConfig.model_fields:
        if getattr(recipe.objective, key) != getattr(usual, key):
            raise UserError(
                f"objective.{key}: TRL's GKD has a divergence of its own, training.gkd.beta; leave objective out, or"
                " write training.engine: potstill."
            )
    if training.random_horizon:
        raise UserError("training.random_horizon: TRL's GKD compares whole horizons; leave it out.")
    if not recipe.teacher:
        raise UserError("training.engine: trl asks a teacher; give --teacher, or write training.engine: potstill.")
    foreign, owner = ("form", "forecasters") if recipe.task == "language" else ("temperature", "language models")
    if getattr(training.gkd, foreign) != getattr(GkdConfig(), foreign):
        raise UserError(f"training.gkd.{foreign}: is for {owner}; leave it out.")
    if training.gkd.seq_kd and recipe.task == "forecast":
        raise UserError("training.gkd.seq_kd: a forecaster has no sequences of its teacher's to copy; leave it out.")
    if training.gkd.seq_kd and training.gkd.lmbda == 1:
        raise UserError(
            "training.gkd.seq_kd: with lmbda 1 all answers are the student's; lower lmbda, or leave seq_kd out."
        )


def check_forecasters(recipe: Recipe, teachers: list[str], student: str) -> None:
    """Raise UserError for families that TRL's trainer cannot drive; their names."""
    if recipe.training.engine == TRL and [*teachers, student] != [FAMILY, FAMILY]:
        raise UserError(
            f"training.engine: trl drives one {FAMILY} teacher and a {FAMILY} student, not"
            f" {', '.join(teachers) or 'no teacher'} and {student}; write training.engine: potstill."
        )


def objective_line(recipe: Recipe, objective: Objective) -> str:
    """For the plan: the terms of the objective, or what TRL trains by in its place."""
    if recipe.training.engine != TRL:
        terms = ", ".join(f"{weight:g} · {name}" for name, weight in objective.weights.items())
        tempered = f", temperature {recipe.objective.temperature:g}" if recipe.task == "language" else ""
        return f"Objective  {terms}{tempered}"
    gkd = recipe.training.gkd
    others = "from the teacher's own" if gkd.seq_kd else "as in the data"
    kind = "tokens" if recipe.task == "language" else "steps (in whole patches)"
    return (
        f"Objective  GKD by TRL, β {gkd.beta:g}: {gkd.lmbda:.0%} on the student's own answers of at most"
        f" {gkd.max_new_tokens:,} {kind}, the rest {others}"
    )
