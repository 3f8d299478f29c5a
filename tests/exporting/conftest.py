"""Small forecasters with random weights, and windows for calibration."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from potstill.exporting import onnx_graph
from potstill.exporting.calibration import Calibration
from potstill.families.base import Forecaster, Graph
from potstill.families.registry import family

CONTEXT, HORIZON = 64, 32
SIZES: dict[str, dict[str, Any]] = {
    "chronos2": {"num_layers": 2, "d_model": 32, "d_ff": 64, "num_heads": 2, "d_kv": 16},
    "patch_transformer": {"num_layers": 2, "d_model": 32, "num_heads": 2, "patch_size": 8},
    "mixer": {"num_layers": 2, "d_model": 32, "patch_size": 8},
    "linear": {},
    "moirai": {"d_model": 64, "num_layers": 1, "patch_sizes": 16},
}


def build(name: str, seed: int = 0, context: int = CONTEXT, horizon: int = HORIZON) -> Forecaster:
    torch.manual_seed(seed)
    one = family(name)
    model = one.build(one.design(None, dict(SIZES[name]), context, horizon), dropout=0.0)
    with torch.no_grad():  # small students start as a constant
        for weight in model.module.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    model.scale_spread(1.25)
    return model.freeze()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Forecaster]:
    return build


@pytest.fixture(scope="session")
def _traced(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Path]:
    """ONNX files by the fingerprint of the model, and whether with groups: tracing takes most of the time."""
    return {}


@pytest.fixture(autouse=True)
def _trace_once(
    _traced: dict[tuple[str, bool], Path], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(graph: Graph, model: Forecaster, path: Path) -> None:
        key = model.fingerprint, graph.groups
        if key not in _traced:
            place = tmp_path_factory.mktemp("traced") / "model.onnx"
            trace(graph, model, place)
            _traced[key] = place
        shutil.copy(_traced[key], path)

    trace = onnx_graph.write_forecaster
    monkeypatch.setattr(onnx_graph, "write_forecaster", write)


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    """40 noisy seasonal series with gaps and their futures."""
    rng = np.random.default_rng(0)
    steps = np.arange(CONTEXT + HORIZON)
    series = np.sin(steps / 4 + rng.uniform(0, 6, (40, 1))) + 0.3 * rng.standard_normal((40, len(steps)))
    series = 5 + rng.uniform(0.1, 10, (40, 1)) * series
    series[::5, 10:20] = np.nan
    return Calibration(series[:, :CONTEXT], series[:, CONTEXT:], np.arange(40) % 2, np.ones(40))


@pytest.fixture(scope="session")
def related(calibration: Calibration) -> Calibration:
    """The same with two covariates, the first known ahead; some have only one."""
    rng = np.random.default_rng(1)
    known = (rng.random((40, 1, CONTEXT + HORIZON)) < 0.3).astype(float)
    past = 100 * rng.standard_normal((40, 1, CONTEXT)).cumsum(axis=2)
    past[::3] = np.nan
    return replace(calibration, past_covariates=past, future_covariates=known)
