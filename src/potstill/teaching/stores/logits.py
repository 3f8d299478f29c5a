"""A language teacher's largest logits at every answer token: asked once, stored in shards, joined to batches.

A shard holds the answer tokens of a fixed range of examples. Logits are kept relative to the largest one, in half
precision, which is exact where the mass is; ``log_sum_exp`` is of all V logits at the store's temperature, so that the
share of the V − K others is exact. With K = 64 and a vocabulary below 65,536 a token takes 260 bytes.

Shapes: B examples, N answer tokens of a batch, M of a shard, K kept logits, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from potstill.errors import UserError
from potstill.families.language.project import log_probabilities
from potstill.malloc import release
from potstill.runs import write_json
from potstill.teaching.stores.make import Progress, check_folder
from potstill.teaching.stores.manifest import NAME
from potstill.teaching.stores.shards import Shard, TornShard, count_rows, read_shard, shard_path, write_shard
from potstill.teaching.stores.timing import Took, seconds_per_window
from potstill.types import Logits, Tokens, TopLogits, chunks

if TYPE_CHECKING:
    from potstill.families.language.model import LanguageModel

FORMAT = 1
KEPT = 64
EXAMPLES = 256  # of a shard
FIELDS = ("counts", "indices", "logits", "log_sum_exp", "mass")


def label_tokens(
    teacher: LanguageModel,
    examples: Any,
    folder: Path,
    temperature: float,
    *,
    kept: int = KEPT,
    batch_size: int = 8,
    progress: Callable[[Progress], None] | None = None,
) -> LogitStore:
    """Store the teacher's ``kept`` largest logits at every answer token; an interrupted call goes on where it stopped.

    Parameters
    ----------
    teacher
        Asked in evaluation mode.
    examples
        Gives Tokens by id, and has ``fingerprint`` and ``lengths``.
    folder
        The store to make or to continue.
    temperature
        That ``log_sum_exp`` is taken at: the one that the student will be compared at.
    kept, batch_size
        Logits of a token, and examples of a pass.
    progress
        Called after each batch.

    Raises
    ------
    UserError
        Where the folder holds other labels or cannot be written.
    """
    check_folder(folder)
    manifest = _manifest(teacher, examples, temperature, min(kept, teacher.vocabulary))
    if not (folder / NAME).exists():
        write_json(folder / NAME, manifest)
    store = LogitStore.open(folder, examples, teacher, temperature)
    total, done, kept_already, began = len(examples), 0, 0, time.perf_counter()
    for index, first in enumerate(range(0, total, EXAMPLES)):
        ids = np.arange(first, min(first + EXAMPLES, total))
        if store.has(index, len(ids)):
            kept_already += len(ids)
            continue
        start, parts = time.perf_counter(), []
        for part in np.split(ids, range(batch_size, len(ids), batch_size)):
            parts.append(_answers(teacher, examples.__getitems__(part), store.kept, temperature))
            done += len(part)
            if progress is not None:
                progress(Progress(done, kept_already, total, time.perf_counter() - began, "examples"))
        tensors = {name: torch.cat([part[name] for part in parts]) for name in FIELDS}
        Took(index, len(ids), time.perf_counter() - start).note(folder)
        write_shard(shard_path(folder, index), store.key, tensors)
        release()  # texts of ever other lengths leave holes in the heap that the next ones do not fit
    return store


@torch.inference_mode()
def _answers(teacher: LanguageModel, tokens: Tokens, kept: int, temperature: float) -> dict[str, Tensor]:
    tokens = tokens.to(teacher.device)
    logits = teacher.forward(tokens).logits
    assert isinstance(logits, Logits)
    found: dict[str, list[Tensor]] = {name: [] for name in FIELDS[1:]}
    for rows in chunks(len(logits), teacher.vocabulary):
        # up to a constant of each row, which relative logits do not know, log-probabilities are logits
        whole = log_probabilities(logits, rows)
        top = whole.topk(kept, dim=1)
        relative, total = top.values - top.values[:, :1], ((whole - top.values[:, :1]) / temperature).logsumexp(dim=1)
        found["indices"].append(top.indices.to(torch.int32).cpu())
        found["logits"].append(relative.half().cpu())
        found["log_sum_exp"].append(total.float().cpu())
        found["mass"].append((relative / temperature - total[:, None]).exp().sum(dim=1).half().cpu())
    arrays = {name: torch.cat(parts) for name, parts in found.items()}
    if teacher.vocabulary <= 2**16:
        arrays["indices"] = arrays["indices"].to(torch.uint16)
    return {"counts": tokens.answer.sum(dim=1).to(torch.int32).cpu(), **arrays}


def _manifest(teacher: LanguageModel, examples: Any, temperature: float, kept: int) -> dict[str, Any]:
    precision = str(next(teacher.module.parameters()).dtype).removeprefix("torch.")
    identity = {
        "format": FORMAT,
        "kind": "logits",
        "teacher": teacher.fingerprint,
        "data": examples.fingerprint,
        "temperature": temperature,
        "kept": kept,
        "precision": precision,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return {**identity, "key": key, "teacher_name": teacher.source.name, "examples": len(examples)}


class LogitStore:
    """Stored logits of one teacher for one data set; made by :func:`label_tokens`."""

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder, self.key = folder, manifest["key"]
        self.kept: int = manifest["kept"]
        self.temperature: float = manifest["temperature"]
        self._shards: dict[int, tuple[Shard, np.ndarray]] = {}

    @classmethod
    def open(cls, folder: str | Path, examples: Any, teacher: LanguageModel, temperature: float) -> LogitStore:
        """Open a store and check that it answers these examples, by this teacher, at this temperature.

        Raises
        ------
        UserError
            Where there is no store, or it is another's (it says whose).
        """
        folder = Path(folder)
        try:
            found = json.loads((folder / NAME).read_text(encoding="utf-8"))
            if found.get("kind") != "logits" or found["format"] != FORMAT:
                raise UserError(f"{folder}: holds no logits of a language model; label into a new folder.")
            wanted = _manifest(teacher, examples, temperature, found["kept"])
        except FileNotFoundError:
            raise UserError(
                f"{folder}: holds no labels (no {NAME}); make them with `potstill label --output {folder}`."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{folder / NAME}: is not a label manifest ({error}); label into a new folder.") from None
        for name, what in (
            ("teacher", "come from another teacher"),
            ("data", "answer other examples"),
            ("temperature", "were made at another temperature"),
            ("precision", "were made with a teacher of another precision"),
        ):
            if found[name] != wanted[name]:
                short = [str(side[name])[:12] for side in (found, wanted)]
                raise UserError(
                    f"{folder}: the labels {what} (theirs {short[0]}, yours {short[1]}); use what they were made with,"
                    " or label into a new folder."
                )
        if found["key"] != wanted["key"]:
            raise UserError(f"{folder / NAME}: was changed since it was written; label into a new folder.")
        return cls(folder, found)

    def has(self, index: int, count: int) -> bool:
        """Whether a shard is there and whole."""
        try:
            return len(self._shard(index)[0].arrays["counts"]) == count
        except (FileNotFoundError, TornShard):
            return False

    def labelled(self) -> int:
        """How many examples have labels, from id 0 on without a gap."""
        index, total = 0, 0
        while (rows := count_rows(shard_path(self.folder, index), "counts")) > 0:
            index, total = index + 1, total + rows
        return total

    def mass(self) -> float:
        """Mean share of the teacher's probability that the kept tokens hold, at the store's temperature."""
        shards = sorted(self.folder.glob("shard-*.safetensors"))
        every = [self._shard(index)[0].arrays["mass"].astype(np.float64) for index in range(len(shards))]
        return float(np.concatenate(every).mean())

    def seconds_per_window(self) -> float:
        """What an example's labels cost when they were made; 0 where that was not noted."""
        return seconds_per_window(self.folder)

    def attach(self, tokens: Tokens) -> Tokens:
        """The same batch with the teacher's stored logits as ``labels``.

        Raises
        ------
        UserError
            Where examples have no labels, or a shard is corrupt.
        """
        parts: list[dict[str, np.ndarray]] = []
        for example in tokens.ids.tolist():
            index, row = divmod(example, EXAMPLES)
            try:
                shard, offsets = self._shard(index)
            except FileNotFoundError:
                raise UserError(
                    f"{self.folder}: example {example} has no labels; label the rest with `potstill label --output"
                    f" {self.folder}` and the same options."
                ) from None
            place = slice(offsets[row], offsets[row + 1])
            parts.append({name: shard.arrays[name][place] for name in ("indices", "logits", "log_sum_exp")})
        indices, logits, total = (
            torch.from_numpy(np.concatenate([part[name] for part in parts]).astype(kind))
            for name, kind in (("indices", np.int64), ("logits", np.float32), ("log_sum_exp", np.float32))
        )
        return replace(tokens, labels=TopLogits(indices, logits, total, self.temperature)).to(tokens.ids.device)

    def _shard(self, index: int) -> tuple[Shard, np.ndarray]:
        if index not in self._shards:
            shard = read_shard(shard_path(self.folder, index), self.key, FIELDS)
            self._shards[index] = shard, np.concatenate([[0], np.cumsum(shard.arrays["counts"], dtype=np.int64)])
        return self._shards[index]
