"""Which layers of a teacher a shallower student keeps: those that the outputs depend on most."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from potstill.types.exact import in_float64


@contextlib.contextmanager
def only_layers(module: nn.Module, blocks: str, kept: Sequence[int]) -> Iterator[None]:
    """The module with only some of its layers, renumbered from 0, within the block."""
    parent, _, name = blocks.rpartition(".")
    owner = module.get_submodule(parent)
    everything = getattr(owner, name)
    try:
        setattr(owner, name, nn.ModuleList([everything[layer] for layer in kept]))
        yield
    finally:
        setattr(owner, name, everything)


@torch.no_grad()
def important_layers(
    module: nn.Module, blocks: str, count: int, run: Callable[[Any], Tensor], batches: Sequence[Any]
) -> list[int]:
    """The ``count`` layers to keep, ascending.

    Layer by layer the one is left out without which the outputs differ least from those of the whole model (mean
    absolute difference over all batches). Of many layers several go at once, at most a quarter, to save passes. Layer 0
    stays, because later layers build on its outputs.

    Parameters
    ----------
    module
        The teacher, in evaluation mode.
    blocks
        Dotted name of its list of layers.
    count
        Number of layers to keep, at least 1.
    run
        Runs the module on a batch and returns its outputs.
    batches
        Calibration data.
    """
    kept = list(range(len(list(module.get_submodule(blocks).children()))))
    if count >= len(kept):
        return kept
    whole = [run(batch) for batch in batches]

    def error(layers: list[int]) -> float:
        with only_layers(module, blocks, layers):
            pairs = zip(batches, whole, strict=True)
            return sum(float(in_float64((run(batch) - y).abs()).mean()) for batch, y in pairs)

    while len(kept) > count:
        errors = {layer: error([k for k in kept if k != layer]) for layer in kept[1:]}
        several = max(1, min(len(kept) - count, len(kept) // 4))
        dropped = sorted(errors, key=errors.__getitem__)[:several]
        kept = [layer for layer in kept if layer not in dropped]
    return kept
