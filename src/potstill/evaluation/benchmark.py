"""Evaluate forecasters and baselines over the test windows of many data sets, all on the same windows.

Each data set: choose windows, fit the baselines on the training part, then go through the windows batch by batch and
keep only scores per window, so that memory does not grow with the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch

from potstill.errors import UserError
from potstill.evaluation.baselines import Baseline, make_baseline
from potstill.evaluation.examples import SHOWN, pick_examples
from potstill.evaluation.histories import Histories, training_spread
from potstill.evaluation.metrics import LEVELS, WindowScores, mape_ignored, score_windows
from potstill.evaluation.outcome import NAIVE, Evaluation, Scored, conclude
from potstill.evaluation.selection import CHUNK, Selection, pasts, select_windows
from potstill.recipe import EvaluationConfig
from potstill.types import Forecast, Windows

Progress = Callable[[int, int, str], None]
"""Called with the windows done so far, all of them, and the data set."""


class Predictor(Protocol):
    """What an evaluation needs of a forecaster."""

    def predict(self, context: torch.Tensor, prediction_length: int) -> Forecast:
        """Quantiles of the next ``prediction_length`` steps of ``context [B, C]``."""
        ...


def evaluate_models(
    models: Mapping[str, Predictor],
    windows_test: Any,
    windows_train: Any,
    baselines: list[str],
    config: EvaluationConfig,
    reference: str = "teacher",
    progress: Progress | None = None,
) -> Evaluation:
    """Measure all models and baselines on the same windows.

    Parameters
    ----------
    models
        Forecasters by name, such as ``teacher``, ``student``, ``control``.
    windows_test, windows_train
        ``SeriesWindows`` of the part to judge on, best at stride 1 (windows are chosen here, see ``select_windows``),
        and of the training part (for the baselines, and for the spread that standardised metrics are in).
    baselines
        Names from ``baselines.BASELINES``; seasonal naive is always measured, as others are relative to it.
    config
        Stride and the most windows per data set.
    reference
        The model that retention is about; retention is left out where it is not among the models.
    progress
        Called after every batch; ``progress_bar`` makes one that draws rate and time left.

    Raises
    ------
    UserError
        Where no window can be scored, a baseline is unknown or a model's forecast is not finite.
    """
    names = [NAIVE, *(name for name in dict.fromkeys(baselines) if name != NAIVE)]
    for name in names:
        make_baseline(name)
        if name in models:
            raise UserError(f"model name {name!r} is that of a baseline; give the model another name.")
    subject = next((name for name in ("student", *models) if name in models and name != reference), reference)
    subject = subject if subject in models else NAIVE
    histories = Histories(windows_test.store)
    selections = [select_windows(windows_test, name, config, histories) for name in windows_test.store.datasets]
    account: dict[str, Any] = {s.dataset: s.report() for s in selections if s.available}
    selections = [s for s in selections if len(s.ids)]
    if not selections:
        raise UserError(_nothing_left(windows_test, account))

    spread = training_spread(windows_train, np.unique(np.concatenate([s.series for s in selections])))
    bench = _Bench(windows_test, histories, models, spread, progress, sum(len(s.ids) for s in selections))
    scored: list[Scored] = []
    examples: list[dict[str, Any]] = []
    for selection in selections:
        fitted, remarks = _fit(names, windows_train, selection.dataset)
        result = bench.score(selection, fitted)
        account[selection.dataset] |= _remarks(result, fitted, remarks)
        shown = {name: result.sql(name) for name in models or [NAIVE]}
        examples += bench.examples(selection, shown, subject)
        scored.append(result)
    without = [name for name in windows_test.store.datasets if name not in account]
    whole = {"datasets": account, "without_windows": without, "levels": LEVELS.tolist()}
    found = conclude(scored, reference, subject, whole)
    found.examples = {"levels": list(SHOWN), "examples": examples}
    return found


class _Bench:
    """The windows, the models, and how far it has come."""

    def __init__(
        self,
        windows: Any,
        histories: Histories,
        models: Mapping[str, Predictor],
        spread: np.ndarray,
        progress: Progress | None,
        total: int,
    ):
        self.windows, self.histories, self.models, self.spread = windows, histories, models, spread
        self.progress, self.done, self.total = progress, 0, total

    def score(self, selection: Selection, baselines: dict[str, Baseline]) -> Scored:
        """Scores of every model and baseline on a data set's windows."""
        rows = {name: np.arange(len(selection.ids)) for name in self.models}
        rows |= {name: selection.subset(baseline.max_windows) for name, baseline in baselines.items()}
        parts: dict[str, list[WindowScores]] = {name: [] for name in rows}
        for start in range(0, len(selection.ids), CHUNK):
            chunk = slice(start, min(start + CHUNK, len(selection.ids)))
            batch = self.windows.__getitems__(selection.ids[chunk])
            past = pasts(selection, self.histories, self.windows.prediction_length, chunk)
            spread = self.spread[selection.series[chunk]]
            for name in rows:
                here = rows[name][(rows[name] >= chunk.start) & (rows[name] < chunk.stop)] - chunk.start
                if len(here) == 0:
                    continue
                some, before = (batch, past) if len(here) == len(batch) else (_take(batch, here), past.take(here))
                baseline = baselines.get(name)
                quantiles = baseline.predict(some, before) if baseline else self.forecast(name, some)
                parts[name].append(score_windows(quantiles, some.future.numpy(), before.scale, spread[here]))
            self.done += chunk.stop - chunk.start
            if self.progress:
                self.progress(self.done, self.total, selection.dataset)
        scores = {name: WindowScores.join(found) for name, found in parts.items()}
        horizon = self.windows.prediction_length
        return Scored(selection.dataset, selection.series, selection.origin, horizon, scores, rows)

    def forecast(self, name: str, batch: Windows) -> np.ndarray:
        """A model's quantiles ``[N, 9, H]``; one that is not finite is an error that names model and window."""
        horizon = batch.future.shape[1]
        found = self.models[name].predict(batch.context, horizon).at_levels(torch.tensor(LEVELS, dtype=torch.float32))
        quantiles = found.quantiles.numpy()
        expected = (len(batch), len(LEVELS), horizon)
        if quantiles.shape != expected:
            raise ValueError(f"{name} forecast {quantiles.shape} where {expected} was asked for")
        bad = np.flatnonzero(~np.isfinite(quantiles).all((1, 2)))
        if len(bad):
            series = self.windows.store.names[int(batch.series[bad[0]])]
            raise UserError(
                f"{name}: its forecast of {series} from step {int(batch.origin[bad[0]])} on is not finite "
                f"({len(bad)} of {len(batch)} windows in this batch); the model is broken or the values are too large."
            )
        return quantiles

    def examples(self, selection: Selection, sql: dict[str, np.ndarray], subject: str) -> list[dict[str, Any]]:
        """Best, median and worst window of a data set."""
        forecast = self.forecast if self.models else self._naive
        return pick_examples(selection.dataset, sql, subject, selection.ids, self.windows, forecast)

    def _naive(self, name: str, batch: Windows) -> np.ndarray:
        past = self.histories.before(batch.series.numpy(), batch.origin.numpy(), batch.future.shape[1])
        return make_baseline(name).predict(batch, past)


