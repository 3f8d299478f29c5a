"""Windows of a store at any origin: to forecast from its last rows, or from earlier ones.

Shapes: n windows, C context steps, H steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from potstill.data.series.store import Store

if TYPE_CHECKING:
    from potstill.types import Windows


def windows_before(store: Store, series: Sequence[int], origin: np.ndarray, longest: int, horizon: int) -> Windows:
    """Windows of series up to ``origin [n]``, with the covariates and groups of the store.

    Steps between the last known value and the origin are missing values of the context.
    """
    import torch

    from potstill.types import Windows

    length = min(longest, int(origin.max()))
    contexts = np.full((len(series), length), np.nan, np.float32)
    for place, (i, at) in enumerate(zip(series, origin.tolist(), strict=True)):
        known = store.series(i)[max(at - length, 0) : at]
        first = length - min(at, length)
        contexts[place, first : first + len(known)] = known
    windows = Windows.of_context(torch.from_numpy(contexts), horizon)
    windows.series, windows.origin = torch.as_tensor(series), torch.from_numpy(origin)
    return store.completed(windows)
