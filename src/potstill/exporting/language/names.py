"""Names of files, and of the inputs and outputs of a graph, that the exporter and the runner share."""

from __future__ import annotations

GRAPH_FILE, GRAPH_DATA_FILE = "model.onnx", "model.onnx.data"
DESCRIPTION_FILE, TOKENIZER_FILE = "export.json", "tokenizer.json"
EXPORT_KIND, EXPORT_VERSION = "potstill language model", 1


def cache_names(prefix: str, layers: int) -> list[str]:
    """Names of the keys and values of all layers, as ``past`` (inputs) or ``present`` (outputs)."""
    return [f"{prefix}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
