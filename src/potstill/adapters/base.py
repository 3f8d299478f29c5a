"""Common parts of the adapters: models and their names, missing libraries, covariates and levels that are not used."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from potstill.errors import UserError
from potstill.families.base import Model
from potstill.tasks.base import forecaster_of
from potstill.types import Predictor

#: quantile levels that adapters give where the library does not ask for certain ones
DECILES = tuple(round(0.1 * k, 1) for k in range(1, 10))


def predictor_of(model: Any, device: str | None = None) -> Predictor:
    """Load a MODEL, or check a loaded one.

    Parameters
    ----------
    model
        What the verbs take (a folder, a hub id, ``embedded``), a loaded forecaster, or any ``Predictor``.
    device
        Such as ``cpu`` or ``cuda:1``; default: a GPU if there is one. A loaded model stays where it is by default.

    Raises
    ------
    UserError
        If there is no forecaster at that place, or the object does not forecast.
    """
    if isinstance(model, (str, Path, Model)):
        return forecaster_of(model, device)
    missing = [name for name in ("predict", "levels", "max_context", "max_horizon") if not hasattr(model, name)]
    if missing:
        raise UserError(
            f"model: a {type(model).__name__} has no {missing[0]!r}, so it is no forecaster; give a folder, a hub id,"
            " 'embedded' or what potstill.load returns.",
            key="adapter.no_predictor",
        )
    return cast("Predictor", model)


def name_of(predictor: Any) -> str:
    """A predictor's name in messages: that of its source, or of its class."""
    return getattr(getattr(predictor, "source", None), "name", None) or type(predictor).__name__


def uses_covariates(predictor: Any) -> bool:
    """Whether a model can use covariates, and can forecast several series together."""
    return "forecast" in getattr(predictor, "group_signals", ())


def warn_unused(predictor: Any, names: Sequence[str]) -> None:
    """Warn that a model does not use these covariates."""
    if names:
        warnings.warn(f"{name_of(predictor)} cannot use covariates; ignored: {', '.join(names)}", stacklevel=3)


def own_levels(predictor: Predictor) -> list[float]:
    """The quantile levels of a model, ascending, as short decimals."""
    return [round(level, 6) for level in predictor.levels.tolist()]


def check_levels(predictor: Predictor, levels: Sequence[float]) -> list[float]:
    """Quantile levels in ascending order, once each; warns of those beyond the model's own.

    Raises
    ------
    UserError
        If a level is not between 0 and 1.
    """
    wrong = [level for level in levels if not 0 < level < 1]
    if wrong or not levels:
        raise UserError(
            f"quantile levels {list(levels)}: give levels between 0 and 1, such as [0.1, 0.5, 0.9].",
            key="quantiles.bad_levels",
        )
    own = own_levels(predictor)
    if min(levels) < own[0] - 1e-6 or max(levels) > own[-1] + 1e-6:
        warnings.warn(
            f"{name_of(predictor)} forecasts the levels {own[0]:g} to {own[-1]:g}; beyond them quantiles stay flat",
            stacklevel=3,
        )
    return sorted(set(levels))


def missing_library(library: str, error: ImportError) -> UserError:
    """The error for a library that an adapter needs and that cannot be imported."""
    return UserError(
        f"potstill.adapters.{library} needs {library} ({error}); run `pip install {library}`.",
        key="adapter.missing_library",
    )
