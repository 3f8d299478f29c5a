"""The code that runs in a worker. It imports nothing heavy: threads are set before torch is imported.

What is pickled here goes only between processes of one job, by Ray, which pickles actors and arguments itself.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: builds the function that a worker applies to each item; both must be importable by name
Factory = Callable[[], Callable[[Any], Any]]


@dataclass(frozen=True)
class Answer:
    """What a worker made of one item: its result or the exception; and which worker, in which of its processes."""

    result: Any
    error: Exception | None
    node: str
    worker: str
    process: int
    restarted: bool


class Worker:
    """An actor of Ray Data: builds a function once and applies it to items, one after the other.

    Parameters
    ----------
    factory
        A pickled ``Factory``.
    items
        The pickled sequence of all items; a batch holds numbers of items.
    environment
        Variables to set before anything is imported.
    threads
        Threads of torch, as many as the process that started the job has, so that results have the same bits.
    version
        The version of Potstill of that process.
    """

    def __init__(self, factory: bytes, items: bytes, environment: Mapping[str, str], threads: int, version: str):
        os.environ.update(environment)
        self.factory, self.items, self.threads, self.version = factory, items, threads, version
        self._function: Callable[[Any], Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """The pickled ``Answer`` of each item of a batch."""
        return {"answer": [pickle.dumps(self._answer(int(number)), protocol=5) for number in batch["item"]]}

    def _answer(self, number: int) -> Answer:
        import ray

        context: Any = ray.get_runtime_context()
        restarted = context.was_current_actor_reconstructed
        who = context.get_node_id(), context.get_actor_id() or "", os.getpid(), restarted
        # errors are returned, so that the driver raises that of the first item, as one process would
        try:
            return Answer(self._apply(number), None, *who)
        except Exception as error:
            return Answer(None, _portable(error), *who)

    def _apply(self, number: int) -> Any:
        if self._function is None:
            self._function = self._built()
        return self._function(self._all[number])

    def _built(self) -> Callable[[Any], Any]:
        import torch

        import potstill
        from potstill.errors import UserError

        if potstill.__version__ != self.version:
            raise UserError(
                f"The workers have Potstill {potstill.__version__}, this process has {self.version}; install the same"
                " version on all machines of the cluster.",
                key="ray.other_version",
            )
        torch.set_num_threads(self.threads)
        self._all = pickle.loads(self.items)
        try:
            factory = pickle.loads(self.factory)
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename}: is not on the machine of a worker; set POTSTILL_CACHE to a folder that all machines"
                " of the cluster share.",
                key="ray.cache_not_shared",
            ) from None
        return factory()


def _portable(error: Exception) -> Exception:
    """The exception if it can be pickled, else one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception_only(error)).strip())
    return error
