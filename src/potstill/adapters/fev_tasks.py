"""Evaluate models on tasks of fev and write its summaries: one row per model and task.

Models forecast one after another, task by task; after each task the file is written, so that a long benchmark that is
interrupted keeps its results.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.adapters.base import missing_library
from potstill.adapters.fev import PotstillModel, items_of, levels_of, predictions_of
from potstill.console import say
from potstill.errors import UnknownName, UserError
from potstill.recipe import Recipe
from potstill.recipe.notation import parse_source
from potstill.runs import RECIPE_FILE, open_run, run_of, write_atomically

try:
    import fev
    import pandas as pd
    import yaml
    from statsforecast.models import SeasonalNaive
except ImportError as error:
    raise missing_library("fev", error) from None

if TYPE_CHECKING:
    import datasets
    from fev import Task

SUMMARY_FILE = "fev.csv"
SEASONAL_NAIVE = "seasonal_naive"  # also what fev.leaderboard compares with by default
_CHOSEN = re.compile(r"(.+\.ya?ml):([^/]+)")


class SeasonalNaiveModel(fev.ForecastingModel):
    """statsforecast's seasonal naive forecast, as in fev's own benchmark; missing values are filled forward."""

    model_name = SEASONAL_NAIVE

    def _fit_predict(self, task: Task) -> list[datasets.DatasetDict]:
        predictions = []
        levels = levels_of(task)
        for window in task.iter_windows():
            items = items_of(window, covariates=False)
            with self._record_inference_time():
                # [N, D, Q, H]
                found = np.stack(
                    [[_naive(row, task.seasonality, task.horizon, levels) for row in item.target] for item in items]
                )
            at = {level: found[:, :, q] for q, level in enumerate(levels)}
            quantiles = {level: at[level] for level in task.quantile_levels}
            predictions.append(predictions_of(at[0.5], quantiles, task.target_columns))
        return predictions


def _naive(values: np.ndarray, season: int, horizon: int, levels: Sequence[float]) -> np.ndarray:
    """``[Q, H]``; NaN for a series without a value."""
    filled = pd.Series(values).replace([np.inf, -np.inf], np.nan).ffill().bfill().to_numpy(np.float64)
    if not len(filled) or np.isnan(filled).any():
        return np.full((len(levels), horizon), np.nan)
    widths = {level: round(abs(200 * (level - 0.5)), 6) for level in levels}
    asked = sorted({width for width in widths.values() if width})
    # a series of one season or less repeats its last value
    naive: Any = SeasonalNaive(season if len(filled) > season else 1)  # its widths may be fractions
    found = naive.forecast(filled, horizon, level=asked or None)
    names = [f"{'lo' if q < 0.5 else 'hi'}-{widths[q]}" if widths[q] else "mean" for q in levels]
    rows = [found[name] for name in names]
    return np.where(np.isnan(rows), found["mean"], rows)  # a single value has no interval


def evaluate_tasks(
    models: Mapping[str, Any], tasks: str | Path, output: str | Path, *, baseline: bool, device: str | None
) -> Path:
    """Evaluate models on tasks of fev.

    Parameters
    ----------
    models
        Sources or loaded forecasters, by name.
    tasks
        A YAML file (or its address) with the fields of one task or with a list ``tasks``; ``FILE:NAME`` is the task
        with that name.
    output
        Folder for ``fev.csv``, in the format of fev's leaderboards; must be new.
    baseline
        Whether seasonal naive is evaluated too.
    device
        Such as ``cpu`` or ``cuda:1``.

    Raises
    ------
    UserError
        If the file, a task or its data set cannot be read.
    """
    chosen = read_tasks(tasks)
    judged: list[fev.ForecastingModel] = [SeasonalNaiveModel()] if baseline else []
    judged += [PotstillModel(source, name, device) for name, source in models.items()]
    folder = open_run(output, resume=False)
    summaries: list[dict[str, Any]] = []
    for task in chosen:
        _load(task)
        for model in judged:
            summaries.append(_summary(model, task, models.get(str(model.model_name))))
            say(_line(summaries[-1]))
        write_atomically(folder / SUMMARY_FILE, pd.DataFrame(summaries).to_csv(index=False))
    if baseline:
        say(*_skills(pd.DataFrame(summaries)))
    say(f"Results  {folder / SUMMARY_FILE}")
    return folder


def read_tasks(source: str | Path) -> list[Task]:
    """The tasks of a YAML file; see ``evaluate_tasks``."""
    found = _CHOSEN.fullmatch(str(source))
    path, name = found.groups() if found else (str(source), None)
    definitions = _definitions(path)
    tasks = [_task(definition, path, place) for place, definition in enumerate(definitions)]
    if name is None:
        return tasks
    named = [task for task in tasks if task.task_name == name]
    if not named:
        raise UnknownName("task", name, [str(task.task_name) for task in tasks])
    return named


def _definitions(path: str) -> list[Any]:
    if not path.startswith(("http://", "https://")) and not Path(path).is_file():
        raise UserError(
            f"--fev {path}: there is no such file; give a YAML file with a task of fev, or with a list `tasks`.",
            key="fev.no_such_file",
        )
    try:
        if path.startswith(("http://", "https://")):
            import requests

            answer = requests.get(path, timeout=60)
            answer.raise_for_status()
            tree = yaml.safe_load(answer.text)
        else:
            tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--fev {path}: cannot be read as YAML ({_first_line(error)}).", key="fev.not_yaml") from None
    definitions = tree.get("tasks", [tree]) if isinstance(tree, dict) else tree
    if not isinstance(definitions, list) or not definitions or not all(isinstance(one, dict) for one in definitions):
        raise UserError(
            f"--fev {path}: holds no task; write the fields of a task of fev (dataset_path, horizon, …), or a list"
            " `tasks` of them.",
            key="fev.no_task",
        )
    return definitions


def _task(definition: dict[str, Any], path: str, place: int) -> Task:
    try:
        return fev.Task(**definition)
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(
            f"--fev {path}: task {place + 1} is not valid ({_reason(error)}); see the fields of fev.Task.",
            key="fev.bad_task",
        ) from None


def _load(task: Task) -> None:
    try:
        task.load_full_dataset()
        for window in task.iter_windows():
            window.get_input_data()
    except (RuntimeError, ValueError, AssertionError, OSError, KeyError) as error:
        cause = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
        where = "/".join(part for part in (task.dataset_path, task.dataset_config) if part)
        raise UserError(
            f"--fev: the data set {where} of task {task.task_name} cannot be used ({_first_line(cause)}); correct the"
            " task or its file, which must be Parquet or Arrow, or be on the hub.",
            key="fev.bad_dataset",
        ) from None


def _summary(model: fev.ForecastingModel, task: Task, source: Any) -> dict[str, Any]:
    predictions = model.fit_predict(task)
    return task.evaluation_summary(
        predictions,
        model_name=str(model.model_name),
        training_time_s=model.training_time,
        inference_time_s=model.inference_time,
        trained_on_this_dataset=_trained_on(source, task),
    )


def _trained_on(source: Any, task: Task) -> bool:
    """Whether a model is of a run that names the task's data set among its data."""
    run = run_of(parse_source(str(source))[0]) if isinstance(source, (str, Path)) else None
    if run is None:
        return False
    if task.dataset_config is not None:
        wanted = {f"{task.dataset_path}/{task.dataset_config}"}
    else:
        file = Path(task.dataset_path).resolve()
        wanted = {str(file), str(file.parent)}
    paths = Recipe.read(run / RECIPE_FILE).data.paths
    return any(path in wanted or str(Path(path).resolve()) in wanted for path in paths)


