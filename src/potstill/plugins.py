"""The public names that plug-ins use: the base classes, and the types of their inputs and outputs.

A package with a model family, or a Python file with terms of the objective, imports only from here. The modules behind
these names may change with any release; the names change only with a new minor version.

Examples
--------
>>> from potstill.plugins import Forecaster, Output, ModelSource, TeacherFamily, Windows
"""

from potstill.errors import UnknownName, UserError
from potstill.families.base import Architecture, Family, Forecaster, Model, ModelSource, TeacherFamily
from potstill.objectives.base import LossInputs, Requests, Term
from potstill.teaching.base import TargetProvider
from potstill.transfer.anatomy import Anatomy, Chosen, Fixed, Leading, OutputLayer, Reads, Units, Writes
from potstill.types import Forecast, Logits, ModelInfo, Output, Qkv, Request, Tokens, TopLogits, Windows

__all__ = [
    "Anatomy",
    "Architecture",
    "Chosen",
    "Family",
    "Fixed",
    "Forecast",
    "Forecaster",
    "Leading",
    "Logits",
    "LossInputs",
    "Model",
    "ModelInfo",
    "ModelSource",
    "Output",
    "OutputLayer",
    "Qkv",
    "Reads",
    "Request",
    "Requests",
    "TargetProvider",
    "TeacherFamily",
    "Term",
    "Tokens",
    "TopLogits",
    "Units",
    "UnknownName",
    "UserError",
    "Windows",
    "Writes",
]
