"""Compute a language teacher's largest logits at every answer token of a data set and store them in shards.

Shapes: B examples of a pass, M their answer tokens, K kept logits, V vocabulary.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from potstill.families.language.project import log_probabilities
from potstill.malloc import release
from potstill.teaching.engines.progress import ProgressCounter, Report
from potstill.teaching.stores.logits import KEPT_LOGITS, LOGIT_FIELDS, OTHERS, LogitStore
from potstill.teaching.stores.manifest import LabelSource, Manifest
from potstill.teaching.stores.writing import Distribute, begin_store, unfinished, write_rows
from potstill.types import Logits, Request, Tokens, chunks, log_sum_exp_of_others

if TYPE_CHECKING:
    from potstill.families.language.model import LanguageModel

BATCH_SIZE = 8  # examples of a pass


def label_logits(
    teacher: LanguageModel,
    dataset: LabelSource,
    folder: str | Path,
    temperature: float,
    *,
    kept: int = KEPT_LOGITS,
    batch_size: int = BATCH_SIZE,
    shard_examples: int = 256,
    progress: Report | None = None,
    distribute: Distribute | None = None,
) -> LogitStore:
    """Store the teacher's ``kept`` largest logits at every answer token, shard by shard.

    A kill loses the current shard only; the same call continues after the finished ones.

    Parameters
    ----------
    teacher
        A frozen model in evaluation mode.
    dataset
        Its ``batch`` returns Tokens for a list of ids.
    folder
        The store to create or to continue; an existing store keeps its own number of logits.
    temperature
        The temperature of ``log_sum_exp``; the objective must use the same.
    kept, batch_size, shard_examples
        Logits of a token, examples of a pass, and examples of a shard.
    progress
        Called after each batch.
    distribute
        Labels the shards in other processes, see ``stores.writing.Distribute``; default: in this one.

    Raises
    ------
    UserError
        If the folder holds other labels or cannot be written.
    """
    folder, total = Path(folder), len(dataset)
    settings = {"temperature": temperature, "kept": min(kept, teacher.vocabulary)}
    begin_store(folder, lambda: Manifest.of("logits", teacher, dataset, settings, shard_examples))
    store = LogitStore.open(folder, dataset, teacher, temperature)
    store.manifest.check_shard_rows(folder, shard_examples)
    todo, already = unfinished(store, 0, total, total)
    counter = ProgressCounter(progress, already, sum(map(len, todo)), "examples")
    if distribute is not None:
        for ids in distribute(todo):
            counter.add(len(ids))
        return store
    for ids in todo:
        label_shard(teacher, dataset, store, ids, counter, batch_size)
    return store


def label_shard(
    teacher: LanguageModel,
    dataset: LabelSource,
    store: LogitStore,
    ids: range,
    counter: ProgressCounter | None = None,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Label the examples of a shard and write it; the same in any process, so that shards are the same."""
    began = time.perf_counter()
    counter = counter or ProgressCounter(None, 0, len(ids), "examples")
    tensors = _label(teacher, dataset, ids, batch_size, store, counter)
    write_rows(store, ids, tensors, time.perf_counter() - began)
    del tensors
    release()  # texts of different lengths fragment the heap


def _label(
    teacher: LanguageModel,
    dataset: LabelSource,
    ids: range,
    batch_size: int,
    store: LogitStore,
    counter: ProgressCounter,
) -> dict[str, Tensor]:
    """The arrays of a shard."""
    found: list[dict[str, Tensor]] = []
    for part in np.split(np.arange(ids.start, ids.stop), range(batch_size, len(ids), batch_size)):
        found.append(_largest(teacher, dataset.batch(part), store.kept, store.temperature))
        counter.add(len(part))
    return {name: torch.cat([part[name] for part in found]) for name in (*LOGIT_FIELDS, OTHERS)}


@torch.inference_mode()
def _largest(teacher: LanguageModel, tokens: Tokens, kept: int, temperature: float) -> dict[str, Tensor]:
    """Number of answer tokens per example ``[B]``; and per answer token the stored arrays, ``[M, K]`` or ``[M]``."""
    tokens = tokens.to(teacher.device)
    logits = teacher.forward(tokens, Request()).logits
    assert isinstance(logits, Logits)
    found: dict[str, list[Tensor]] = {name: [] for name in (*LOGIT_FIELDS[1:], OTHERS)}
    for rows in chunks(len(logits), teacher.vocabulary):
        # log-probabilities are logits up to a constant per row, which cancels in relative logits
        whole = log_probabilities(logits, rows)
        top = whole.topk(kept, dim=1)
        relative, scaled = top.values - top.values[:, :1], (whole - top.values[:, :1]) / temperature
        total = scaled.logsumexp(dim=1)
        found["indices"].append(top.indices.to(torch.int32).cpu())
        found["logits"].append(relative.half().cpu())
        found["log_sum_exp"].append(total.float().cpu())
        found[OTHERS].append((log_sum_exp_of_others(scaled, top.indices) - total).float().cpu())
        found["mass"].append((relative / temperature - total[:, None]).exp().sum(dim=1).half().cpu())
    arrays = {name: torch.cat(parts) for name, parts in found.items()}
    if teacher.vocabulary <= 2**16:
        arrays["indices"] = arrays["indices"].to(torch.uint16)
    return {"counts": tokens.answer.sum(dim=1).to(torch.int32).cpu(), **arrays}
