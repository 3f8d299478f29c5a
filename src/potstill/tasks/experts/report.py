"""What the report says about the experts of a mixture: their use by data set."""

from __future__ import annotations

from typing import Any

from potstill.families.experts.model import Mixture
from potstill.tasks.experts.monitor import balance_of, entropy_of, usage_of

_WINDOWS = 256  # per data set


def usage_by_dataset(mixture: Mixture, windows: Any) -> dict[str, Any]:
    """Mean weight of each expert, and entropy and balance of the weights, by data set of ``SeriesWindows``."""
    found: dict[str, Any] = {"names": list(mixture.experts), "usage": {}, "entropy": {}, "balance": {}}
    for number, dataset in enumerate(windows.store.datasets):
        first, end = windows.range_of(number)
        if first == end:
            continue
        step = max(1, (end - first) // _WINDOWS)
        batch = windows.batch(range(first, end, step)[:_WINDOWS]).newest(mixture.max_context)
        weights = mixture.weights(batch).cpu()
        found["usage"][dataset] = usage_of(weights)
        found["entropy"][dataset] = entropy_of(weights)
        found["balance"][dataset] = balance_of(weights)
    return found
