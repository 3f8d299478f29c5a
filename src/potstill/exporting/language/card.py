"""The README.md of an exported folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from potstill.exporting.language.parity import LanguageExport

USE = """```python
from potstill.exporting.language import OnnxLanguageModel

model = OnnxLanguageModel.load("{folder}")
print(model.generate(["Once upon a time"], max_new_tokens=32))
```"""


def card(name: str, description: dict[str, Any], result: LanguageExport) -> str:
    """The text of the card, with the metadata that model hubs read."""
    from huggingface_hub import ModelCard, ModelCardData

    origin = description["provenance"]
    head = ModelCardData(
        license=description["licence"] or "other",
        library_name="onnx",
        pipeline_tag="text-generation",
        tags=["onnx", "onnxruntime", "potstill"],
    )
    weights = f"weights in {description['quantize']}" if description["quantize"] else "weights in fp32"
    versions = ", ".join(f"{package} {number}" for package, number in origin["versions"].items())
    paragraphs = [
        f"# {name} as ONNX",
        f"A causal language model ({origin['architecture']}, {origin['parameters']:,} parameters) as one ONNX graph,"
        f" {weights}. It generates with onnxruntime, numpy and tokenizers; PyTorch is not imported:",
        USE.format(folder=result.folder.name),
        "## Comparison with PyTorch",
        f"Perplexity and logits of the {result.tokens:,} answer tokens of {result.texts:,} validation texts. Speeds at"
        " batch 1 on the machine that exported the model.",
        result.table(),
        "## Provenance",
        f"- exported from {origin['source']}{' @ ' + origin['revision'] if origin['revision'] else ''}, fingerprint"
        f" `{origin['fingerprint'][:16]}`\n- licence: {description['licence'] or 'not stated'}\n- {versions}",
    ]
    return str(ModelCard(f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(paragraphs) + "\n"))
