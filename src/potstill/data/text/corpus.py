"""Tokenised examples on disk as flat memory-mapped arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from potstill.data.data_report import DataReport

CORPUS_ARRAYS = {
    "ids": np.int32,
    "answer": np.bool_,
    "offsets": np.int64,
    "numbers": np.uint64,
    "texts": np.uint8,
    "text_offsets": np.int64,
}


@dataclass
class Corpus:
    """All n examples of a data set, one after the other.

    Attributes
    ----------
    folder
        The corpus's folder; unpickling a corpus opens this folder again.
    ids, answer
        Flat int32 tokens, and bool: True for tokens of an answer.
    offsets
        ``[n + 1]`` int64: example i is ``ids[offsets[i]:offsets[i + 1]]``.
    numbers
        ``[n]`` uint64 hash of each example's content, before it was rendered.
    texts, text_offsets
        UTF-8 bytes: text 2i is the prompt of example i, text 2i + 1 its first answer.
    fingerprint
        sha256 over the files' content, the tokenizer and the settings.
    report
        What was used, left out and repaired.
    """

    folder: Path
    ids: np.ndarray
    answer: np.ndarray
    offsets: np.ndarray
    numbers: np.ndarray
    texts: np.ndarray
    text_offsets: np.ndarray
    fingerprint: str
    report: DataReport

    def __len__(self) -> int:
        return len(self.numbers)

    def __reduce__(self) -> tuple[Callable[[Path], Corpus], tuple[Path]]:
        return Corpus.load, (self.folder,)

    def text(self, number: int) -> str:
        """Text by its number: 2i or 2i + 1 of example i."""
        first, last = self.text_offsets[number : number + 2]
        return self.texts[first:last].tobytes().decode()

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Open a finished corpus.

        Raises
        ------
        ValueError, OSError, KeyError
            The folder contains no complete corpus.
        """
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in CORPUS_ARRAYS}
        n, tokens, letters = len(arrays["numbers"]), arrays["offsets"][-1], arrays["text_offsets"][-1]
        sizes = {"ids": tokens, "answer": tokens, "offsets": n + 1, "texts": letters, "text_offsets": 2 * n + 1}
        if any(len(arrays[name]) != size for name, size in sizes.items()):
            raise ValueError(f"{folder}: incomplete corpus")
        report = DataReport.from_dict(index["account"])
        return cls(folder=folder, fingerprint=index["fingerprint"], report=report, **arrays)
