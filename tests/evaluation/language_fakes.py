"""Language models and examples that are small enough to compute by hand, and a GPT-2 with two layers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from potstill.types import Logits, Output, Request, Tokens


class Coin:
    """Predicts token 1 with the same probability everywhere, with a vocabulary of two."""

    vocabulary = 2
    device = torch.device("cpu")

    def __init__(self, one: float):
        self.module = nn.Linear(1, 2, bias=False)
        self.calls = 0
        with torch.no_grad():
            self.module.weight.copy_(torch.tensor([[math.log(1 - one)], [math.log(one)]]))

    def forward(self, tokens: Tokens, request: Request) -> Output:
        assert not self.module.training
        self.calls += 1
        return Output(Logits(torch.ones(int(tokens.answer[:, 1:].sum()), 1), self.module))


class Rows:
    """Examples from given tokens and answers, with prompts and references."""

    def __init__(self, rows: list[list[int]], answers: list[list[int]], prompts: Any = (), references: Any = ()):
        self.rows, self.marks = rows, answers
        self.texts, self.references = list(prompts), list(references)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.rows])

    def batch(self, ids: Any) -> Tokens:
        rows, marks = [self.rows[i] for i in ids], [self.marks[i] for i in ids]
        width = max(map(len, rows))
        fill = lambda row: row + [0] * (width - len(row))  # noqa: E731
        there = torch.tensor([fill([1] * len(row)) for row in rows]).bool()
        return Tokens(
            torch.tensor([fill(r) for r in rows]),
            there,
            torch.tensor([fill(m) for m in marks]).bool(),
            torch.tensor(ids),
        )

    def prompts(self, ids: Any) -> list[str]:
        return [self.texts[i] for i in ids]

    def answers(self, ids: Any) -> list[str]:
        return [self.references[i] for i in ids]


TEXTS = ["Name a colour. Blue.", "What is two and two? Four, of course.", "Say <b>hello</b>. Hello!"]


def save_gpt2(folder: Path, seed: int = 0, texts: list[str] = TEXTS) -> Path:
    """An upstream checkpoint folder with a byte-level tokenizer; the same for the same seed."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=280, special_tokens=["<end>"], initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>")
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}
    module = GPT2LMHeadModel(GPT2Config(**sizes, eos_token_id=0, tie_word_embeddings=False))
    with torch.no_grad():  # so that the logits differ between tokens
        module.lm_head.weight *= 20
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def examples_of(tokenizer: Any) -> Rows:
    """Eight instructions with answers."""
    prompts = [f"Name colour {i}." for i in range(8)]
    references = [" Blue." + " Deep blue." * (i % 3) for i in range(8)]
    cut = [
        [tokenizer(t, add_special_tokens=False)["input_ids"] for t in pair]
        for pair in zip(prompts, references, strict=True)
    ]
    return Rows(
        [prompt + answer for prompt, answer in cut], [[0] * len(a) + [1] * len(s) for a, s in cut], prompts, references
    )
