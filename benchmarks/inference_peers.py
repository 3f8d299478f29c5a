"""Peers of the exported students: what other libraries run, as arms of ``inference_speed.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Arm = Callable[[np.ndarray], Any]


def pipeline(run: Path, horizon: int) -> Arm:
    """The student in chronos-forecasting, as a user without Potstill would run it."""
    from chronos import Chronos2Pipeline

    model: Any = Chronos2Pipeline.from_pretrained(str(run / "student"), device_map="cpu")
    levels = [0.1, 0.5, 0.9]
    return lambda contexts: model.predict_quantiles(
        [torch.from_numpy(row).float() for row in contexts], prediction_length=horizon, quantile_levels=levels
    )


def patch_mixer(folder: Path, threads: int, context: int, horizon: int) -> Arm:
    """A PatchTSMixer with context, patches and width of TTM-R1 (512, 64, 192), in ONNX Runtime."""
    import onnxruntime
    from transformers import PatchTSMixerConfig, PatchTSMixerForPrediction

    config = PatchTSMixerConfig(
        context_length=context,
        prediction_length=horizon,
        patch_length=64,
        patch_stride=64,
        d_model=192,
        num_layers=4,
        num_input_channels=1,
        scaling="std",
    )
    model = PatchTSMixerForPrediction(config).eval()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ttm-shaped.onnx"
    if not file.exists():
        batch = torch.export.Dim("batch")
        torch.onnx.export(
            _Prediction(model), (torch.zeros(4, context, 1),), str(file), dynamo=True, dynamic_shapes=({0: batch},)
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda contexts: session.run(None, {name: contexts[:, :, None].astype(np.float32)})


class _Prediction(torch.nn.Module):
    """The forecast alone, of a model that returns more."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """``[B, H, 1]`` of ``[B, C, 1]``."""
        return self.model(past_values=values).prediction_outputs


def statsforecast_arms(horizon: int) -> dict[str, Arm]:
    """AutoETS and AutoTheta, fitted to each series and forecast with a band."""
    from statsforecast.models import AutoETS, AutoTheta

    def fitted(make: Callable[[], Any]) -> Arm:
        return lambda contexts: [make().forecast(y=row, h=horizon, level=[80]) for row in contexts]

    return {
        "AutoETS": fitted(lambda: AutoETS(season_length=24)),
        "AutoTheta": fitted(lambda: AutoTheta(season_length=24)),
    }
