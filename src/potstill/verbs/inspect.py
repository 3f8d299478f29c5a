"""``potstill inspect``: describe a model, and what the possible starts of a student keep of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.families.base import Forecaster, Model
from potstill.families.load import is_language, load
from potstill.recipe import Recipe
from potstill.recipe.options import resolve
from potstill.tasks.prepare import prepare
from potstill.tasks.starts import compare_starts


def inspect(model: str, recipe: Recipe | str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Describe a model: family, parameters by part, bytes in memory, layers, width, heads and signals.

    ``signals`` are the outputs that a forward pass can return. For a forecaster also its lengths, patch and levels; for
    a language model its architecture, vocabulary and maximum length.

    Parameters
    ----------
    model
        A folder, hub id, ``embedded`` or a GGUF file.
    recipe, options
        If given, the model is the teacher of a student: its size, and its error before any training with each start
        (``student.start``) are added, on the validation part of the data. Options as for ``distill``: ``student``
        (``"d_model=96,d_ff=288"``), ``data`` (default: the embedded data set), ``split`` …

    Raises
    ------
    UserError
        If the model cannot be loaded, or the options are invalid.
    """
    found = _description(load(model))
    if recipe is None and not options:
        return found
    task = "language" if is_language(model) else "forecast"
    data = {} if task == "language" else {"data": "embedded"}
    chosen = resolve(recipe, options)
    if chosen.data.paths:
        data = {}
    run = prepare(resolve(chosen, {"task": task, "teacher": model, **data}))
    return {**found, **compare_starts(run)}


def _description(model: Model) -> dict[str, Any]:
    if isinstance(model, Forecaster):
        return _described(model, _of_forecaster(model), depth=1)
    return _described(model, _of_language(model), depth=2)


def _described(model: Model, own: dict[str, Any], depth: int) -> dict[str, Any]:
    """The entries of every model together with ``own``, those of its kind.

    ``depth`` is the number of levels in parameter names that identify a part.
    """
    parts: dict[str, int] = {}
    for name, weight in model.module.named_parameters():
        part = ".".join(name.split(".")[:depth])
        parts[part] = parts.get(part, 0) + weight.numel()
    info = model.info
    active = {} if info.active_parameters == info.parameters else {"active_parameters": info.active_parameters}
    together = {"group_signals": sorted(info.group_signals)} if info.group_signals else {}
    return {
        "source": model.source.location,
        "family": info.family,
        "parameters": info.parameters,
        **active,
        "bytes": model.bytes,
        "parts": parts,
        "layers": info.layers,
        "width": info.width,
        "heads": info.heads,
        "signals": sorted(info.signals),
        **together,
        **own,
        "licence": model.source.licence,
        "fingerprint": model.fingerprint,
    }


def _of_forecaster(model: Forecaster) -> dict[str, Any]:
    return {
        "context_length": model.max_context,
        "prediction_length": model.max_horizon,
        "patch": model.horizon_multiple,
        "levels": [round(level, 4) for level in model.levels.tolist()],
        "calibrate_horizons": model.calibrate_horizons,
    }


def _of_language(model: Model) -> dict[str, Any]:
    config: Any = model.module.config
    return {
        "architecture": config.get_text_config().model_type,
        "vocabulary": model.info.vocabulary,
        "max_length": model.info.max_context,
    }
