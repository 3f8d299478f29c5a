"""Texts of random tokens, as a data set of held-out examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from potstill.types import Tokens


class Texts:
    """Validation texts of 3 to 40 random tokens; all but the first two are answers."""

    def __init__(self, count: int = 12, longest: int = 40):
        self.lengths = np.random.default_rng(0).integers(3, longest + 1, count)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, ids: Any) -> Tokens:
        lengths = torch.from_numpy(self.lengths[np.asarray(ids)])
        place = torch.arange(int(lengths.max()))
        rows = [torch.randint(1, 250, (len(place),), generator=torch.Generator().manual_seed(int(i))) for i in ids]
        attention = place < lengths[:, None]
        return Tokens(torch.stack(rows), attention, attention & (place >= 2), torch.tensor(np.asarray(ids)))

    def prompts(self, ids: Any) -> list[str]:
        raise NotImplementedError

    def answers(self, ids: Any) -> list[str]:
        raise NotImplementedError
