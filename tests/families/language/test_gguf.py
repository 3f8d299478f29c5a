"""A GGUF file written here with gguf's own writer, from a llama of upstream's class: loaded back it is that model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_gpt2 import tokenizer_of
from transformers import LlamaConfig, LlamaForCausalLM

import potstill
from potstill.errors import UserError
from potstill.families.language.load import language_weights, load_language
from potstill.recipe import Recipe

gguf = pytest.importorskip("gguf")

HEADS, WIDTH, LAYERS = 4, 32, 2
NAMES = {
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
    sizes = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": LAYERS}
    heads = {"num_attention_heads": HEADS, "num_key_value_heads": 2, "head_dim": WIDTH // HEADS}
    tokens = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = LlamaConfig(**sizes, **heads, **tokens, max_position_embeddings=64, tie_word_embeddings=True)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def file(llama: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(llama, path)
    return path


def write_gguf(llama: LlamaForCausalLM, path: Path) -> None:
    """As llama.cpp writes a llama: its own names, queries' and keys' rows in its order of rotary pairs."""
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
        if name != "lm_head.weight":  # the embeddings' own
            writer.add_tensor(_name(name), _ordered(name, tensor.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(ours: str) -> str:
    if ours in ("model.embed_tokens.weight", "model.norm.weight"):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[ours]
    _, _, layer, *part, _ = ours.split(".")
    return f"blk.{layer}.{NAMES['.'.join(part)]}.weight"


def _ordered(name: str, weight: np.ndarray, config: LlamaConfig) -> np.ndarray:
    """Each head's rows as pairs that are rotated together, where upstream has first halves and second halves."""
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


def test_its_licence_and_its_file_are_known(file: Path):
    loaded = load_language(file)
    assert loaded.source.licence == "apache-2.0"
    assert language_weights(loaded.source) == [file]


def test_it_teaches_and_its_student_is_saved_as_any_other(file: Path, tmp_path: Path):
    data = tmp_path / "words.jsonl"
    data.write_text("".join(json.dumps({"text": f"What is {i}? Four, of course."}) + "\n" for i in range(30)))
    recipe = Recipe.lay_over(
        {"task": "language", "teacher": [str(file)], "student": "num_hidden_layers=1"},
        {"student.start": "teacher", "data": {"paths": [str(data)], "max_length": 64}, "training.max_steps": 2},
    )
    run = potstill.distill(recipe, tmp_path / "run")
    assert "license: apache-2.0" in (run / "student" / "README.md").read_text()
    assert load_language(run).module.config.num_hidden_layers == 1


def test_a_torn_one_is_said_in_one_sentence(file: Path, tmp_path: Path):
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"torn.gguf: cannot be loaded as a causal language model"):
        load_language(torn)
