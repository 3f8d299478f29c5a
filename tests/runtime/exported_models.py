"""Small models with random weights, and the folders that they are exported to."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from potstill.families.base import Forecaster
from potstill.families.registry import family
from potstill.runtime.folder import FORMAT, MANIFEST_FILE, VERSION, digest_of

CONTEXT, HORIZON = 96, 24
SIZES: dict[str, dict[str, Any]] = {
    "chronos2": {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64},
    "patch_transformer": {"d_model": 32, "num_layers": 1, "num_heads": 2, "patch_size": 16},
    "mixer": {"d_model": 32, "num_layers": 1, "patch_size": 16},
    "linear": {},
}
NAMES = tuple(SIZES)


def build(name: str, seed: int = 0) -> Forecaster:
    """An untrained model with noise on its weights, and intervals that are scaled."""
    torch.manual_seed(seed)
    one = family(name)
    model = one.build(one.design(None, SIZES[name], CONTEXT, HORIZON), 0.0)
    with torch.no_grad():
        for weight in model.module.parameters():
            weight += 0.02 * torch.randn_like(weight)
    if name != "chronos2":
        model.spread = 1.3
    model.module.eval()
    return model


def export(model: Forecaster, folder: Path) -> Path:
    """Write an exported folder."""
    graph = family(model.family).graph(model)
    dynamic = torch.export.Dim.DYNAMIC
    context = torch.randn(3, model.max_context if graph.fixed else 2 * graph.context_multiple)
    context[0, :20] = torch.nan
    inputs: Mapping[str, Any] = (
        {"context": {0: dynamic}} if graph.fixed else {"context": {0: dynamic, 1: dynamic}, "patches": {0: dynamic}}
    )
    example = (context,) if graph.fixed else (context, torch.zeros(2))
    folder.mkdir(parents=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module,
            example,
            dynamo=True,
            input_names=list(inputs),
            output_names=["values"],
            dynamic_shapes=inputs,
            opset_version=20,
            verbose=False,
        )
    assert program is not None
    program.save(str(folder / "model.onnx"))
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": model.family,
        "family": model.family,
        "parameters": model.parameters,
        "levels": [round(level, 6) for level in model.levels.tolist()],
        "max_context": model.max_context,
        "max_horizon": model.max_horizon,
        "backend": "onnx",
        "precision": "fp32",
        "graph": "model.onnx",
        "files": {"model.onnx": digest_of(folder / "model.onnx")},
        "context_multiple": graph.context_multiple,
        "horizon_multiple": graph.horizon_multiple,
        "fixed": graph.fixed,
        "arcsinh": graph.arcsinh,
        "constant_scale": graph.constant_scale,
        "rounding": graph.rounding,
        "rollout": graph.rollout,
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    return folder
