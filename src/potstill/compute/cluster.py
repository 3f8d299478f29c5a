"""Start a local Ray cluster and stop it afterwards, or join one and leave it running."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch

from potstill.compute.options import RayOptions
from potstill.compute.worker import Answer
from potstill.console import say
from potstill.errors import UserError

OBJECT_STORE = 2**30  # bytes of a local cluster; results wait there
MEMORY_SHARE = 0.25  # of the memory that a local cluster's object store may take
OOM_VARIABLE, OOM_RETRIES = "RAY_task_oom_retries", 3
CONNECT_SECONDS = 5
LOCAL = "local"


@dataclass
class Cluster:
    """A connected cluster.

    Attributes
    ----------
    place
        Where it is, for messages.
    workers, threads
        Number of workers, and threads of each.
    cpus_per_worker, gpus_per_worker
        What a worker reserves.
    errors
        Exceptions of Ray.
    processes
        Processes that worked: node, worker, process id, and whether it replaced a dead one.
    """

    place: str
    workers: int
    threads: int
    cpus_per_worker: int
    gpus_per_worker: float
    errors: type[Exception]
    processes: set[tuple[str, str, int, bool]] = field(default_factory=set)

    def saw(self, answer: Answer) -> None:
        """Note the process that gave an answer."""
        self.processes.add((answer.node, answer.worker, answer.process, answer.restarted))

    def line(self) -> str:
        """What ran where, for the summary."""
        machines, workers = (len({process[place] for process in self.processes}) for place in (0, 1))
        again = sum(restarted for *_, restarted in self.processes)
        restarts = f", {_count(again, 'restart')} after a crash" if again else ""
        return f"Ray: {_count(workers, 'worker')} on {_count(machines, 'machine')}{restarts} ({self.place})"


@contextmanager
def connected(options: RayOptions) -> Iterator[Cluster]:
    """A cluster to work on: this process's own session of Ray, one to join, or a local one for the time of the call.

    Parameters
    ----------
    options
        What the user asked for. A worker has as many threads as torch has in this process, so that its results have
        the same bits.

    Raises
    ------
    UserError
        If Ray is not installed, the cluster cannot be reached, or it lacks what a worker needs.
    """
    ray, threads = _ray(), torch.get_num_threads()
    if ray.is_initialized():
        yield _sized(ray, options, threads, "this session's cluster")
        return
    address = options.address or os.environ.get("RAY_ADDRESS") or LOCAL
    if address != LOCAL:
        _check_address(address)
    try:
        say("Starting a local Ray cluster" if address == LOCAL else f"Joining the Ray cluster {address}")
        _connect(ray, address, options, threads)
        yield _sized(ray, options, threads, "a local cluster" if address == LOCAL else f"the cluster {address}")
    finally:
        ray.shutdown()  # a joined cluster goes on running


def _ray() -> Any:
    # before the import: no reports to Ray's makers, no C++ messages on the terminal
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise UserError(
            "--engine ray: needs the package ray; run pip install 'potstill[ray]'.", key="ray.not_installed"
        ) from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


def _connect(ray: Any, address: str, options: RayOptions, threads: int) -> None:
    settings: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == LOCAL:
        cpus = max(len(os.sched_getaffinity(0)), (options.concurrency or 1) * threads)
        settings |= {"num_cpus": cpus, "object_store_memory": _object_store(), "include_dashboard": False}
    # by default tasks that are killed because memory is short are repeated for ever; this process decides for its tasks
    os.environ.setdefault(OOM_VARIABLE, str(OOM_RETRIES))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with _quiet_stderr():
            ray.init(**settings)
    except (RuntimeError, ValueError, OSError) as error:
        raise _unusable(address, type(error).__name__) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # ray.init sets its own


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Ray's C++ code reports its log level on stderr, whatever the level is."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _check_address(address: str) -> None:
    """Raise UserError for an address at which nothing listens: Ray itself tries for minutes."""
    if "://" in address:
        raise UserError(
            "--ray-address: is an address of Ray Client, through which Ray Data cannot be used; give HOST:PORT of the"
            " head (port 6379), or run this command on the cluster with `ray job submit`.",
            key="ray.client_address",
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    with suppress(OSError, ValueError, OverflowError):
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        return
    raise UserError(
        f"--ray-address {address.rpartition('@')[2]}: no cluster answers there; give HOST:PORT of its head as `ray"
        " start` prints it, or leave the option out for a local cluster.",
        key="ray.unreachable",
    )


def _unusable(address: str, reason: str) -> UserError:
    if address == LOCAL:
        return UserError(
            f"--engine ray: a local cluster does not start ({reason}); free some memory and disk space, or name a"
            " running cluster with --ray-address.",
            key="ray.does_not_start",
        )
    return UserError(
        f"--ray-address {address}: the cluster cannot be used ({reason}); check the address, and that its Python and"
        " Ray have the versions of this machine.",
        key="ray.unreachable",
    )


def _object_store() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(OBJECT_STORE, MEMORY_SHARE * memory))


def _sized(ray: Any, options: RayOptions, threads: int, place: str) -> Cluster:
    """The workers that the cluster has room for, unless the user says how many."""
    total, nodes = ray.cluster_resources(), ray.nodes()
    gpus = options.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if total.get("GPU", 0) and options.device != "cpu" else 0.0
    if gpus > total.get("GPU", 0):
        raise UserError(
            f"--gpus-per-worker {gpus:g}: {place} has {total.get('GPU', 0):g} GPUs; give fewer, or 0 for the CPU.",
            key="ray.no_gpu",
        )
    largest = max((int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]), default=1)
    cpus = max(1, min(threads, largest))  # a worker that no machine can hold would never start
    room = total["GPU"] // gpus if gpus else total.get("CPU", 1) // cpus
    workers = options.concurrency or max(1, int(room))
    return Cluster(place, workers, threads, cpus, gpus, ray.exceptions.RayError)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
