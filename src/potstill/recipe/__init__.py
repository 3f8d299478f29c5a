"""The configuration of a run.

Reading a recipe does not import torch, so that ``--help`` and messages about unknown keys appear immediately.
"""

from potstill.recipe.data import DataConfig, SeriesData, TextData
from potstill.recipe.device import DeviceData, GroupConfig
from potstill.recipe.evaluation import EvaluationConfig, ForecastEvaluation, LanguageEvaluation
from potstill.recipe.gkd import ForecastGkdRecipe, GkdRecipe, LanguageGkdRecipe
from potstill.recipe.mixture import ExpertConfig, JointConfig, RouterConfig
from potstill.recipe.objective import ForecastObjective, HorizonWeights, LanguageObjective, ObjectiveConfig
from potstill.recipe.recipe import ForecastRecipe, LanguageRecipe, MixtureRecipe, OfflineRecipe, Recipe
from potstill.recipe.student import ForecastStudent, GrowConfig, LanguageStudent, StudentConfig
from potstill.recipe.teacher import TeacherConfig
from potstill.recipe.training import (
    ForecastGkd,
    ForecastGkdConfig,
    ForecastTraining,
    GkdConfig,
    LanguageGkd,
    LanguageGkdConfig,
    LanguageTraining,
    RolloutConfig,
    TrainingConfig,
)

__all__ = [
    "DataConfig",
    "DeviceData",
    "EvaluationConfig",
    "ExpertConfig",
    "ForecastEvaluation",
    "ForecastGkd",
    "ForecastGkdConfig",
    "ForecastGkdRecipe",
    "ForecastObjective",
    "ForecastRecipe",
    "ForecastStudent",
    "ForecastTraining",
    "GkdConfig",
    "GkdRecipe",
    "GroupConfig",
    "GrowConfig",
    "HorizonWeights",
    "JointConfig",
    "LanguageEvaluation",
    "LanguageGkd",
    "LanguageGkdConfig",
    "LanguageGkdRecipe",
    "LanguageObjective",
    "LanguageRecipe",
    "LanguageStudent",
    "LanguageTraining",
    "MixtureRecipe",
    "ObjectiveConfig",
    "OfflineRecipe",
    "Recipe",
    "RolloutConfig",
    "RouterConfig",
    "SeriesData",
    "StudentConfig",
    "TeacherConfig",
    "TextData",
    "TrainingConfig",
]
