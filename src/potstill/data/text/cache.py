"""The cache of tokenised examples, and the fingerprints of its entries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from potstill.data import fingerprints
from potstill.data.cache import cache_folder, open_or_build
from potstill.data.files import DataSource, files_of
from potstill.data.text.build import Builder
from potstill.data.text.corpus import Corpus
from potstill.recipe import TextData

CORPUS_FORMAT = 1  # raise it when the same files, tokenizer and settings give different tokens


def open_corpus(sources: Sequence[DataSource], data: TextData, tokenizer: Any, cache: Path | None = None) -> Corpus:
    """Open the corpus of these files from the cache; build it there first if its content is new."""
    folder = cache_folder(cache)
    options = {
        "instructions": CORPUS_FORMAT,
        "format": data.format,
        "max_length": data.max_length,
        "tokenizer": tokenizer_fingerprint(tokenizer),
    }
    files = [file for source in sources for file in files_of(source)]
    fingerprint = fingerprints.of_files(files, options, folder)
    return open_or_build(
        folder, fingerprint, _load, lambda target: Builder(target, tokenizer, data).build(sources, fingerprint)
    )


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """sha256 over everything that decides a tokenizer's tokens and the format of its prompts."""
    if getattr(tokenizer, "is_fast", False):
        model = json.loads(tokenizer.backend_tokenizer.to_str())
        model.pop("padding", None)  # the state of the last call, not a property of the tokenizer
        model.pop("truncation", None)
    else:
        model = sorted(tokenizer.get_vocab().items())
    marks = [tokenizer.bos_token, tokenizer.eos_token, tokenizer("")["input_ids"]]
    parts = [model, marks, getattr(tokenizer, "chat_template", None)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _load(folder: Path) -> Corpus | None:
    """The corpus in a folder; None if it is missing or incomplete."""
    try:
        return Corpus.load(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
