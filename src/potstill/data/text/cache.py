"""Where prepared examples lie, and under which fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from potstill.data import fingerprints
from potstill.data.cache import cache_folder, open_or_build
from potstill.data.files import Source
from potstill.data.text.build import Builder
from potstill.data.text.corpus import Corpus
from potstill.data.text.files import files_of
from potstill.recipe import DataConfig

FORMAT = 1  # raise it when the same files, tokenizer and settings would give other tokens


def open_corpus(sources: Sequence[Source], data: DataConfig, tokenizer: Any, cache: Path | None = None) -> Corpus:
    """The corpus of these files: opened from the cache, or built there first when its content is new."""
    place = cache_folder(cache)
    options = {
        "instructions": FORMAT,
        "format": data.format,
        "max_length": data.max_length,
        "tokenizer": tokenizer_fingerprint(tokenizer),
    }
    files = [file for source in sources for file in files_of(source)]
    fingerprint = fingerprints.of_files(files, options, place)
    return open_or_build(
        place, fingerprint, _finished, lambda aside: Builder(aside, tokenizer, data).build(sources, fingerprint)
    )


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """sha256 over what decides a tokenizer's tokens and the form of its prompts."""
    if getattr(tokenizer, "is_fast", False):
        model = json.loads(tokenizer.backend_tokenizer.to_str())
        model.pop("padding", None)  # what a caller last asked for, not what the tokenizer is
        model.pop("truncation", None)
    else:
        model = sorted(tokenizer.get_vocab().items())
    marks = [tokenizer.bos_token, tokenizer.eos_token, tokenizer("")["input_ids"]]
    parts = [model, marks, getattr(tokenizer, "chat_template", None)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _finished(folder: Path) -> Corpus | None:
    """The corpus in a folder; None where there is none or it is torn."""
    try:
        return Corpus.load(folder)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
