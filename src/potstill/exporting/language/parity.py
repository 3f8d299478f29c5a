"""An exported model next to PyTorch's: perplexity, speed, and the largest difference of a logit.

Shapes: B texts, T tokens, n answer tokens of a batch, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from potstill.errors import UserError
from potstill.exporting.language.runner import OnnxLanguageModel

if TYPE_CHECKING:
    from potstill.evaluation.language.scoring import HeldOut
    from potstill.types import Tokens

PARITY_TEXTS = 100  # at most so many examples give the perplexity
BATCH_TOKENS = 1024  # of one scoring pass, with padding
PROMPT_TOKENS, WRITTEN_TOKENS = 64, 32  # of the timed generation, at batch 1
ROUNDS = 3  # of the timing, in which the forms take turns
PYTORCH = "PyTorch fp32"


class Engine(Protocol):
    """What is compared."""

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """``[B, T, V]`` of tokens ``[B, T]``, padded on the right."""
        ...

    def write(self, ids: np.ndarray, count: int) -> None:
        """Read a prompt ``[1, T]`` and generate exactly ``count`` tokens greedily, with a cache."""
        ...


@dataclass(frozen=True)
class ParityRow:
    """One form of a model.

    Attributes
    ----------
    form
        Such as ``PyTorch fp32`` or ``ONNX int8``.
    bytes
        Size of weights (PyTorch) or graph (ONNX).
    perplexity
        Of the answer tokens of the validation texts.
    prefill_tokens_per_second
        Tokens of a prompt read per second, at batch 1.
    decode_tokens_per_second
        Tokens generated per second after the first one, at batch 1.
    max_logit_difference
        Largest absolute difference from PyTorch's logits at an answer token; 0 for PyTorch itself.
    """

    form: str
    bytes: int
    perplexity: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    max_logit_difference: float


@dataclass(frozen=True)
class LanguageExport:
    """A finished export.

    Attributes
    ----------
    folder
        What was written.
    rows
        PyTorch, the graph in fp32 and, if it was asked for, the quantised graph.
    texts, tokens
        Validation texts, and their answer tokens, behind the perplexity.
    """

    folder: Path
    rows: tuple[ParityRow, ...]
    texts: int
    tokens: int

    @property
    def loss(self) -> float:
        """By how much the exported graph's perplexity is above PyTorch's, as a share."""
        return self.rows[-1].perplexity / self.rows[0].perplexity - 1

    def table(self) -> str:
        """The rows as a Markdown table."""
        lines = ["| form | size (MB) | perplexity | prefill tokens/s | decode tokens/s | largest logit difference |"]
        lines += ["|---" * 6 + "|"]
        for row in self.rows:
            speeds = f"{row.prefill_tokens_per_second:,.0f} | {row.decode_tokens_per_second:,.1f}"
            difference = f"{row.max_logit_difference:.2g}" if row.form != PYTORCH else "–"
            lines.append(f"| {row.form} | {row.bytes / 1e6:,.1f} | {row.perplexity:.4g} | {speeds} | {difference} |")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """For export.json."""
        return {"texts": self.texts, "tokens": self.tokens, "rows": [asdict(row) for row in self.rows]}


class OnnxEngine:
    """An exported graph."""

    def __init__(self, model: OnnxLanguageModel):
        self.model = model

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See :class:`Engine`."""
        return self.model.step(ids, mask).logits

    def write(self, ids: np.ndarray, count: int) -> None:
        """See :class:`Engine`."""
        self.model.generate_ids(ids, np.ones_like(ids), count, stop=False)


