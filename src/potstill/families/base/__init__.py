"""The base classes that every family subclasses.

A family is one file or folder: a :class:`Family`, which loads and builds models, and the :class:`Model` that it returns
(a :class:`Forecaster` if it forecasts). Nothing here depends on a particular family.
"""

from potstill.families.base.family import Architecture, Family, TeacherFamily
from potstill.families.base.forecaster import Forecaster, as_windows, batches_of
from potstill.families.base.graph import Graph
from potstill.families.base.levels import check_levels
from potstill.families.base.model import Model, ModelSource, evaluating
from potstill.families.base.units import in_safe_units

__all__ = [
    "Architecture",
    "Family",
    "Forecaster",
    "Graph",
    "Model",
    "ModelSource",
    "TeacherFamily",
    "as_windows",
    "batches_of",
    "check_levels",
    "evaluating",
    "in_safe_units",
]