def _line(summary: Mapping[str, Any]) -> str:
    metric = summary["eval_metric"] if isinstance(summary["eval_metric"], str) else summary["eval_metric"]["name"]
    trained = ", trained on this data set" if summary["trained_on_this_dataset"] else ""
    return (
        f"{summary['task_name']}: {summary['model_name']} {metric} {summary['test_error']:.4g}"
        f" ({summary['num_forecasts']:,} forecasts in {summary['inference_time_s']:.1f} s{trained})"
    )


def _skills(summaries: pd.DataFrame) -> Iterator[str]:
    """Error of each model relative to seasonal naive: the geometric mean over tasks."""
    errors = summaries.assign(task=summaries.groupby("model_name").cumcount()).pivot(
        index="task", columns="model_name", values="test_error"
    )
    for name in summaries["model_name"].unique():
        if name != SEASONAL_NAIVE:
            ratio = (errors[name] / errors[SEASONAL_NAIVE]).to_numpy(np.float64)
            used = ratio[np.isfinite(ratio) & (ratio > 0)]
            if len(used):
                share = f"{len(used)} tasks" if len(used) == len(ratio) else f"{len(used)} of {len(ratio)} tasks"
                yield f"{name}: error relative to seasonal naive {np.exp(np.log(used).mean()):.3f} ({share})"


def _reason(error: Exception) -> str:
    """The first complaint: pydantic lists several, each with its field."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first: Any = errors()[0]  # pyright: ignore[reportIndexIssue]
        field = ".".join(str(part) for part in first["loc"])
        return f"{field}: {first['msg']}" if field else first["msg"]
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    return (text.splitlines() or [type(error).__name__])[0].rstrip(".")
