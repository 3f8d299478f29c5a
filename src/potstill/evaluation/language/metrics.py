"""Metrics of language models per answer token, each with a 95 % interval from a bootstrap over examples.

Tokens of one example are correlated, so the bootstrap resamples examples, not tokens. All models use the same samples,
so ratios of two models are paired and the difficulty of an example cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from potstill.evaluation.bootstrap import Interval, draw_weights, interval_of, samples_of_ratio
from potstill.evaluation.language.scoring import AGREEMENT, CROSS_ENTROPY, KL, TokenScores

PERPLEXITY = "perplexity"


def example_weights(count: int) -> np.ndarray:
    """``[repeats, count]``: how often each example occurs in each bootstrap sample."""
    return draw_weights(np.arange(count), np.zeros(count, dtype=np.int64))


def summarise(scores: TokenScores, weights: np.ndarray) -> dict[str, Any]:
    """The metrics of one model.

    Parameters
    ----------
    scores
        Scores of n examples.
    weights
        ``[repeats, n]`` from ``example_weights``.

    Returns
    -------
    dict
        ``cross_entropy`` (nats per answer token), ``perplexity`` and, with a teacher, ``kl`` (nats per token) and
        ``agreement`` (share of tokens); each with ``…_interval: [low, high]`` (95 %).
    """
    found: dict[str, Any] = {}
    for figure in (CROSS_ENTROPY, KL, AGREEMENT):
        if figure not in scores.sums:
            continue
        value, drawn = samples_of_ratio(scores.sums[figure], scores.tokens, weights)
        found |= with_interval(figure, interval_of(value, drawn))
        if figure == CROSS_ENTROPY:
            found |= with_interval(PERPLEXITY, interval_of(float(np.exp(value)), np.exp(drawn)))
    return found


def compare(first: TokenScores, second: TokenScores, weights: np.ndarray) -> dict[str, Interval]:
    """Ratios of the first model's ``perplexity`` and (if both have one) ``kl`` to the second's, on paired samples."""
    found = {}
    values, drawn = zip(
        *(samples_of_ratio(one.sums[CROSS_ENTROPY], one.tokens, weights) for one in (first, second)), strict=True
    )
    found[PERPLEXITY] = interval_of(float(np.exp(values[0] - values[1])), np.exp(drawn[0] - drawn[1]))
    if KL in first.sums and KL in second.sums:
        found[KL] = interval_of(*samples_of_ratio(first.sums[KL], second.sums[KL], weights))
    return found


def intervals(
    scores: Mapping[str, TokenScores], subject: str, reference: str | None, weights: np.ndarray
) -> dict[str, dict[str, dict[str, float]]]:
    """The subject compared with every other model: ``{"a/b": {metric: {"value", "low", "high"}}}``."""
    found = {}
    for other in scores:
        if other == subject:
            continue
        ratios = compare(scores[subject], scores[other], weights)
        if other == reference:
            ratios.pop(KL, None)  # the teacher's distance from itself is zero
        found[f"{subject}/{other}"] = {metric: ratio.to_dict() for metric, ratio in ratios.items()}
    return found


def with_interval(metric: str, interval: Interval) -> dict[str, Any]:
    """The entries in metrics.json."""
    return {metric: interval.value, f"{metric}_interval": [interval.low, interval.high]}
