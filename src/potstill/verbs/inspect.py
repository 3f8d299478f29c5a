"""``potstill inspect``: what a model is."""

from __future__ import annotations

from typing import Any

from potstill.families.base import Forecaster, Model
from potstill.families.language.load import is_language, load_language
from potstill.families.language.model import LanguageModel
from potstill.families.load import load


def inspect(model: str) -> dict[str, Any]:
    """What a model is, and its parameters by part; bytes as it lies in memory.

    Of a forecaster its lengths, patch and levels; of a language model its architecture, vocabulary and longest text.
    """
    if is_language(model):
        loaded = load_language(model)
        return _described(loaded, _of_language(loaded), depth=2)
    forecaster = load(model)
    return _described(forecaster, _of_forecaster(forecaster), depth=1)


def _described(model: Model, own: dict[str, Any], depth: int) -> dict[str, Any]:
    """What every model has around what is its kind's; ``depth``: how many levels of its module's names make a part."""
    parts: dict[str, int] = {}
    for name, weight in model.module.named_parameters():
        part = ".".join(name.split(".")[:depth])
        parts[part] = parts.get(part, 0) + weight.numel()
    return {
        "source": model.source.location,
        "family": model.family,
        "parameters": model.parameters,
        "bytes": sum(weight.numel() * weight.element_size() for weight in model.module.parameters()),
        "parts": parts,
        **own,
        "licence": model.source.licence,
        "fingerprint": model.fingerprint,
    }


def _of_forecaster(forecaster: Forecaster) -> dict[str, Any]:
    return {
        "context_length": forecaster.max_context,
        "prediction_length": forecaster.max_horizon,
        "patch": forecaster.horizon_multiple,
        "levels": [round(level, 4) for level in forecaster.levels.tolist()],
    }


def _of_language(model: LanguageModel) -> dict[str, Any]:
    config = model.module.config.get_text_config()
    return {
        "architecture": config.model_type,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "vocabulary": model.vocabulary,
        "max_length": model.max_length,
    }