@contextmanager
def progress_bar(title: str = "evaluate", unit: str = "windows") -> Iterator[Progress]:
    """A bar on stderr with rate (``unit`` a second) and time left, to be given to an evaluation as ``progress``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, rate="")

        def advance(done: int, total: int, dataset: str) -> None:
            speed = bar.tasks[task].speed
            rate = f"{speed:.0f} {unit}/s" if speed else ""
            bar.update(task, completed=done, total=total, description=f"{title} {dataset}", rate=rate)

        yield advance


def _fit(names: list[str], train: Any, dataset: str) -> tuple[dict[str, Baseline], dict[str, str]]:
    """Fitted baselines by name, and why the others could not be fitted."""
    fitted, reasons = {}, {}
    for name in names:
        baseline = make_baseline(name)
        reason = baseline.fit(train, dataset)
        if reason:
            reasons[name] = reason
        else:
            fitted[name] = baseline
    return fitted, reasons


def _remarks(result: Scored, fitted: dict[str, Baseline], left_out: dict[str, str]) -> dict[str, Any]:
    notes: dict[str, dict[str, Any]] = {name: {"left_out": reason} for name, reason in left_out.items()}
    for name, baseline in fitted.items():
        subset = {"windows": len(result.rows[name])} if len(result.rows[name]) < len(result.series) else {}
        notes[name] = {**subset, **baseline.remarks()}
    return {"baselines": {k: v for k, v in notes.items() if v}, "mape_ignored": mape_ignored(result.scores[NAIVE])}


def _take(batch: Windows, rows: np.ndarray) -> Windows:
    at = torch.from_numpy(rows)
    return Windows(*(getattr(batch, name)[at] for name in ("context", "future", "ids", "series", "origin")))


def _nothing_left(windows: Any, account: dict[str, Any]) -> str:
    reasons = sorted({reason for one in account.values() for reason in one["dropped"]})
    if not account:
        why = f"no series reaches into the {windows.part} part with {windows.prediction_length} steps to forecast"
        return f"evaluation: {why}; give longer series, a shorter prediction_length or another split."
    return f"evaluation: no window of the {windows.part} part can be scored ({'; '.join(reasons)}); check the data."
