"""``potstill inspect``: describe a model."""

from __future__ import annotations

from typing import Any

from potstill.families.base import Forecaster, Model
from potstill.families.load import load


def inspect(model: str) -> dict[str, Any]:
    """Describe a model: family, parameters by part, bytes in memory, layers, width, heads and signals.

    ``signals`` are the outputs that a forward pass can return. For a forecaster also its lengths, patch and levels; for
    a language model its architecture, vocabulary and maximum length.
    """
    loaded = load(model)
    if isinstance(loaded, Forecaster):
        return _described(loaded, _of_forecaster(loaded), depth=1)
    return _described(loaded, _of_language(loaded), depth=2)


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
    }


def _of_language(model: Model) -> dict[str, Any]:
    config: Any = model.module.config
    return {
        "architecture": config.get_text_config().model_type,
        "vocabulary": model.info.vocabulary,
        "max_length": model.info.max_context,
    }
