"""Language models as ONNX graphs that generate without PyTorch.

``export_language`` writes a folder: ``graph`` (PyTorch to ONNX, with keys and values of earlier tokens as inputs and
outputs), ``quantise`` (weights of 8 or 4 bits), ``parity`` (perplexity, speed and logits next to PyTorch's), ``folder``
(files, description, card). ``OnnxLanguageModel`` reads the folder and generates; it needs numpy, onnxruntime and
tokenizers. Importing this package imports no torch.
"""

from potstill.exporting.language.export import export_language
from potstill.exporting.language.parity import LanguageExport, ParityRow
from potstill.exporting.language.runner import OnnxLanguageModel

__all__ = ["LanguageExport", "OnnxLanguageModel", "ParityRow", "export_language"]
