"""A real language teacher of two narrow layers and a store of its logits, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

from label_fakes import FakeExamples
from tiny_gpt2 import save_gpt2
from transformers import AutoTokenizer, GPT2LMHeadModel

from potstill.families.base import ModelSource
from potstill.families.language.model import LanguageModel
from potstill.teaching.engines.logits import label_logits
from potstill.teaching.stores.logits import LogitStore


def tiny_teacher_of_text(folder: Path) -> LanguageModel:
    """A GPT-2 that is written to ``folder`` and loaded from there."""
    save_gpt2(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return LanguageModel(GPT2LMHeadModel.from_pretrained(folder), tokenizer, ModelSource("gpt2", str(folder))).freeze()


def small_store(teacher: LanguageModel, examples: FakeExamples, folder: Path, **more) -> LogitStore:
    """Sixteen logits of a token, three shards of eight examples, the last one short."""
    return label_logits(teacher, examples, folder, 1.0, kept=16, batch_size=3, shard_examples=8, **more)
