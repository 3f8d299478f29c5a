"""Forecast with exported models: numpy and onnxruntime (or openvino), no torch.

This package is also the distribution ``potstill-runtime``, where it is called ``potstill_runtime``. It therefore
imports nothing else of Potstill, and itself only by relative imports.
"""

from .errors import ExportError, NotFinite
from .forecast import Forecast
from .runtime import Runtime

__all__ = ["ExportError", "Forecast", "NotFinite", "Runtime"]
