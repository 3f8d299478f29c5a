"""How a model is exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from potstill.errors import UserError

Format = Literal["onnx", "openvino"]
Quantisation = Literal["int8", "int8-weights", "bf16"]


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported.

    Attributes
    ----------
    format
        ``onnx`` or ``openvino``.
    quantize
        ``int8``, ``int8-weights``, ``bf16``, or None for fp32.
    limit
        The loss, relative to PyTorch, above which layers are kept in fp32.
    """

    format: Format = "onnx"
    quantize: Quantisation | None = None
    limit: float = 0.01

    def __post_init__(self) -> None:
        if self.format == "onnx" and self.quantize in ("bf16", "int8-weights"):
            raise UserError(
                f"--quantize {self.quantize}: ONNX Runtime has no such kernels for forecasters on CPUs; use"
                f" --format openvino --quantize {self.quantize}, or --quantize int8.",
                key="export.no_kernels",
            )
