"""Tiny models of two architectures, and texts for them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from language_texts import Texts
from tiny_gpt2 import save_gpt2, tokenizer_of
from transformers import LlamaConfig, LlamaForCausalLM

from potstill.families.language.model import LanguageModel
from potstill.families.load import load_language

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from potstill.exporting.language import export_language
from potstill.exporting.language import graph as graph_module

KINDS = ("gpt2", "llama_tied", "llama_untied_padded")


def save_model(kind: str, folder: Path) -> Path:
    """GPT-2, or a model of Llama's kind whose queries share keys and values in pairs, in upstream's layout."""
    if kind == "gpt2":
        return save_gpt2(folder)
    torch.manual_seed(0)
    tokenizer, tied = tokenizer_of(eos_token="<end>"), kind == "llama_tied"
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 16}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    sizes |= {"vocab_size": len(tokenizer) + (0 if tied else 20), "eos_token_id": 0, "bos_token_id": 0}
    module = LlamaForCausalLM(LlamaConfig(tie_word_embeddings=tied, **sizes))
    with torch.no_grad():  # larger weights make the tokens' probabilities differ
        module.lm_head.weight *= 20
        if not tied:
            module.model.embed_tokens.weight *= 20
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _traced_once() -> Iterator[None]:
    """Tracing takes seconds: each model is traced once, and every export has a copy of the graph."""
    graphs: dict[str, Any] = {}
    trace = graph_module.onnx_graph

    def cached(model: LanguageModel) -> Any:
        if model.fingerprint not in graphs:
            graphs[model.fingerprint] = trace(model)
        return copy.deepcopy(graphs[model.fingerprint])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_module, "onnx_graph", cached)
        yield


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LanguageModel]:
    root = tmp_path_factory.mktemp("models")
    return {kind: load_language(save_model(kind, root / kind)).freeze() for kind in KINDS}


@pytest.fixture(scope="session")
def exported(models: dict[str, LanguageModel], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folder and result of an export, by kind of model and quantisation; made once."""
    root, made = tmp_path_factory.mktemp("exported"), {}

    def export(kind: str, quantize: str | None = None) -> Any:
        if (kind, quantize) not in made:
            folder = root / f"{kind}-{quantize}"
            made[kind, quantize] = export_language(
                models[kind], folder, examples=Texts(), quantize=quantize, allow_loss=True
            )
        return made[kind, quantize]

    return export
