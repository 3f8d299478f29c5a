"""A tiny GPT-2 with its own tokenizer, in upstream's classes, saved to disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

TEXTS = ["Below is an instruction.", "Write a response that answers it.", "What is two and two? Four, of course."]


def tokenizer_of(**special: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **special)


def save_gpt2(folder: Path, positions: int = 64) -> Path:
    """An upstream folder: 2 layers of width 32, no pad token."""
    torch.manual_seed(0)
    tokenizer = tokenizer_of(eos_token="<end>")
    sizes: dict[str, Any] = {"n_positions": positions, "n_embd": 32, "n_layer": 2, "n_head": 2}
    module = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), eos_token_id=0, bos_token_id=0, **sizes))
    with torch.no_grad():  # larger weights make the tokens' probabilities differ
        module.transformer.wte.weight *= 20
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
