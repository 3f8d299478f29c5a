"""Tiny models of two architectures, and texts for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_gpt2 import save_gpt2, tokenizer_of
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from potstill.families.language.model import LanguageModel
from potstill.families.load import load_language
from potstill.types import Tokens

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)

#: untied GPT-2 has a padded vocabulary; Llama's queries share keys and values in pairs
KINDS = ("gpt2", "gpt2_untied_padded", "llama_tied", "llama_untied")


def save_model(kind: str, folder: Path) -> Path:
    """A model whose logits differ clearly, in upstream's layout."""
    if kind == "gpt2":
        return save_gpt2(folder)
    torch.manual_seed(0)
    tokenizer = tokenizer_of(eos_token="<end>")
    sizes: dict[str, Any] = {"eos_token_id": 0, "bos_token_id": 0, "tie_word_embeddings": "_tied" in kind}
    if kind.startswith("gpt2"):
        config = GPT2Config(vocab_size=len(tokenizer) + 20, n_positions=64, n_embd=64, n_layer=2, n_head=2, **sizes)
        module: Any = GPT2LMHeadModel(config)
        embedding = module.transformer.wte
    else:
        sizes |= {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = LlamaConfig(
            vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=64, head_dim=16, **sizes
        )
        module = LlamaForCausalLM(config)
        embedding = module.model.embed_tokens
    with torch.no_grad():
        embedding.weight *= 20
        if "_tied" not in kind:
            module.lm_head.weight *= 20
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Texts:
    """Validation texts of 3 to 40 random tokens; all but the first two are answers."""

    def __init__(self, count: int = 12, longest: int = 40):
        self.lengths = np.random.default_rng(0).integers(3, longest + 1, count)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, ids: Any) -> Tokens:
        lengths = torch.from_numpy(self.lengths[np.asarray(ids)])
        place = torch.arange(int(lengths.max()))
        rows = [torch.randint(1, 250, (len(place),), generator=torch.Generator().manual_seed(int(i))) for i in ids]
        attention = place < lengths[:, None]
        return Tokens(torch.stack(rows), attention, attention & (place >= 2), torch.tensor(np.asarray(ids)))

    def prompts(self, ids: Any) -> list[str]:
        raise NotImplementedError

    def answers(self, ids: Any) -> list[str]:
        raise NotImplementedError


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
    from potstill.export.language import export_language

    root, made = tmp_path_factory.mktemp("exported"), {}

    def export(kind: str, quantize: str | None = None) -> Any:
        if (kind, quantize) not in made:
            folder = root / f"{kind}-{quantize}"
            made[kind, quantize] = export_language(
                models[kind], folder, examples=Texts(), quantize=quantize, allow_loss=True
            )
        return made[kind, quantize]

    return export
