"""``potstill distill``: train a student from teachers and data, and write its metrics and report into a run folder."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from potstill.console import say
from potstill.data.series.saved_frames import saved_frames
from potstill.errors import UserError
from potstill.ranks import connect, is_main, on_main
from potstill.recipe import Recipe
from potstill.recipe.options import recipe_of_run, resolve
from potstill.runs import check_run, locked, open_run, output_path, write_json, writing_into
from potstill.tasks.plan import plan_lines
from potstill.tasks.prepare import prepare
from potstill.tasks.stages import RunState, stages_of, write_recipe
from potstill.training.division import fix_processes
from potstill.verbs.run import Run

if TYPE_CHECKING:
    from potstill.recipe.options import DistillOptions

DATA_FILE = "data.json"  # hash of the run's data


def distill(
    recipe: Recipe | str | Path | None = None,
    output: str | Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    **options: Unpack[DistillOptions],
) -> Run:
    """Distil teachers into a student.

    Parameters
    ----------
    recipe
        A recipe or the path of one; default: Potstill's defaults.
    output
        The run's folder; must be new or empty, unless the run is resumed.
    options
        Override keys of the recipe by short names, as on the command line: ``teacher``, ``data`` (paths, or a pandas
        frame, which is kept in the run), ``student``, ``max_steps``, ``alpha`` …; see ``recipe.options.OPTIONS``.
    resume
        Continue from the newest complete checkpoint, with the same result as an uninterrupted run. The run's own recipe
        is used; a recipe or options given in addition must agree with it.
    dry_run
        Print the plan (windows, sizes, memory, time) and stop; nothing is written.

    Returns
    -------
    Run
        The run's folder, a path, with ``metrics``, ``student``, ``report`` and ``summary``.

    Raises
    ------
    UserError
        If input or options are invalid.
    Interrupted
        After SIGINT or SIGTERM; a checkpoint is written first.
    """
    if output is None:
        raise UserError("output: no folder given; name the folder of the run.", key="output.missing")
    run = Run(output_path(output))
    with saved_frames(dict(options)) as (given, frame), ExitStack() as lock:
        recipe = resolve(recipe, _without_own_frame(run, given, frame) if resume else given)
        connect(recipe.training.device)
        if not dry_run:
            on_main(lambda: check_run(run, resume))
        recipe = recipe_of_run(run, recipe) if resume else recipe.absolute()
        fix_processes(recipe, resume)
        task = prepare(recipe)
        labels = task.ready_labels()
        plan = plan_lines(task, labels)
        if dry_run:
            say(*plan)
            return run
        validate = task.validation()
        # after all checks: invalid input leaves no folder
        on_main(lambda: _begin(run, resume, task.data_fingerprint, lock))
        if frame is not None:
            copy = run / frame.name
            on_main(lambda: shutil.copy(frame, copy))
            task.recipe.data.paths = [str(copy.absolute())]
        say(*plan)
        with writing_into(run):
            write_recipe(task, run)
            state = RunState(task, run, resume, task.training_data(run, labels), validate)
            for stage in stages_of(task):
                stage(state)
            if is_main():
                task.finish(run, state.models)
    return run


def _begin(run: Path, resume: bool, fingerprint: str, lock: ExitStack) -> None:
    """Create and lock the run's folder, which notes its data; a run that is resumed must have the same."""
    open_run(run, resume)
    lock.enter_context(locked(run))
    file = run / DATA_FILE
    if resume and file.exists() and json.loads(file.read_text(encoding="utf-8"))["fingerprint"] != fingerprint:
        raise UserError(
            f"--resume: the data of {run} have changed since it began; restore them, or start another run.",
            key="run.other_data",
        )
    write_json(file, {"fingerprint": fingerprint})


def _without_own_frame(run: Path, options: dict[str, Any], frame: Path | None) -> dict[str, Any]:
    """The options without a data frame that equals the run's copy."""
    if frame is None or not (run / frame.name).exists() or (run / frame.name).read_bytes() != frame.read_bytes():
        return options
    return {name: value for name, value in options.items() if name != "data"}
