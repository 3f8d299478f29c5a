"""Convert an ONNX file to OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

GRAPH_FILE = "model.xml"
WEIGHTS_FILE = "model.bin"


def read(path: Path) -> Any:
    """An OpenVINO model from an ONNX file."""
    import openvino

    return openvino.Core().read_model(str(path))


def write(model: Any, folder: Path, half: bool) -> None:
    """Write the model's two files; with ``half`` the weights are stored in 16 bits."""
    import openvino

    openvino.save_model(model, folder / GRAPH_FILE, compress_to_fp16=half)
