"""A GGUF file, written here by the gguf package from a llama of transformers, loads as the same model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_gpt2 import tokenizer_of
from transformers import LlamaConfig, LlamaForCausalLM
from usage_errors import usage_error

import potstill
from potstill.families.load import load_language, saved_weights
from potstill.recipe import Recipe

gguf = pytest.importorskip("gguf")

HEADS, WIDTH, LAYERS = 4, 32, 2
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": LAYERS}
    heads: dict[str, Any] = {"num_attention_heads": HEADS, "num_key_value_heads": 2, "head_dim": WIDTH // HEADS}
    tokens: dict[str, Any] = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = LlamaConfig(**sizes, **heads, **tokens, max_position_embeddings=64, tie_word_embeddings=True)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def file(llama: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(llama, path)
    return path


def write_gguf(llama: LlamaForCausalLM, path: Path) -> None:
    """Write a llama as llama.cpp does: its names of weights, and its row order of queries and keys."""
    config, tokenizer = llama.config, tokenizer_of(eos_token="<end>")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_string("general.license", "apache-2.0")
    words = [word for word, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL] + [gguf.TokenType.NORMAL] * (len(words) - 1))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    for name, tensor in llama.state_dict().items():
        if name != "lm_head.weight":  # tied to the embeddings
            writer.add_tensor(_name(name), _ordered(name, tensor.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(name: str) -> str:
    if name in ("model.embed_tokens.weight", "model.norm.weight"):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, *part, _ = name.split(".")
    return f"blk.{layer}.{GGUF_NAMES['.'.join(part)]}.weight"


def _ordered(name: str, weight: np.ndarray, config: LlamaConfig) -> np.ndarray:
    """Order each head's rows in pairs that are rotated together; transformers has all first halves, then all second."""
    heads = {"q_proj": HEADS, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return weight
    return weight.reshape(heads, 2, -1, WIDTH).swapaxes(1, 2).reshape(weight.shape)


def test_it_is_the_model_that_was_written(llama: LlamaForCausalLM, file: Path):
    for source in (file, file.parent):
        loaded = load_language(source).freeze()
        ids = torch.arange(5, 25)[None]
        with torch.no_grad():
            assert torch.allclose(loaded.module(ids).logits, llama(ids).logits, atol=1e-5)
        own = tokenizer_of(eos_token="<end>")
        assert loaded.tokenizer("What is two?")["input_ids"] == own("What is two?")["input_ids"]


def test_its_licence_and_its_file_are_read(file: Path):
    loaded = load_language(file)
    assert loaded.source.licence == "apache-2.0"
    assert saved_weights(loaded.source) == [file]


def test_it_can_be_a_teacher(file: Path, tmp_path: Path):
    data = tmp_path / "words.jsonl"
    data.write_text("".join(json.dumps({"text": f"What is {i}? Four, of course."}) + "\n" for i in range(30)))
    recipe = Recipe.lay_over(
        {"task": "language", "teacher": [str(file)], "student": "num_hidden_layers=1"},
        {"student.start": "teacher", "data": {"paths": [str(data)], "max_length": 64}, "training.max_steps": 2},
    )
    run = potstill.distill(recipe, tmp_path / "run")
    assert "license: apache-2.0" in (run / "student" / "README.md").read_text()
    assert load_language(run).module.config.num_hidden_layers == 1


def test_a_truncated_file_is_a_usage_error(file: Path, tmp_path: Path):
    truncated = tmp_path / "truncated.gguf"
    truncated.write_bytes(file.read_bytes()[:2000])
    with usage_error("model.cannot_load", "truncated.gguf"):
        load_language(truncated)
