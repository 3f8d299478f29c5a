"""``potstill inspect``: what a model is, without running it."""

from __future__ import annotations

from typing import Any

from potstill.families.load import load


def inspect(model: str) -> dict[str, Any]:
    """Family, sizes, lengths and levels of a model, and its parameters by part; bytes as it lies in memory."""
    forecaster = load(model)
    parts: dict[str, int] = {}
    for name, weight in forecaster.module.named_parameters():
        part = name.split(".")[0]
        parts[part] = parts.get(part, 0) + weight.numel()
    return {
        "source": forecaster.source.location,
        "family": forecaster.family,
        "parameters": forecaster.parameters,
        "bytes": sum(weight.numel() * weight.element_size() for weight in forecaster.module.parameters()),
        "parts": parts,
        "context_length": forecaster.max_context,
        "prediction_length": forecaster.max_horizon,
        "patch": forecaster.patch,
        "levels": [round(level, 4) for level in forecaster.levels.tolist()],
        "licence": forecaster.source.licence,
        "fingerprint": forecaster.fingerprint,
    }
