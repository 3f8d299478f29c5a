"""How a model is exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from potstill.errors import UnknownName, UserError

Format = Literal["onnx", "openvino"]
MAX_LOSS = 0.01  # relative to PyTorch: above it layers are kept in fp32, and an export is refused
Quantisation = Literal["int8", "int8-weights", "bf16", "int4"]


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported.

    Attributes
    ----------
    format
        ``onnx`` or ``openvino``.
    quantize
        ``int8``, ``int8-weights``, ``bf16``, or None for fp32.
    groups
        Whether the graph reads group ids and covariates.
    """

    format: Format = "onnx"
    quantize: Quantisation | None = None
    groups: bool = False

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            raise UnknownName("format", self.format, list(get_args(Format)))
        if self.quantize not in (None, *get_args(Quantisation)):
            raise UnknownName("quantisation", str(self.quantize), list(get_args(Quantisation)))
        if self.quantize == "int4":
            raise UserError(
                "--quantize int4: is for language models; use int8 for forecasters.", key="export.language_only"
            )
        if self.format == "onnx" and self.quantize in ("bf16", "int8-weights"):
            raise UserError(
                f"--quantize {self.quantize}: ONNX Runtime has no such kernels for forecasters on CPUs; use"
                f" --format openvino --quantize {self.quantize}, or --quantize int8.",
                key="export.no_kernels",
            )

    @property
    def packages(self) -> list[str]:
        """The packages that this export needs."""
        second = ["openvino"] if self.format == "openvino" else []
        third = ["nncf"] if second and self.quantize in ("int8", "int8-weights") else []
        return ["onnx", "onnxscript", "onnxruntime", *second, *third]
