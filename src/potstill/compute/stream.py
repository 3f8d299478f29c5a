"""Map items over the workers of a cluster with Ray Data; results come back as a stream."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

from potstill.compute.cluster import Cluster
from potstill.compute.worker import Answer, Factory, Worker
from potstill.errors import UserError

#: variables that decide where files are and how libraries behave; they must be those of this process
VARIABLES = (
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_DISABLE_PROGRESS_BARS",
    "HF_HUB_OFFLINE",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "POTSTILL_CACHE",
    "TRANSFORMERS_VERBOSITY",
)
MOST_BLOCKS = 20_000  # of items; with more items a block has several
OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError")  # Ray's and torch's, and Python's
MAX_RETRIES = 3  # of a block whose worker dies


def stream(cluster: Cluster, factory: Factory, items: Sequence[Any], ordered: bool) -> Iterator[Any]:
    """Apply a function to items on the workers, each of which builds it once.

    A worker that dies is replaced, and its block of items is repeated. Results wait in the object store, which is
    bounded, until they are taken: workers then pause.

    Parameters
    ----------
    cluster
        Where the workers run.
    factory
        Builds the function in the worker; pickled by reference.
    items
        Small values that can be pickled.
    ordered
        Whether results come in the order of ``items``; else in the order in which they are finished.

    Raises
    ------
    UserError
        If workers die repeatedly, and what the function raises.
    """
    if not len(items):
        return
    trouble: UserError | None = None
    with closing(_blocks(cluster, factory, items, ordered)) as blocks:
        while trouble is None:
            try:
                block = next(blocks, None)
            except cluster.errors as error:
                trouble = _explained(error, cluster)
                break
            if block is None:
                return
            for answer in block:
                cluster.saw(answer)
                if type(answer.error).__name__ in OUT_OF_MEMORY:
                    raise _explained(answer.error, cluster)
                if answer.error is not None:
                    raise answer.error
                yield answer.result
    raise trouble  # outside of the except clause: its exception holds the workers of the cluster


def _blocks(
    cluster: Cluster, factory: Factory, items: Sequence[Any], ordered: bool
) -> Generator[list[Answer], None, None]:
    import numpy as np
    import pyarrow as pa
    import ray.data
    import ray.util.annotations

    from potstill import __version__

    numbers = np.array_split(np.arange(len(items)), min(len(items), MOST_BLOCKS))
    dataset = ray.data.from_arrow([pa.table({"item": part}) for part in numbers])
    context = dataset.context  # this data set's own copy
    context.execution_options.preserve_order = ordered
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    with warnings.catch_warnings():
        # deprecated in general, but nothing else limits how often a block is repeated: by default for ever
        warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
        answers = dataset.map_batches(
            Worker,
            fn_constructor_args=(pickle.dumps(factory), pickle.dumps(items), environment, cluster.threads, __version__),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(cluster.workers, len(numbers))),
            num_cpus=cluster.cpus_per_worker,
            num_gpus=cluster.gpus_per_worker or None,
            max_task_retries=MAX_RETRIES,
        )
    blocks: Any = answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    for block in blocks:
        yield [pickle.loads(answer.as_buffer()) for answer in block.column("answer")]


def _explained(error: Exception | None, cluster: Cluster) -> UserError:
    """One sentence about workers that failed although their blocks were repeated."""
    if type(error).__name__ in OUT_OF_MEMORY or "low on memory" in str(error):
        return UserError(
            f"--engine ray: a worker ran out of memory; lower --concurrency (now {cluster.workers}), or use machines"
            " with more memory: finished labels are kept.",
            key="ray.out_of_memory",
        )
    times = f"{MAX_RETRIES + 1} time{'s' if MAX_RETRIES else ''}"
    return UserError(
        f"--engine ray: a worker died {times} on the same part of the work ({type(error).__name__});"
        f" its machine may be short of memory: lower --concurrency (now {cluster.workers}), or find the cause in Ray's"
        " logs.",
        key="ray.worker_died",
    )
