"""Export a language model: graph, quantised graph, comparison with PyTorch, folder."""

from __future__ import annotations

import copy
import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potstill.errors import UserError
from potstill.exporting.language.card import card
from potstill.exporting.language.folder import digests, graph_files, write_graph
from potstill.exporting.language.names import DESCRIPTION_FILE, EXPORT_KIND, EXPORT_VERSION, TOKENIZER_FILE
from potstill.exporting.language.parity import PYTORCH, LanguageExport, OnnxEngine, TorchEngine, compare
from potstill.exporting.language.runner import OnnxLanguageModel
from potstill.exporting.packages import require
from potstill.runs import write_atomically, write_folder, write_json
from potstill.runs.card import file_name

if TYPE_CHECKING:
    from potstill.evaluation.language.scoring import HeldOut
    from potstill.families.language.model import LanguageModel

BITS = {"int8": 8, "int4": 4}
MAX_LOSS = 0.01  # of perplexity, above which a quantised graph is refused
MAX_DIFFERENCE = 1e-3  # of the graph's logits in fp32, relative to the largest logit
_PACKAGES = ("potstill", "torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime")


def export_language(
    model: LanguageModel,
    output: str | Path,
    *,
    examples: HeldOut,
    format: str = "onnx",
    quantize: str | None = None,
    allow_loss: bool = False,
) -> LanguageExport:
    """Write a folder with a graph that generates, its tokenizer, export.json and README.md.

    Parameters
    ----------
    model
        It is not changed.
    output
        A folder that does not exist yet. It is written as a whole or not at all.
    examples
        Validation texts, on whose answer tokens the perplexity is measured (at most 100 texts, a fixed sample).
    format
        ``onnx``.
    quantize
        ``int8`` or ``int4``: weights of so many bits; None: fp32.
    allow_loss
        Also write a quantised graph whose perplexity is more than 1 % above PyTorch's.

    Returns
    -------
    LanguageExport
        With a table of the forms next to PyTorch.

    Raises
    ------
    UserError
        For an unknown format or quantisation, a model that cannot be traced or whose graph does not agree with it, a
        tokenizer without a tokenizer.json, a loss of more than 1 %, or a missing package.
    """
    output = Path(output)
    _check(model, output, format, quantize)
    from potstill.exporting.language.graph import onnx_graph
    from potstill.exporting.language.quantise import quantise

    graph = onnx_graph(model)
    made: list[LanguageExport] = []

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.fp32.") as name:
            whole = Path(name)
            forms = {"ONNX fp32": whole if quantize else folder}
            _write_model(model, forms["ONNX fp32"], graph, None)
            if quantize:
                forms[f"ONNX {quantize}"] = folder
                _write_model(model, folder, quantise(graph, BITS[quantize]), quantize)
            result = _compared(model, output, forms, examples)
        _check_loss(result, quantize, allow_loss)
        _finish(model, folder, result)
        made.append(result)

    write_folder(output, fill)
    return made[0]


def _check(model: LanguageModel, output: Path, format: str, quantize: str | None) -> None:
    if format != "onnx":
        raise UserError(
            f"--format {format}: language models are exported as onnx; write --format onnx.",
            key="export.language_format",
        )
    if quantize is not None and quantize not in BITS:
        raise UserError(
            f"--quantize {quantize}: language models are quantised to {' or '.join(BITS)}; choose one of them.",
            key="export.language_quantisation",
        )
    if output.exists():
        raise UserError(f"{output}: already exists; choose another --output.", key="output.exists")
    require("onnx", "onnxscript", "onnxruntime")
    if not getattr(model.tokenizer, "is_fast", False):
        raise UserError(
            f"{model.source.location}: its tokenizer has no tokenizer.json, which the export needs; convert the"
            " tokenizer to a fast one.",
            key="export.slow_tokenizer",
        )


def _write_model(model: LanguageModel, folder: Path, graph: Any, quantize: str | None) -> None:
    """Everything that ``OnnxLanguageModel.load`` reads."""
    write_graph(folder, graph)
    model.tokenizer.save_pretrained(folder)
    if not (folder / TOKENIZER_FILE).exists():
        raise UserError(
            f"{model.source.location}: its tokenizer cannot be saved as tokenizer.json, which the export needs.",
            key="export.slow_tokenizer",
        )
    source = model.source
    description = {
        "kind": EXPORT_KIND,
        "version": EXPORT_VERSION,
        "format": "onnx",
        "quantize": quantize,
        "vocabulary": model.vocabulary,
        "max_length": model.max_length,
        "ends": model.ends,
        "pad": model.tokenizer.pad_token_id,
        "licence": source.licence,
        "provenance": {
            "source": file_name(source.location),
            "revision": source.revision,
            "architecture": type(model.module).__name__,
            "fingerprint": model.fingerprint,
            "parameters": model.parameters,
            "versions": {package: version(package) for package in _PACKAGES},
        },
        "files": digests(folder),
    }
    write_json(folder / DESCRIPTION_FILE, description)


def _compared(model: LanguageModel, output: Path, forms: dict[str, Path], examples: HeldOut) -> LanguageExport:
    import torch

    module = copy.deepcopy(model.module).cpu().float().eval()
    threads = torch.get_num_threads()
    engines: dict[str, Any] = {PYTORCH: TorchEngine(module)}
    engines |= {name: OnnxEngine(OnnxLanguageModel.load(folder, threads)) for name, folder in forms.items()}
    sizes = {name: sum(path.stat().st_size for path in graph_files(folder)) for name, folder in forms.items()}
    sizes[PYTORCH] = sum(weight.numel() * weight.element_size() for weight in module.parameters())
    found = compare(engines, sizes, examples, model.max_length)
    fp32 = found.rows[1]
    if not fp32.max_logit_difference <= MAX_DIFFERENCE * max(1.0, found.largest_logit):
        raise UserError(
            f"{model.source.location}: the logits of its graph differ from PyTorch's by up to"
            f" {fp32.max_logit_difference:.2g}, so it is not written; export another model.",
            key="export.not_equal",
        )
    return LanguageExport(output, found.rows, found.texts, found.tokens)


def _check_loss(result: LanguageExport, quantize: str | None, allow_loss: bool) -> None:
    if quantize and not allow_loss and not result.loss <= MAX_LOSS:
        before, after = result.rows[0].perplexity, result.rows[-1].perplexity
        other = "int8" if quantize == "int4" else "no --quantize"
        raise UserError(
            f"--quantize {quantize}: raises the perplexity on {result.texts:,} validation texts by {result.loss:.1%}"
            f" (from {before:.4g} to {after:.4g}), more than {MAX_LOSS:.0%}; write --allow-loss to accept it, or"
            f" {other}.",
            key="export.loss",
        )


def _finish(model: LanguageModel, folder: Path, result: LanguageExport) -> None:
    """Add the table to export.json, and the card."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    description["parity"] = result.to_dict()
    write_json(folder / DESCRIPTION_FILE, description)
    write_atomically(folder / "README.md", card(model.source.name, description, result))
