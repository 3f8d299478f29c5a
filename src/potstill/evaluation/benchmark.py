"""Evaluate forecasters and baselines on the test windows of many data sets, all on the same windows.

For each data set: select windows, fit the baselines on the training part, then forecast the windows batch by batch.
Only the scores per window are kept, so that memory does not grow with the size of the test part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from potstill.console import ProgressCallback
from potstill.errors import NotFinite, UserError
from potstill.evaluation.baselines import Baseline, make_baseline
from potstill.evaluation.calibrated import Calibrated, horizons_of
from potstill.evaluation.cost import baseline_costs
from potstill.evaluation.data_summary import describe_series
from potstill.evaluation.examples import SHOWN_LEVELS, pick_examples
from potstill.evaluation.histories import Histories, Past, training_spread
from potstill.evaluation.metrics import EVALUATION_LEVELS, WindowScores, mape_ignored, score_windows
from potstill.evaluation.outcome import CALIBRATED, SEASONAL_NAIVE, Evaluation, Scored, conclude
from potstill.evaluation.profiles import Profile, profiles_of
from potstill.evaluation.selection import WINDOWS_PER_CHUNK, Selection, pasts, select_windows
from potstill.evaluation.worst import worst_series
from potstill.recipe import ForecastEvaluation
from potstill.types import Predictor, Windows

"""Called with the number of windows done, the total, and the data set."""


def evaluate_models(
    models: Mapping[str, Predictor],
    windows_test: Any,
    windows_train: Any,
    baselines: list[str],
    config: ForecastEvaluation,
    reference: str = "teacher",
    progress: ProgressCallback | None = None,
    variants: Mapping[str, Predictor] | None = None,
) -> Evaluation:
    """Evaluate all models and baselines on the same windows.

    Parameters
    ----------
    models
        Forecasters by name, such as ``teacher``, ``student``, ``control``.
    windows_test, windows_train
        ``SeriesWindows`` of the part to evaluate on, preferably at stride 1 (``select_windows`` selects from
        them), and of the training part (for the baselines, and for the standard deviation of standardised metrics).
    baselines
        Names from ``baselines.BASELINES``. Seasonal naive is always evaluated: other metrics are relative to it.
    config
        Stride, and the maximum number of windows per data set.
    reference
        The model that retention is relative to. Without it among the models there is no retention.
    progress
        Called after every batch; ``progress_bar`` returns one that shows the rate and the time left.
    variants
        Other forecasts by the models, by name, such as those with fitted intervals (``calibrated_rows``): they are
        scored too, and no verdict is about them.

    Raises
    ------
    UserError
        When no window can be scored, a baseline is unknown, or a model's forecast is not finite.
    """
    names = [SEASONAL_NAIVE, *(name for name in dict.fromkeys(baselines) if name != SEASONAL_NAIVE)]
    for name in names:
        make_baseline(name)
        if name in models:
            raise UserError(
                f"model name {name!r} is the name of a baseline; choose another name for the model.",
                key="evaluation.reserved_model_name",
            )
    subject = next((name for name in ("student", *models) if name in models and name != reference), reference)
    subject = subject if subject in models else SEASONAL_NAIVE
    store = windows_test.store
    variants = variants or {}
    for name in variants.keys() & models:
        raise UserError(
            f"{name}: here this is the name of another forecast by {name.rpartition('+')[0]}; give the model another"
            " NAME=.",
            key="evaluation.reserved_model_name",
        )
    models = {**models, **variants}
    histories = Histories(store)
    selections = [select_windows(windows_test, name, config, histories) for name in store.datasets]
    account: dict[str, Any] = {s.dataset: s.report() for s in selections if s.available}
    selections = [s for s in selections if len(s.ids)]
    if not selections:
        raise _no_windows(windows_test, account)

    spread = training_spread(windows_train, np.unique(np.concatenate([s.series for s in selections])))
    bench = _Bench(windows_test, histories, models, spread, progress, sum(len(s.ids) for s in selections))
    scored: list[Scored] = []
    costs: dict[str, dict[str, Any]] = {}
    examples: list[dict[str, Any]] = []
    for selection in selections:
        fitted, remarks = _fit(names, windows_train, selection.dataset)
        result = bench.score(selection, fitted)
        account[selection.dataset] |= _remarks(result, fitted, remarks)
        shown = {name: result.sql(name) for name in models or [SEASONAL_NAIVE]}
        examples += bench.examples(selection, shown, subject)
        costs = costs | bench.baseline_costs(selection, {n: b for n, b in fitted.items() if n not in costs})
        scored.append(result)
    without = [name for name in store.datasets if name not in account]
    whole = {"datasets": account, "without_windows": without, "levels": EVALUATION_LEVELS.tolist()}
    whole["series"] = describe_series(store, [s.dataset for s in selections])
    found = conclude(scored, reference, subject, whole)
    worst = worst_series(scored, store.names, subject)
    rows = {n.removesuffix(CALIBRATED): v.horizons for n, v in variants.items() if isinstance(v, Calibrated)}
    horizons = {"calibrated_rows": rows, "calibrate_horizons": horizons_of(models)}
    found.details = {**profiles_of(bench.profiles), "worst_series": worst, **horizons}
    found.baseline_costs = costs
    found.examples = {"levels": list(SHOWN_LEVELS), "examples": examples}
    return found


class _Bench:
    """The windows, the models and the progress."""

    def __init__(
        self,
        windows: Any,
        histories: Histories,
        models: Mapping[str, Predictor],
        spread: np.ndarray,
        progress: ProgressCallback | None,
        total: int,
    ):
        self.windows, self.histories, self.models, self.spread = windows, histories, models, spread
        self.progress, self.done, self.total = progress, 0, total
        self.profiles: dict[str, dict[str, Profile]] = {}

    def score(self, selection: Selection, baselines: dict[str, Baseline]) -> Scored:
        """Scores of every model and baseline on the windows of one data set."""
        rows = {name: np.arange(len(selection.ids)) for name in self.models}
        rows |= {name: selection.subset(baseline.max_windows) for name, baseline in baselines.items()}
        parts: dict[str, list[WindowScores]] = {name: [] for name in rows}
        names = self.windows.store.keys.columns
        columns, column = np.unique([names[i] for i in selection.series], return_inverse=True)
        profiles = {name: Profile(len(columns), self.windows.prediction_length) for name in rows}
        for start in range(0, len(selection.ids), WINDOWS_PER_CHUNK):
            chunk = slice(start, min(start + WINDOWS_PER_CHUNK, len(selection.ids)))
            batch = self.windows.batch(selection.ids[chunk])
            past = pasts(selection, self.histories, self.windows.prediction_length, chunk)
            spread = self.spread[selection.series[chunk]]
            for name in rows:
                here = rows[name][(rows[name] >= chunk.start) & (rows[name] < chunk.stop)] - chunk.start
                if len(here) == 0:
                    continue
                every = len(here) == len(batch)
                some, before = (batch, past) if every else (batch.take(torch.from_numpy(here)), past.take(here))
                baseline = baselines.get(name)
                quantiles = baseline.predict(some, before) if baseline else self.forecast(name, some)
                place = column[chunk][here]
                quantiles, truth, scale, squared = self._in_input_units(quantiles, some, before)
                parts[name].append(score_windows(quantiles, truth, scale, spread[here], squared, place))
                profiles[name].add(quantiles, truth, scale, place)
            self.done += chunk.stop - chunk.start
            if self.progress:
                self.progress(self.done, self.total, selection.dataset)
        self.profiles[selection.dataset] = profiles
        scores = {name: WindowScores.join(found) for name, found in parts.items()}
        horizon = self.windows.prediction_length
        return Scored(selection.dataset, selection.series, selection.origin, horizon, scores, rows)

    def _in_input_units(self, quantiles: np.ndarray, batch: Windows, past: Past) -> tuple[np.ndarray, ...]:
        """Quantiles, true values, and the mean absolute and squared seasonal errors in the units of the input."""
        store, series = self.windows.store, batch.series.numpy()
        quantiles, truth = (store.to_input_units(series, part) for part in (quantiles, batch.future.numpy()))
        scale = store.scale[series]
        return quantiles, truth, past.scale * scale, past.squared * scale**2

    def forecast(self, name: str, batch: Windows) -> np.ndarray:
        """A model's quantiles ``[N, 9, H]`` in the units of the store.

        Raises UserError, with model and window, if one is not finite.
        """
        horizon = batch.future.shape[1]
        try:
            found = self.models[name].predict(batch, horizon)
        except NotFinite as error:
            raise self._not_finite(name, batch, error.rows) from None
        quantiles = found.at_levels(torch.tensor(EVALUATION_LEVELS, dtype=torch.float32)).quantiles.numpy()
        expected = (len(batch), len(EVALUATION_LEVELS), horizon)
        if quantiles.shape != expected:
            raise ValueError(f"{name}: the forecast has shape {quantiles.shape}, expected {expected}")
        bad = np.flatnonzero(~np.isfinite(quantiles).all((1, 2)))
        if len(bad):
            raise self._not_finite(name, batch, bad.tolist())
        return quantiles

    def _not_finite(self, name: str, batch: Windows, rows: list[int]) -> UserError:
        series, origin = self.windows.store.names[int(batch.series[rows[0]])], int(batch.origin[rows[0]])
        return UserError(
            f"{name}: the forecast of {series} from step {origin} on is NaN or infinite ({len(rows)} of {len(batch)}"
            " windows in this batch); the model is broken, or the values are too large for it.",
            key="model.forecast_not_finite",
        )

    def examples(self, selection: Selection, sql: dict[str, np.ndarray], subject: str) -> list[dict[str, Any]]:
        """Best, median and worst window of a data set."""
        forecast = self.forecast if self.models else self._naive
        return pick_examples(selection.dataset, sql, subject, selection.ids, self.windows, forecast)

    def baseline_costs(self, selection: Selection, baselines: dict[str, Baseline]) -> dict[str, dict[str, Any]]:
        """Speed and size of fitted baselines, measured on the first windows of a data set."""
        if not baselines:
            return {}
        rows = np.resize(np.arange(min(len(selection.ids), WINDOWS_PER_CHUNK)), WINDOWS_PER_CHUNK)
        past = pasts(selection, self.histories, self.windows.prediction_length, rows)
        return baseline_costs(baselines, self.windows.batch(selection.ids[rows]), past)

    def _naive(self, name: str, batch: Windows) -> np.ndarray:
        past = self.histories.before(batch.series.numpy(), batch.origin.numpy(), batch.future.shape[1])
        return make_baseline(name).predict(batch, past)


def _fit(names: list[str], train: Any, dataset: str) -> tuple[dict[str, Baseline], dict[str, str]]:
    """Fitted baselines by name, and the reasons why others could not be fitted."""
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
    blocks = np.unique(np.stack([result.series, result.blocks]), axis=1).shape[1]
    return {
        "without_overlap": blocks,
        "baselines": {k: v for k, v in notes.items() if v},
        "mape_ignored": mape_ignored(result.scores[SEASONAL_NAIVE]),
    }


def _no_windows(windows: Any, account: dict[str, Any]) -> UserError:
    reasons = sorted({reason for one in account.values() for reason in one["dropped"]})
    if not account:
        return UserError(
            f"evaluation: no series has {windows.prediction_length} steps to forecast in the {windows.part} part; give"
            " longer series, a shorter prediction_length or another split.",
            key="evaluation.no_window",
        )
    return UserError(
        f"evaluation: no window of the {windows.part} part can be scored ({'; '.join(reasons)}); check the data.",
        key="evaluation.no_usable_window",
    )
