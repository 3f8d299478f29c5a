"""The random numbers of one batch, on the host and on the device, both determined by (seed, number of the batch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


class Draws:
    """Random numbers that depend on the seed, the batch's number and the order of the calls alone.

    What decides a tensor's shape (lengths, counts, group sizes) is drawn on the host, so that no call waits for the
    device. What differs from window to window is drawn on the device.

    Parameters
    ----------
    seed, number
        Identify the batch.
    device
        Where tensors are drawn. Different kinds of device draw different numbers.

    Attributes
    ----------
    host
        Generator of the host's numbers.
    """

    def __init__(self, seed: int, number: int, device: str | torch.device):
        entropy = np.random.SeedSequence([seed % 2**64, number])
        self.host = np.random.Generator(np.random.PCG64(entropy))
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device)
        self.generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def choice(self, weights: Mapping[T, float]) -> T:
        """One of the keys on the host, in proportion to its weight."""
        shares = np.array(list(weights.values()), dtype=np.float64)
        return list(weights)[int(self.host.choice(len(weights), p=shares / shares.sum()))]

    def one_of(self, items: Sequence[T]) -> T:
        """One of the items on the host, all equally likely."""
        return items[int(self.host.integers(len(items)))]

    def binomial(self, count: int, probability: float) -> int:
        """How many of ``count`` independent events happen, on the host."""
        return int(self.host.binomial(count, probability))

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform in [0, 1)."""
        return torch.rand(shape, generator=self.generator, device=self.device, dtype=dtype)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from ``low`` to ``high``, ``high`` excluded."""
        return torch.randint(low, high, shape, generator=self.generator, device=self.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """True with this probability."""
        return self.uniform(*shape) < probability

    def shuffled(self, count: int) -> Tensor:
        """A random order of ``range(count)``."""
        return torch.randperm(count, generator=self.generator, device=self.device)

    def dirichlet(self, parts: int, *shape: int) -> Tensor:
        """``[parts, *shape]`` weights that sum to 1 over the first axis, from a Dirichlet distribution with α = 1.5.

        The sum of an exponential variable and half the square of a normal one has the gamma distribution with shape
        1.5; torch's own sampler takes no generator.
        """
        exponential = -torch.log1p(-self.uniform(parts, *shape))
        gamma = exponential + self.normal(parts, *shape).square() / 2
        return gamma / gamma.sum(dim=0, keepdim=True)
