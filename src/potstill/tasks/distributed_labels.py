"""Label the shards of a store on the workers of a cluster; each prepares the recipe for itself and loads it once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from potstill.compute.cluster import Cluster
from potstill.compute.stream import stream
from potstill.recipe import Recipe
from potstill.tasks.prepare import prepare


def label_on(cluster: Cluster, recipe: Recipe, folder: Path, shards: list[range]) -> Iterator[range]:
    """Label shards of a store that has begun; gives each when it is finished.

    ``folder`` and the data of the resolved ``recipe`` must be at the same place on every machine.
    """
    yield from stream(cluster, partial(shard_labeller, recipe, folder.absolute()), shards, ordered=False)


def shard_labeller(recipe: Recipe, folder: Path) -> Callable[[range], range]:
    """The function of a worker: it labels a shard and returns its row ids."""
    label = prepare(recipe).shard_labeller(folder)

    def labelled(ids: range) -> range:
        label(ids)
        return ids

    return labelled
