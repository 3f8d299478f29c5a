"""Small models with random weights, and the folders that they are exported to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from potstill.exporting.calibration import Calibration
from potstill.exporting.forecaster import write_forecaster
from potstill.exporting.options import ExportOptions
from potstill.families.base import Forecaster, ModelSource
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.registry import family

CONTEXT, HORIZON = 96, 24
SIZES: dict[str, dict[str, Any]] = {
    "chronos2": {"num_layers": 2, "d_model": 32, "num_heads": 2, "d_kv": 16, "d_ff": 64},
    "patch_transformer": {"d_model": 32, "num_layers": 1, "num_heads": 2, "patch_size": 16},
    "mixer": {"d_model": 32, "num_layers": 1, "patch_size": 16},
    "linear": {},
    "moirai": {"d_model": 64, "num_layers": 1, "patch_sizes": 16},
}
NAMES = tuple(SIZES)
MIXTURE, GROUPS = "mixture", "chronos2-groups"


def build(name: str, context: int = CONTEXT) -> Forecaster:
    """An untrained model with noise on its weights, whose intervals are scaled."""
    torch.manual_seed(0)
    one = family(name)
    model = one.build(one.design(None, SIZES[name], context, HORIZON), 0.0)
    with torch.no_grad():
        for weight in model.module.parameters():
            weight += 0.02 * torch.randn_like(weight)
        if name == "chronos2":  # forecasts of a trained model's size: random ones reach 100 times the scale
            model.module.output_patch_embedding.residual_layer.weight *= 0.1
            model.module.output_patch_embedding.output_layer.weight *= 0.1
    model.scale_spread(1.3)
    model.module.eval()
    return model


def build_mixture() -> Mixture:
    """Two experts with different contexts, and a router with random weights, so that series have different experts."""
    experts = {"short": build("linear", 48), "long": build("mixer")}
    mixture = Mixture(experts, RouterSettings(top_k=1, context=CONTEXT), ModelSource(MIXTURE, "made"), spread=1.1)
    torch.manual_seed(1)
    with torch.no_grad():
        torch.nn.init.normal_(mixture.router.network[-1].weight)  # pyright: ignore[reportArgumentType]
    mixture.router.fit_scale(torch.randn(64, CONTEXT).cumsum(1))
    mixture.module.eval()
    return mixture


def export(model: Forecaster, folder: Path, groups: bool = False) -> Path:
    """Write an exported folder in fp32 for ONNX Runtime."""
    folder.mkdir(parents=True)
    windows = Calibration(np.zeros((1, CONTEXT)), np.zeros((1, HORIZON)), np.zeros(1), np.ones(1))  # for int8 only
    write_forecaster(model, folder, ExportOptions(groups=groups), windows)
    return folder
