"""Generate with an exported language model: onnxruntime, numpy and tokenizers, no torch.

Shapes: B texts, T new tokens, P earlier tokens, K positions, N generated tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from potstill.errors import UserError
from potstill.exporting.language.folder import open_folder
from potstill.exporting.language.names import cache_names


class Step(NamedTuple):
    """What one call of the graph returns.

    Attributes
    ----------
    logits
        ``[B, K, V]`` float32.
    cache
        Keys and values of all tokens so far, for the next call.
    """

    logits: np.ndarray
    cache: list[Any]


class OnnxLanguageModel:
    """An exported language model.

    Attributes
    ----------
    description
        The content of export.json.
    vocabulary, max_length
        Number of logits per token, and of tokens that the model reads.

    Examples
    --------
    >>> model = OnnxLanguageModel.load("student-onnx")
    >>> model.generate(["Once upon a time"], max_new_tokens=32)
    """

    def __init__(self, session: Any, tokenizer: Any, description: dict[str, Any]):
        self.session, self.tokenizer, self.description = session, tokenizer, description
        self.vocabulary, self.max_length = int(description["vocabulary"]), int(description["max_length"])
        self._past = [given for given in session.get_inputs() if given.name.startswith("past.")]
        self._outputs = ["logits", *cache_names("present", len(self._past) // 2)]

    @classmethod
    def load(cls, folder: str | Path, threads: int | None = None) -> Self:
        """Read an exported folder.

        Parameters
        ----------
        folder
            What ``potstill export`` wrote.
        threads
            Threads of onnxruntime; by default one per core.

        Raises
        ------
        UserError
            If a file is missing or damaged, the version is not known, or a package is missing.
        """
        return cls(*open_folder(Path(folder), threads))

    def generate(
        self, prompts: Sequence[str], max_new_tokens: int = 128, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Continue prompts.

        Parameters
        ----------
        prompts
            Text with the chat template already applied; no special tokens are added.
        max_new_tokens
            Longest continuation in tokens.
        temperature
            0: greedy decoding; above 0: sampling.
        seed
            Seed of the sampling.

        Returns
        -------
        list of str
            The continuations without the prompts and without special tokens.

        Raises
        ------
        UserError
            If a prompt is empty or longer than the model reads.
        """
        if not prompts:
            return []
        ids, mask = self.encode(prompts)
        written = self.generate_ids(ids, mask, max_new_tokens, temperature, seed)
        return [self.tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in written]

    def encode(self, prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and mask of prompts, ``[B, T]`` int64, padded on the left.

        Raises
        ------
        UserError
            If a prompt has no token, or more than the model reads.
        """
        rows = [one.ids for one in self.tokenizer.encode_batch(list(prompts), add_special_tokens=False)]
        if any(not row for row in rows):
            raise UserError("prompt: is empty; write at least one character.", key="prompt.empty")
        longest = max(map(len, rows))
        if longest >= self.max_length:
            raise UserError(
                f"prompt: has {longest:,} tokens, but the model reads {self.max_length:,}; shorten it.",
                key="prompt.too_long",
            )
        ids = np.full((len(rows), longest), self.description["pad"], np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, longest - len(row) :], mask[i, longest - len(row) :] = row, 1
        return ids, mask

    def generate_ids(
        self,
        ids: np.ndarray,
        mask: np.ndarray,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        stop: bool = True,
    ) -> np.ndarray:
        """Continue tokens.

        Parameters
        ----------
        ids, mask
            ``[B, T]`` int64: tokens, padded on the left, and 1 where there is one.
        max_new_tokens, temperature, seed
            As in ``generate``; the text with its continuation is at most ``max_length`` tokens long.
        stop
            Whether a text ends at a token that ends texts.

        Returns
        -------
        ndarray
            ``[B, N]`` int64; after the end of a text, pad tokens.
        """
        random = np.random.default_rng(seed)
        ends, ended = np.array(self.description["ends"] if stop else [], np.int64), np.zeros(len(ids), bool)
        written: list[np.ndarray] = []
        new, cache = ids, None
        for _ in range(min(max_new_tokens, self.max_length - ids.shape[1])):
            step = self.step(new, mask, cache, at=np.array([new.shape[1] - 1]))
            token = np.where(ended, self.description["pad"], _choose(step.logits[:, 0], temperature, random))
            written.append(token)
            ended |= np.isin(token, ends)
            if ended.all():
                break
            new, cache = token[:, None], step.cache
            mask = np.concatenate([mask, np.ones((len(mask), 1), mask.dtype)], axis=1)
        return np.stack(written, axis=1) if written else np.zeros((len(ids), 0), np.int64)

    def step(
        self, ids: np.ndarray, mask: np.ndarray, cache: list[Any] | None = None, at: np.ndarray | None = None
    ) -> Step:
        """Read new tokens after earlier ones.

        Parameters
        ----------
        ids
            ``[B, T]`` int64: the new tokens.
        mask
            ``[B, P + T]`` int64: 1 where there is a token among earlier and new ones.
        cache
            What the former step returned; None at the start (P = 0).
        at
            ``[K]`` int64: the new tokens whose logits are returned; default: all.
        """
        from onnxruntime import OrtValue

        new = ids.shape[1]
        positions = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -new:]
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions,
            "logits_at": np.arange(new) if at is None else at,
        }
        feeds = {name: OrtValue.ortvalue_from_numpy(np.ascontiguousarray(v, np.int64)) for name, v in inputs.items()}
        values = cache or [self._empty(given, len(ids)) for given in self._past]
        feeds |= {given.name: value for given, value in zip(self._past, values, strict=True)}
        logits, *present = self.session.run_with_ort_values(self._outputs, feeds)
        return Step(logits.numpy(), present)

    @staticmethod
    def _empty(given: Any, texts: int) -> Any:
        from onnxruntime import OrtValue

        _, heads, _, width = given.shape
        return OrtValue.ortvalue_from_numpy(np.zeros((texts, heads, 0, width), np.float32))


def _choose(logits: np.ndarray, temperature: float, random: np.random.Generator) -> np.ndarray:
    """The next token of each text, ``[B]``, from logits ``[B, V]``."""
    if temperature <= 0:
        return logits.argmax(axis=1)
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True)).cumsum(axis=1)
    drawn = random.random(len(logits)) * weights[:, -1]
    return (weights <= drawn[:, None]).sum(axis=1)
