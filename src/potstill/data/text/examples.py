"""The training data set of language models: examples by id, in batches of padded tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.text.cache import open_corpus
from potstill.data.text.corpus import Corpus
from potstill.data.text.files import find_sources
from potstill.data.text.splits import members, shares_of
from potstill.recipe import TextData

if TYPE_CHECKING:
    from potstill.types import Tokens


class Examples:
    """One part of a text data set.

    Parameters
    ----------
    corpus
        All tokenised examples.
    rows
        ``[n]`` int64: which of them belong to the part; example id i is row ``rows[i]``.
    pad
        The token that pads shorter rows of a batch.
    fingerprint
        sha256 over content, tokenizer, settings, split and part.
    report
        What was used, left out and repaired, and how many examples the part has.
    """

    stores_inputs = False  # a label store need not keep the tokens: they are the same in every epoch

    def __init__(self, corpus: Corpus, rows: np.ndarray, pad: int, fingerprint: str, report: DataReport) -> None:
        self.corpus, self.rows, self.pad = corpus, rows, pad
        self.fingerprint, self.report = fingerprint, report

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """``[n]`` int64 tokens of each example."""
        return np.diff(self.corpus.offsets)[self.rows]

    def __getitem__(self, i: int) -> Tokens:
        """Example ``i`` as a batch of one."""
        return self.batch([i])

    def batch(self, ids: Sequence[int] | np.ndarray) -> Tokens:
        """Examples ``ids`` as one batch, padded on the right to the longest of them."""
        import torch

        from potstill.types import Tokens

        ids, rows = self._rows(ids)
        firsts, lasts = self.corpus.offsets[rows], self.corpus.offsets[rows + 1]
        longest = int((lasts - firsts).max(initial=0))
        tokens = np.full((len(rows), longest), self.pad, np.int64)
        answer = np.zeros((len(rows), longest), bool)
        for i, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
            tokens[i, : last - first] = self.corpus.ids[first:last]
            answer[i, : last - first] = self.corpus.answer[first:last]
        attention = np.arange(longest)[None, :] < (lasts - firsts)[:, None]
        return Tokens(
            input_ids=torch.from_numpy(tokens),
            attention=torch.from_numpy(attention),
            answer=torch.from_numpy(answer),
            ids=torch.from_numpy(ids.copy()),
        )

    __getitems__ = batch  # torch's DataLoader calls this name

    def prompts(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """The text before the first answer of each example, as a prompt for generation.

        Tokenise it with ``add_special_tokens=False``, as the result of ``prompt_of``.
        """
        return [self.corpus.text(2 * row) for row in self._rows(ids)[1]]

    def answers(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """The first answer of each example, unchanged: the reference for text generated from ``prompts``."""
        return [self.corpus.text(2 * row + 1) for row in self._rows(ids)[1]]

    def _rows(self, ids: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= len(self)):
            raise IndexError(f"example ids are from 0 to {len(self) - 1}")
        return ids, self.rows[ids]


def check_data(data: TextData) -> None:
    """Raise UserError for invalid paths or an invalid split: a quick check before a model is loaded."""
    shares_of(data.split)
    find_sources(data.paths, data.exclude, data.max_files, DataReport())


def open_examples(data: TextData, tokenizer: Any, part: str, cache: Path | None = None) -> Examples:
    """Open one part of the examples in ``data.paths``, which are tokenised once and then memory-mapped.

    A part is empty if its share of ``data.split`` is 0, and can be empty with fewer than three different examples.

    Parameters
    ----------
    data
        ``paths``, ``exclude``, ``max_files``, ``format`` and ``max_length`` decide the content, ``split`` the parts.
    tokenizer
        A transformers tokenizer; its chat template is used if it has one.
    part
        ``train``, ``validation`` or ``test``.
    cache
        Default: ``$POTSTILL_CACHE`` or ``~/.cache/potstill/stores``. Its folders may be deleted at any time.

    Raises
    ------
    UserError
        The data has nothing usable, the split is not shares, or the cache folder cannot be written.
    """
    shares = shares_of(data.split)
    file_report = DataReport()
    sources = find_sources(data.paths, data.exclude, data.max_files, file_report)
    corpus = open_corpus(sources, data, tokenizer, cache)
    rows = members(corpus.numbers, data.split, part)
    report = corpus.report.copy()
    report.add(file_report)
    report.add_note(f"{part}: {len(rows):,} of {len(corpus):,} examples")
    pad = next((t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id) if t is not None), 0)
    parts = [corpus.fingerprint, shares.tolist(), part]
    fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return Examples(corpus, rows, pad, fingerprint, report)
