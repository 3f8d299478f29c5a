"""``potstill label``: compute a teacher's outputs once and store them for any number of trainings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from potstill.compute.cluster import connected
from potstill.compute.options import RayOptions, ray_options
from potstill.console import say
from potstill.data.series.saved_frames import saved_frames
from potstill.errors import UserError
from potstill.recipe import Recipe
from potstill.recipe.options import resolve
from potstill.remote.urls import is_url, shown
from potstill.runs import output_path
from potstill.tasks.base import Task
from potstill.tasks.distributed_labels import label_on
from potstill.tasks.prepare import prepare
from potstill.teaching.stores.writing import check_folder


def label(
    recipe: Recipe | str | Path | None = None,
    output: str | Path = "labels",
    *,
    engine: str = "local",
    ray_address: str | None = None,
    concurrency: int | None = None,
    gpus_per_worker: float | None = None,
    **options: Any,
) -> Path:
    """Label the training windows or examples of a recipe into a store; an interrupted call continues where it stopped.

    Parameters
    ----------
    recipe
        Names one teacher and the data; its training section determines the number of generated windows.
    output
        Folder of the label store.
    engine
        Where the teacher runs: ``local``, in this process, or ``ray``, in the workers of a Ray cluster. The shards are
        the same, and a store that one engine began can be continued by the other.
    ray_address
        A cluster to join, HOST:PORT of its head or ``auto``; default: a local cluster for the time of the call.
    concurrency
        Workers; default: as many as the cluster has room for. Each has as many threads as this process.
    gpus_per_worker
        GPUs of a worker, also a part of one; default: one if the cluster has GPUs.
    options
        Override keys of the recipe by short names, as for ``distill``.

    Raises
    ------
    UserError
        If the store holds labels of another teacher or other data, or options are invalid.
    """
    if is_url(output):
        raise UserError(
            f"--output {shown(str(output))}: labels are written to a folder of this machine or of a shared disk; copy"
            " the finished store there, and read it with --labels.",
            key="labels.output_is_url",
        )
    folder = output_path(output)
    ray = ray_options(engine, ray_address, concurrency, gpus_per_worker, options.get("device"))
    with saved_frames(options) as (options, _):
        recipe = resolve(recipe, options).absolute()
        if not recipe.teacher:
            raise UserError("--teacher: labelling needs at least one.", key="teacher.missing")
        if recipe.task == "language":  # the default temperature of a run with labels differs
            recipe = Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), {"labels": str(folder)})
        task = prepare(recipe)
        check_folder(folder)
        say(*task.source_lines())
        if ray is None:
            task.label(folder)
        else:
            _label_on_ray(task, folder, ray)
    return folder


def _label_on_ray(task: Task, folder: Path, options: RayOptions) -> None:
    with connected(options) as cluster:
        task.label(folder, partial(label_on, cluster, task.recipe, folder))
        say(cluster.line())
