"""The one configuration tree of a run.

Reading a recipe imports no torch, so that ``--help`` and a misspelt key answer at once.
"""

from potstill.recipe.sections import (
    LANGUAGE,
    DataConfig,
    EvaluationConfig,
    GkdConfig,
    ObjectiveConfig,
    RolloutConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)
from potstill.recipe.tree import Recipe

__all__ = [
    "LANGUAGE",
    "DataConfig",
    "EvaluationConfig",
    "GkdConfig",
    "ObjectiveConfig",
    "Recipe",
    "RolloutConfig",
    "StudentConfig",
    "TeacherConfig",
    "TrainingConfig",
]
