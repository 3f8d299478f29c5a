"""The cost of a language model: size, speed, memory. Measurements of all models are interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

from potstill.evaluation.cost import TimedPasses, interleaved, peak_megabytes, speedups, weight_bytes, with_range
from potstill.evaluation.language.scoring import answer_of, sums_of
from potstill.families.base import evaluating
from potstill.families.language.model import LanguageModel
from potstill.families.load import saved_weights
from potstill.types import Tokens

TEXTS_PER_BATCH = 8  # in one scoring pass
TOKENS_PER_TEXT = 128
PROMPT_TOKENS, WRITTEN_TOKENS = 64, 32  # of the generation pass, at batch 1


def measure_language_costs(
    models: Mapping[str, LanguageModel],
    *,
    reference: str | None = None,
    repeats: int = 7,
    seconds: float = 60.0,
) -> dict[str, dict[str, Any]]:
    """Measure all models in interleaved rounds, so that other load on the machine slows all of them equally.

    Parameters
    ----------
    models
        By name. They read random tokens: neither speed nor memory depends on the tokens.
    reference
        The model that others are compared with.
    repeats, seconds
        The number of rounds, and the time after which no further round starts (one always runs).

    Returns
    -------
    Per model ``parameters``, ``bytes`` (see ``weight_bytes``) and, as medians over rounds, ``tokens_per_second_b1``
    (greedy generation with a cache; the time includes reading a prompt of 64 tokens), ``latency_ms_token`` (per token),
    ``scored_tokens_per_second_b8`` (log-probabilities of given tokens); ``peak_mb`` (working memory of a scoring pass
    in MiB, in addition to memory in use before; None where the system does not report it), ``rounds`` and, with a
    reference, ``speedup_generation`` and ``speedup_scoring`` (its time over the model's, median of paired rounds),
    each with a ``…_range`` over the rounds.
    """
    room = min(TOKENS_PER_TEXT, *(model.max_length for model in models.values()))
    prompt = min(PROMPT_TOKENS, room // 2)
    new = min(WRITTEN_TOKENS, room - prompt)
    write = {name: _writing(model, prompt, new) for name, model in models.items()}
    read = {name: _reading(model, room) for name, model in models.items()}
    costs: dict[str, dict[str, Any]] = {}
    for name, model in models.items():
        write[name]()  # the first pass also loads code and fills caches
        costs[name] = {
            "parameters": model.parameters,
            "bytes": weight_bytes(model, saved_weights(model.source)),
            "peak_mb": peak_megabytes(read[name], model.device),
        }
    rounds = interleaved([_timed(write, new), _timed(read, TEXTS_PER_BATCH * room)], repeats, seconds)
    for name, cost in costs.items():
        written, scored = (median(r[kind][name] for r in rounds) for kind in (0, 1))
        cost |= {
            "tokens_per_second_b1": 1 / written,
            "latency_ms_token": 1e3 * written,
            "scored_tokens_per_second_b8": 1 / scored,
            "rounds": len(rounds),
        }
        if reference is not None:
            cost |= with_range("speedup_generation", speedups(rounds, 0, reference, name))
            cost |= with_range("speedup_scoring", speedups(rounds, 1, reference, name))
    return costs


def _writing(model: LanguageModel, prompt: int, new: int) -> Callable[[], Any]:
    """A function that reads a prompt and generates exactly ``new`` tokens."""
    ids = _random(model, 1, prompt).input_ids.to(model.device)

    @torch.inference_mode()
    def run() -> list[int]:
        with evaluating(model.module):
            written = model.module.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                min_new_tokens=new,
                max_new_tokens=new,
                pad_token_id=model.tokenizer.pad_token_id,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        return written[0].tolist()

    return run


def _reading(model: LanguageModel, length: int) -> Callable[[], Any]:
    tokens = _random(model, TEXTS_PER_BATCH, length)
    return lambda: sums_of({"model": answer_of(model, tokens)}, tokens, None, model.vocabulary)["model"]


def _random(model: LanguageModel, count: int, length: int) -> Tokens:
    known = min(model.vocabulary, len(model.tokenizer))
    ids = torch.randint(known, (count, length), generator=torch.Generator().manual_seed(0))
    every = torch.ones_like(ids, dtype=torch.bool)
    return Tokens(ids, every, every, torch.arange(count))


def _timed(runs: Mapping[str, Callable[[], Any]], tokens: int) -> TimedPasses:
    """Seconds per token by model."""
    return {name: lambda run=run: _seconds(run) / tokens for name, run in runs.items()}


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - start
