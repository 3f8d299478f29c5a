"""Settings of the other task: what a run would pass over in silence is refused by name."""

from __future__ import annotations

from potstill.errors import UserError
from potstill.recipe import LANGUAGE, Recipe

#: by task, what belongs to the other one
FOREIGN: dict[str, dict[str, tuple[str, ...]]] = {
    "language": {
        "data": (
            *("target", "columns", "context_length", "prediction_length", "stride", "missing"),
            *("balance", "synthetic", "augmented", "train_windows"),
        ),
        "training": ("random_horizon", "rollout"),
        "student": ("preset",),
        "evaluation": ("stride", "baselines"),
    },
    "forecast": {"data": ("max_length", "format"), "objective": ("temperature",)},
}
OWNER = {"language": "forecasters", "forecast": "language models"}


def refuse_foreign(recipe: Recipe) -> None:
    """Raise UserError for a setting of the other task's that was given and is not what it is anyway."""
    for part, keys in FOREIGN[recipe.task].items():
        node = getattr(recipe, part)
        for key in keys:
            usual = LANGUAGE.get(part, {}).get(key) if recipe.task == "language" else None
            usual = type(node)().model_dump()[key] if usual is None else usual
            if key in node.model_fields_set and node.model_dump()[key] != usual:
                raise UserError(
                    f"{part}.{key}: is for {OWNER[recipe.task]}; leave it out of a run with task: {recipe.task}."
                )
