"""Figures of language models per answer token, each with its interval by a bootstrap over examples.

An example's tokens depend on one another, so examples are drawn, not tokens. All models see the same draws: a ratio of
two models is then paired, and what is hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from potstill.evaluation.bootstrap import Interval, draw_weights, interval_of, samples_of_ratio
from potstill.evaluation.language.scoring import AGREEMENT, CROSS_ENTROPY, KL, TokenScores

PERPLEXITY = "perplexity"


def example_weights(count: int) -> np.ndarray:
    """``[repeats, count]``: how often each example stands in each bootstrap sample."""
    return draw_weights(np.arange(count), np.zeros(count, dtype=np.int64))


def summarise(scores: TokenScores, weights: np.ndarray) -> dict[str, Any]:
    """One model's figures.

    Parameters
    ----------
    scores
        Of n examples.
    weights
        ``[repeats, n]`` from ``example_weights``.

    Returns
    -------
    dict
        ``cross_entropy`` (nats per answer token), ``perplexity`` and, where there was a teacher, ``kl`` (nats per
        token) and ``agreement`` (share of tokens); beside each ``…_interval: [low, high]`` of 95 %.
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
    """Ratios of the first model's ``perplexity`` and (where both have one) ``kl`` to the second's, on paired draws."""
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
    """The subject against every other model: ``{"a/b": {metric: {"value", "low", "high"}}}``."""
    found = {}
    for other in scores:
        if other == subject:
            continue
        ratios = compare(scores[subject], scores[other], weights)
        if other == reference:
            ratios.pop(KL, None)  # the teacher's distance from itself is nothing
        found[f"{subject}/{other}"] = {metric: ratio.to_dict() for metric, ratio in ratios.items()}
    return found


def with_interval(metric: str, interval: Interval) -> dict[str, Any]:
    """As it stands in metrics.json."""
    return {metric: interval.value, f"{metric}_interval": [interval.low, interval.high]}
