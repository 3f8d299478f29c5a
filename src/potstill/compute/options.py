"""The options of engines: ``--engine``, ``--ray-address``, ``--concurrency`` and ``--gpus-per-worker``."""

from __future__ import annotations

from dataclasses import dataclass

from potstill.errors import UserError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class RayOptions:
    """How a Ray cluster is used.

    Attributes
    ----------
    address
        A cluster to join; None: that of ``RAY_ADDRESS``, or a local one that is started and stopped.
    concurrency
        Workers; None: as many as the cluster has room for.
    gpus_per_worker
        GPUs of a worker, also a part of one; None: one if the cluster has GPUs.
    device
        The device that the user chose; None: the GPU of a worker if it has one.
    """

    address: str | None = None
    concurrency: int | None = None
    gpus_per_worker: float | None = None
    device: str | None = None


def ray_options(
    engine: str,
    ray_address: str | None = None,
    concurrency: int | None = None,
    gpus_per_worker: float | None = None,
    device: str | None = None,
) -> RayOptions | None:
    """The options of the engine ``ray``, checked; None for ``local``.

    Raises
    ------
    UserError
        For an unknown engine, options that only ``ray`` has, and numbers out of range.
    """
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}: not available; known: {', '.join(ENGINES)}.", key="engine.unknown")
    given = {"--ray-address": ray_address, "--concurrency": concurrency, "--gpus-per-worker": gpus_per_worker}
    named = [name for name, value in given.items() if value is not None]
    if engine == "local":
        if named:
            raise UserError(f"{named[0]}: needs --engine ray; add it, or leave {named[0]} out.", key="engine.only_ray")
        return None
    if concurrency is not None and concurrency < 1:
        raise UserError(f"--concurrency {concurrency}: must be 1 or more workers.", key="option.out_of_range")
    if gpus_per_worker is not None and gpus_per_worker < 0:
        raise UserError(f"--gpus-per-worker {gpus_per_worker:g}: must not be negative.", key="option.out_of_range")
    return RayOptions(ray_address, concurrency, gpus_per_worker, device)
