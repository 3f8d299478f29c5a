"""What an export writes and measures, what it refuses, and folders that are damaged."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from language_texts import Texts
from tiny_gpt2 import tokenizer_of
from transformers import MambaConfig, MambaForCausalLM
from usage_errors import usage_error

from potstill.exporting.language import OnnxLanguageModel, export_language
from potstill.exporting.language import export as module
from potstill.exporting.language import folder as folder_module
from potstill.exporting.language.graph import onnx_graph
from potstill.families.load import load_language


def perplexity_by_hand(model: Any, texts: Texts) -> tuple[float, int]:
    """Over the answer tokens, text by text."""
    total, count = 0.0, 0
    for i in range(len(texts)):
        batch = texts.batch([i])
        with torch.no_grad():
            logits = model.module(input_ids=batch.input_ids).logits[0].double().log_softmax(-1)
        for place in range(1, batch.input_ids.shape[1]):
            if batch.answer[0, place]:
                total -= logits[place - 1, batch.input_ids[0, place]].item()
                count += 1
    return math.exp(total / count), count


def test_the_table_has_pytorchs_perplexity_and_the_graphs(exported, models, kind):
    result = exported(kind)
    by_hand, count = perplexity_by_hand(models[kind], Texts())
    pytorch, graph = result.rows
    assert (result.texts, result.tokens) == (len(Texts()), count)
    assert pytorch.perplexity == pytest.approx(by_hand, rel=1e-4)
    assert graph.perplexity == pytest.approx(by_hand, rel=1e-4)
    assert graph.max_logit_difference < 1e-4
    assert pytorch.bytes == 4 * models[kind].parameters
    assert graph.bytes == (result.folder / "model.onnx").stat().st_size
    assert result.loss == pytest.approx(0.0, abs=1e-4)


def test_tied_weights_are_stored_once(exported, models):
    """A second table would be 300 x 64 values of 4 bytes."""
    for kind in ("gpt2", "llama_tied"):
        weights = sum(len(t.raw_data) for t in onnx.load(exported(kind).folder / "model.onnx").graph.initializer)
        assert weights < 4 * models[kind].parameters + 20_000


@pytest.mark.parametrize(("quantize", "bits"), [("int8", 8), ("int4", 4)])
def test_all_layers_and_the_embedding_are_quantised(exported, models, kind, quantize, bits):
    result = exported(kind, quantize)
    assert [row.form for row in result.rows] == ["PyTorch fp32", "ONNX fp32", f"ONNX {quantize}"]
    nodes = onnx.load(result.folder / "model.onnx").graph.node
    products = [node for node in nodes if node.op_type == "MatMulNBits"]
    assert len(products) == (2 * 4 if kind.startswith("gpt2") else 2 * 7) + 1  # and the output layer
    assert all(next(a.i for a in node.attribute if a.name == "bits") == bits for node in products)
    assert sum(node.op_type == "GatherBlockQuantized" for node in nodes) == 1
    assert result.rows[2].max_logit_difference > 1e-3  # it is another graph
    assert result.rows[2].bytes < result.rows[1].bytes


def dequantised(model: Any, bits: int) -> Any:
    """The model in PyTorch with every large weight rounded: blocks of 32 inputs, 2 ** bits levels from min to max."""
    import copy

    module = copy.deepcopy(model.module)
    for name, weight in module.named_parameters():
        if weight.ndim != 2 or "wpe" in name:
            continue
        conv1d = module.config.model_type == "gpt2" and ".h." in name  # inputs before outputs
        matrix = weight.data.T if conv1d else weight.data
        blocks = matrix.reshape(len(matrix), -1, 32)
        low, high = blocks.amin(-1, True).clamp(max=0), blocks.amax(-1, True).clamp(min=0)
        scale = (high - low) / (2**bits - 1)
        zero = (-low / scale).round()
        rounded = ((blocks / scale).round() + zero).clamp(0, 2**bits - 1)
        matrix = ((rounded - zero) * scale).reshape(matrix.shape)
        weight.data = matrix.T.contiguous() if conv1d else matrix
    return module


@pytest.mark.parametrize(("quantize", "bits", "most"), [("int8", 8, 0.05), ("int4", 4, 0.1)])
def test_quantised_logits_are_those_of_rounded_weights(exported, models, kind, quantize, bits, most):
    """Next to the error of rounding activations, the graph is a PyTorch model whose weights were rounded by hand."""
    runner = OnnxLanguageModel.load(exported(kind, quantize).folder)
    ids = np.random.default_rng(0).integers(1, 250, (2, 20))
    with torch.no_grad():
        exact = models[kind].module(input_ids=torch.from_numpy(ids)).logits.numpy()
        rounded = dequantised(models[kind], bits)(input_ids=torch.from_numpy(ids)).logits.numpy()
    found = runner.step(ids, np.ones_like(ids)).logits
    spread = exact.std()
    assert np.sqrt(((found - rounded) ** 2).mean()) < most * spread
    if bits == 4:  # nearer to the rounded weights than to the exact ones
        assert ((found - rounded) ** 2).mean() < 0.2 * ((found - exact) ** 2).mean()


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_a_quantised_graph_generates_with_its_cache(exported, kind, quantize):
    runner = OnnxLanguageModel.load(exported(kind, quantize).folder)
    ids, mask = runner.encode(["What is two", "Below is an instruction"])
    written = runner.generate_ids(ids, mask, 8, stop=False)
    whole = np.concatenate([ids, written], axis=1)
    every = np.concatenate([mask, np.ones_like(written)], axis=1)
    logits = runner.step(whole, every).logits[:, ids.shape[1] - 1 : -1]
    chosen = np.take_along_axis(logits, written[..., None], axis=2)[..., 0]
    assert (chosen >= logits.max(axis=2) - 0.1 * logits.std()).all()


def test_a_loss_of_more_than_one_per_cent_is_refused(models, tmp_path, monkeypatch):
    """Nothing is left; with allow_loss the same export is written, and its table shows the loss."""
    model = models["llama_untied_padded"]
    monkeypatch.setattr(module, "MAX_LOSS", 1e-9)
    for texts in (Texts(12), Texts(13), Texts(14)):  # rounding can also lower a perplexity
        made = export_language(model, tmp_path / "made", examples=texts, quantize="int4", allow_loss=True)
        shutil.rmtree(tmp_path / "made")
        if made.loss > 1e-6:
            break
    with usage_error("export.loss", "--quantize int4", "--allow-loss", f"{made.loss:.1%}"):
        export_language(model, tmp_path / "made", examples=texts, quantize="int4")
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_disagrees_is_not_written(models, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_DIFFERENCE", 0.0)
    with usage_error("export.not_equal", "llama_tied", "logits"):
        export_language(models["llama_tied"], tmp_path / "made", examples=Texts())
    assert list(tmp_path.iterdir()) == []


def test_the_folder_says_what_it_is(exported, models):
    result = exported("gpt2", "int8")
    description = json.loads((result.folder / "export.json").read_text())
    assert (description["format"], description["quantize"], description["version"]) == ("onnx", "int8", 1)
    assert description["provenance"]["fingerprint"] == models["gpt2"].fingerprint
    assert {"torch", "onnxruntime", "potstill"} <= set(description["provenance"]["versions"])
    assert [row["form"] for row in description["parity"]["rows"]] == ["PyTorch fp32", "ONNX fp32", "ONNX int8"]
    assert "/" not in description["provenance"]["source"]
    card = (result.folder / "README.md").read_text()
    assert result.table() in card
    assert "licence: not stated" in card


def test_the_exported_model_is_not_changed(exported, models):
    before = models["gpt2"].fingerprint
    exported("gpt2")
    assert models["gpt2"].fingerprint == before
    assert models["gpt2"].module.config._attn_implementation != "eager"


def test_weights_of_two_gigabytes_are_in_a_second_file(models, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "SINGLE_FILE_BYTES", 1000)
    result = export_language(models["gpt2"], tmp_path / "made", examples=Texts(), quantize="int8", allow_loss=True)
    assert (result.folder / "model.onnx.data").stat().st_size > 10_000
    assert result.rows[2].bytes == sum(
        (result.folder / name).stat().st_size for name in ("model.onnx", "model.onnx.data")
    )
    assert OnnxLanguageModel.load(result.folder).generate(["What is two"], 4)


@pytest.mark.parametrize(
    ("options", "key", "fact"),
    [
        ({"format": "openvino"}, "export.language_format", "--format onnx"),
        ({"quantize": "bf16"}, "export.language_quantisation", "int8 or int4"),
        ({"examples": Texts(0)}, "export.no_text", "validation text"),
        ({"examples": Texts(3, 200)}, "export.text_too_long", "64"),
    ],
)
def test_what_cannot_be_exported_is_refused(models, tmp_path, options, key, fact):
    with usage_error(key, fact):
        export_language(models["gpt2"], tmp_path / "made", **{"examples": Texts(), **options})
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_a_state_in_place_of_a_cache_is_refused(tmp_path):
    sizes: dict[str, Any] = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    MambaForCausalLM(MambaConfig(eos_token_id=0, bos_token_id=0, pad_token_id=0, **sizes)).save_pretrained(tmp_path)
    tokenizer_of(eos_token="<end>").save_pretrained(tmp_path)
    with usage_error("export.no_cache", str(tmp_path), "MambaForCausalLM"):
        onnx_graph(load_language(tmp_path))


def test_a_model_that_cannot_be_traced_is_refused_with_the_innermost_reason(models, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("step 3/3") from ValueError("no decomposition of aten.odd")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with usage_error("export.not_traceable", "GPT2LMHeadModel", "no decomposition of aten.odd"):
        onnx_graph(models["gpt2"])


def test_an_existing_folder_is_kept(models, tmp_path):
    (tmp_path / "made").mkdir()
    with usage_error("output.exists", "--output"):
        export_language(models["gpt2"], tmp_path / "made", examples=Texts())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def change(**values: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return write


@pytest.mark.parametrize(
    ("file", "damage", "key", "fact"),
    [
        ("model.onnx", cut, "export.damaged", "model.onnx"),
        ("model.onnx", flip, "export.damaged", "model.onnx"),
        ("model.onnx", Path.unlink, "export.file_missing", "model.onnx"),
        ("tokenizer.json", cut, "export.damaged", "tokenizer.json"),
        ("tokenizer.json", Path.unlink, "export.file_missing", "tokenizer.json"),
        ("export.json", cut, "export.bad_description", "JSON"),
        ("export.json", Path.unlink, "export.not_found", "export.json"),
        ("export.json", change(version=99), "export.unknown_version", "99"),
        ("export.json", change(kind="forecaster"), "export.other_kind", "language model"),
        ("export.json", change(vocabulary="many"), "export.bad_description", "vocabulary"),
        ("export.json", change(files={}), "export.bad_description", "model.onnx"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(exported, tmp_path, file, damage, key, fact):
    folder = tmp_path / "copy"
    shutil.copytree(exported("gpt2").folder, folder)
    damage(folder / file)
    with usage_error(key, str(folder), fact):
        OnnxLanguageModel.load(folder)


def test_a_graph_that_onnxruntime_cannot_read_is_refused(exported, tmp_path):
    """As by an older onnxruntime: the digest is right, the content unknown."""
    folder = tmp_path / "copy"
    shutil.copytree(exported("gpt2").folder, folder)
    (folder / "model.onnx").write_bytes(b"not a graph")
    change(files=folder_module.digests(folder))(folder / "export.json")
    with usage_error("export.unreadable_graph", "onnxruntime"):
        OnnxLanguageModel.load(folder)
