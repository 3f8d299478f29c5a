"""The numbers of a language run's metrics.json; see ``evaluation.language.evaluate`` for the structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from potstill.reporting.figures import Figures
from potstill.reporting.values import mapping, number

LANGUAGE_METRIC_TITLES = {
    "perplexity": "Perplexity",
    "cross_entropy": "Cross-entropy (nats)",
    "kl": "KL to the teacher (nats)",
    "agreement": "Agreement",
    "rouge_l": "ROUGE-L",
}
LANGUAGE_COST_TITLES = {
    "parameters": "Parameters",
    "bytes": "Saved weights (bytes)",
    "tokens_per_second_b1": "Tokens generated per second, batch 1",
    "latency_ms_token": "Time per generated token (ms)",
    "scored_tokens_per_second_b8": "Tokens scored per second, batch 8",
    "peak_mb": "Working memory (MiB)",
}
FEW_EXAMPLES = 100  # with fewer held-out examples the report has a caution


class LanguageFigures(Figures):
    """Numbers of one language run; every accessor returns None where the file has no value."""

    rates: ClassVar[tuple[str, ...]] = ("tokens_per_second_b1", "scored_tokens_per_second_b8")
    speedups: ClassVar[Mapping[str, str]] = {"speedup_generation": "generating", "speedup_scoring": "scoring"}

    def of(self, model: str | None, metric: str) -> float | None:
        """One metric of one model: the mean over the evaluated parts (usually one)."""
        return self.mean(model, metric)

    def span(self, model: str, metric: str) -> tuple[float, float] | None:
        """Its 95 % confidence interval, if there is only one part."""
        if len(self.datasets) != 1:
            return None
        given = mapping(self.metrics["models"][model].get(self.datasets[0])).get(f"{metric}_interval")
        low, high = map(number, given) if isinstance(given, (list, tuple)) and len(given) == 2 else (None, None)
        return None if low is None or high is None else (low, high)

    def count(self, what: str, key: str) -> int | None:
        """A number of the account: of ``answers`` (``examples``, ``tokens``) or ``prompts`` (``answered``, …)."""
        found = number(mapping(mapping(self.metrics.get("account")).get(what)).get(key))
        return None if found is None else int(found)


def table(figures: LanguageFigures) -> dict[str, Any]:
    """All metrics by model: ``keys`` (the metrics' titles) and ``rows`` of (model, [(value, interval)])."""
    known = [
        key for key in LANGUAGE_METRIC_TITLES if any(figures.of(model, key) is not None for model in figures.models)
    ]
    rows = [(m, [(figures.of(m, key), figures.span(m, key)) for key in known]) for m in figures.models]
    return {"keys": {key: LANGUAGE_METRIC_TITLES[key] for key in known}, "rows": rows if known else []}