class TorchEngine:
    """The model that was exported, in fp32 on the processor, with a plain loop in place of ``generate``."""

    def __init__(self, module: Any):
        self.base, self.head = module.base_model, module.get_output_embeddings()

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See :class:`Engine`."""
        import torch

        with torch.inference_mode():
            given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            return self.head(self.base(**given).last_hidden_state).numpy()

    def write(self, ids: np.ndarray, count: int) -> None:
        """See :class:`Engine`."""
        import torch

        with torch.inference_mode():
            new, cache = torch.from_numpy(ids), None
            for _ in range(count):
                out = self.base(input_ids=new, past_key_values=cache, use_cache=True)
                new, cache = self.head(out.last_hidden_state[:, -1:]).argmax(dim=-1), out.past_key_values


@dataclass
class _Sums:
    cross_entropy: float = 0.0
    difference: float = 0.0
    largest: float = 0.0  # absolute logit


class Comparison(NamedTuple):
    """Rows of all engines, numbers of texts and answer tokens, and PyTorch's largest absolute logit."""

    rows: tuple[ParityRow, ...]
    texts: int
    tokens: int
    largest_logit: float


def compare(engines: Mapping[str, Engine], sizes: Mapping[str, int], examples: HeldOut, max_length: int) -> Comparison:
    """Score and time all engines, the first of which is PyTorch's, on the same texts.

    Raises
    ------
    UserError
        Without a validation text, or with one that the model cannot read.
    """
    from potstill.evaluation.language.scoring import batches, sample

    ids = sample(len(examples), PARITY_TEXTS)
    if not len(ids):
        raise UserError(
            "export: there is no validation text to measure the perplexity on; give more data or another data.split.",
            key="export.no_text",
        )
    if (most := int(examples.lengths[ids].max())) > max_length:
        raise UserError(
            f"export: a validation text has {most:,} tokens, but the model reads {max_length:,}; lower"
            " data.max_length.",
            key="export.text_too_long",
        )
    sums, count = {name: _Sums() for name in engines}, 0
    for group in batches(examples.lengths, ids, BATCH_TOKENS):
        count += _add(sums, engines, examples.batch(group))
    if not count:
        raise UserError("export: the validation texts have no answer token.", key="export.no_text")
    speeds = _speeds(engines, examples.batch(ids[:1]).input_ids.numpy(), max_length)
    rows = tuple(
        ParityRow(name, sizes[name], float(np.exp(one.cross_entropy / count)), *speeds[name], one.difference)
        for name, one in sums.items()
    )
    return Comparison(rows, len(ids), count, next(iter(sums.values())).largest)


def _add(sums: Mapping[str, _Sums], engines: Mapping[str, Engine], batch: Tokens) -> int:
    """Add a batch's answer tokens to the sums; returns their number."""
    ids, mask = batch.input_ids.numpy(), batch.attention.long().numpy()
    among = batch.answer[:, 1:].numpy()
    targets = ids[:, 1:][among]
    reference = None
    for name, engine in engines.items():
        logits = engine.logits(ids, mask)[:, :-1][among]  # [n, V]; the first token is not predicted
        reference = logits if reference is None else reference
        if not len(targets):
            continue
        sums[name].largest = max(sums[name].largest, float(np.abs(logits).max()))
        difference = np.nan_to_num(np.abs(logits - reference), nan=np.inf)  # a NaN is not close to anything
        sums[name].difference = max(sums[name].difference, float(difference.max()))
        highest = logits.max(axis=1)
        normaliser = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64))
        sums[name].cross_entropy += float((normaliser - logits[np.arange(len(targets)), targets]).sum())
    return len(targets)


def _speeds(engines: Mapping[str, Engine], text: np.ndarray, max_length: int) -> dict[str, tuple[float, float]]:
    """Prefill and decode speed of each engine in tokens per second, as medians over interleaved rounds."""
    length = min(PROMPT_TOKENS, max(1, max_length // 2))
    new = min(WRITTEN_TOKENS, max_length - length - 1)
    prompt = np.resize(text, (1, length))
    for engine in engines.values():
        engine.write(prompt, 2)  # the first pass also loads code and fills caches
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            reading = _seconds(lambda engine=engine: engine.write(prompt, 1))
            whole = _seconds(lambda engine=engine: engine.write(prompt, new + 1))
            taken[name].append((length / reading, new / max(whole - reading, 1e-9)))
    return {name: (median(a for a, _ in pairs), median(b for _, b in pairs)) for name, pairs in taken.items()}


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
