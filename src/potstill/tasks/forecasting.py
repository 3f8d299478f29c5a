"""The task of forecasters: teachers, windows and the student's architecture, checked for consistency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from potstill.console import progress_bar, say
from potstill.data.device.windows import DeviceSource
from potstill.data.series.store import Store
from potstill.data.series.training_windows import TrainingWindows
from potstill.data.series.windows import SeriesWindows, require_windows
from potstill.errors import UserError
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.calibrated import calibrated_rows
from potstill.evaluation.cost import measure_costs
from potstill.evaluation.outcome import Evaluation
from potstill.evaluation.validation import Validation
from potstill.families.base import Architecture, Family, Forecaster
from potstill.families.ensemble import Ensemble
from potstill.families.load import load_forecaster
from potstill.families.weighting import Weighting
from potstill.reporting import draw_report, summary_lines
from potstill.reporting.figures import SOURCE
from potstill.reporting.phrases import fitted_to
from potstill.runs import METRICS_FILE, write_json
from potstill.tasks.base import Task
from potstill.tasks.card import write_cards
from potstill.tasks.covariates import covariate_lines
from potstill.tasks.ensemble import OTHER, weighting_of
from potstill.tasks.growth import freeze_of, grow_student, grown_architecture
from potstill.tasks.labels import store_forecasts
from potstill.tasks.provenance import provenance
from potstill.tasks.settings import AUTO_LABELS
from potstill.tasks.start import GROWN, balanced_batches, calibration_batches
from potstill.teaching.engines.forecasts import ForecastLabeller
from potstill.teaching.stored import StoredForecasts
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.teaching.stores.writing import Distribute

LEAST_CHANGE = 0.01  # of the spread; a smaller one is not worth another file
LENGTH_KEYS = ("context_length", "prediction_length")


class ForecastTask(Task):
    """A run of forecasters, created by ``prepare_forecasting``.

    Attributes
    ----------
    store, windows, validation_windows
        All series, and the windows of the training and validation parts.
    source
        The finished student that grows; None for a new student.
    """

    metric, unit, control_start = "sql", "windows", "random"
    teachers: Mapping[str, Forecaster]

    def __init__(
        self,
        recipe: Any,
        device: str,
        store: Store,
        windows: SeriesWindows,
        validation_windows: SeriesWindows,
        teachers: Mapping[str, Forecaster],
        family: Family[Any],
        source: Forecaster | None = None,
    ):
        self.recipe, self.device, self.store = recipe, device, store
        self.windows, self.validation_windows = windows, validation_windows
        self.teachers, self.family, self.source = teachers, family, source
        if source is not None:
            self.freeze = freeze_of(source, recipe.student.grow, self.steps)

    @cached_property
    def architecture(self) -> Architecture:
        """The student's config; raises UserError for sizes that are not possible."""
        if self.source is not None:
            return grown_architecture(self.family, self.source, self.recipe.student.grow)
        data = self.recipe.data
        overrides = _overrides(self.recipe, self.family)
        return self.family.design(self.teacher, overrides, data.context_length, data.prediction_length)

    @cached_property
    def start(self) -> str:
        """The student's start; ``grown`` for a student that grows."""
        return GROWN if self.source is not None else super().start

    def started(self, start: Any) -> tuple[Any, list[str]]:
        """The student with the weights of a start, and lines about what it has of its teacher or source."""
        if start != GROWN:
            return super().started(start)
        assert self.source is not None
        student: Any = self._random()
        lines = grow_student(self.family, student, self.source, self.recipe.student.grow, self.calibration())
        return student, lines

    def exact_teacher(self) -> Forecaster | None:
        """The first teacher in fp32: loaded again if the run has rounded its weights to bf16."""
        teacher = next(iter(self.teachers.values()), None)
        if teacher is None or teacher.precision == "float32":
            return teacher
        config = self.recipe.teacher[0]
        return load_forecaster(config.source, device=self.device, revision=config.revision).freeze()

    @property
    def horizon(self) -> int:
        """Steps of the future that the loss uses."""
        return self.recipe.data.prediction_length

    @property
    def size(self) -> int:
        """Number of training windows: one pass over the data."""
        return len(self.windows)

    @property
    def repeats(self) -> bool:
        """Whether no window is generated, so that only those of the files are trained on."""
        data = self.recipe.data
        return data.device is None and not data.synthetic and not data.augmented

    @property
    def grouped(self) -> bool:
        """Whether training windows have groups or covariates."""
        data = self.recipe.data
        on_device = data.device is not None and data.device.groups.share > 0
        return bool(data.known or data.past or data.groups) or on_device

    @cached_property
    def device_source(self) -> DeviceSource:
        """What windows are made from on the device; one for all data sets of the run."""
        return DeviceSource(self.windows, self.recipe.data, self.recipe.training.seed, self.device)

    def dataset(self, steps: int) -> Any:
        """The training data set of a run of ``steps`` steps: windows by id, or batches made on the device."""
        data, drawn = self.recipe.data, steps * self.windows_per_step
        if data.device is not None:
            return self.device_source.dataset(drawn)
        count = drawn if data.distinct_windows is None else min(drawn, data.distinct_windows)
        return TrainingWindows(self.windows, data, self.recipe.training.seed, count)

    def validation(self) -> Validation:
        """The scaled quantile loss on a sample of validation windows."""
        return Validation(self.validation_windows, self.recipe.training.eval_windows)

    def calibration(self) -> list[Any]:
        """Real windows, as many of each data set; half of them as the run draws them where it generates windows."""
        dataset, seed = self.dataset(self.steps), self.recipe.training.seed
        if not dataset.stores_inputs:
            return balanced_batches(self.windows, self.calibration_size, seed)
        if not len(self.windows):
            return calibration_batches(dataset, self.calibration_size, seed)
        half = self.calibration_size // 2
        return [*balanced_batches(self.windows, half, seed), *calibration_batches(dataset, half, seed)]

    def ready_labels(self) -> StoredForecasts | None:
        """The label store in the recipe, checked against the run; None with a live teacher."""
        labels = getattr(self.recipe, "labels", None)
        if labels in (None, AUTO_LABELS) or not self.learns_from_teacher:
            return None
        dataset = self.dataset(self.steps)
        store = ForecastStore.open(labels, dataset, self._reference(), self._label_settings())
        if store.labelled() < len(dataset):
            raise UserError(
                f"{labels}: holds labels for {store.labelled():,} of the {len(dataset):,} windows of this run;"
                " run `potstill label` with the same recipe, steps and batch size to continue it.",
                key="labels.incomplete",
            )
        store.check_backtest(self.objective().gate_steps(self.horizon))
        store.check_share(self.recipe.data.label_share)
        return StoredForecasts(store)

    def label(self, folder: Path, distribute: Distribute | None = None) -> StoredForecasts:
        """Store the teacher's forecasts of the training windows; shows rate and time left."""
        teacher = self._reference()
        assert teacher is not None
        store = store_forecasts(
            teacher,
            self.dataset(self.steps),
            folder,
            backtest=self.objective().gate_steps(self.horizon),
            share=self.recipe.data.label_share,
            seed=self.recipe.training.seed,
            provenance={"teachers": [t.model_dump() for t in self.recipe.teacher], **self._label_settings()},
            distribute=distribute,
        )
        return StoredForecasts(store)

    def shard_labeller(self, folder: Path) -> Callable[[range], None]:
        """A function that labels the windows of one shard of a store that ``label`` began, and writes it."""
        teacher, dataset = self._reference(), self.dataset(self.steps)
        store = ForecastStore.open(folder, dataset, teacher, self._label_settings())
        return ForecastLabeller(teacher, dataset, store, seed=self.recipe.training.seed).label

    def seconds_of_labels(self, provider: StoredForecasts) -> float:
        """Seconds that the labels that this run reads took; if the run made the labels, all of them count."""
        count = len(self.dataset(self.steps))
        read = count if self.recipe.labels == AUTO_LABELS else min(count, self.steps * self.windows_per_step)
        return read * provider.store.seconds_per_window()

    def source_lines(self) -> list[str]:
        """A line about the data, what was left out, and a line per teacher."""
        data = self.recipe.data
        lines = [
            f"Data       {len(self.store.datasets)} data sets, {self.store.usable.sum():,} series;"
            f" {len(self.windows):,} training and {len(self.validation_windows):,} validation windows"
            f" of {data.context_length} → {data.prediction_length} (split {data.split})",
            *(f"           {line}" for line in self.windows.report.lines()),
        ]
        if data.device is not None:
            lines.append(
                f"           windows made on {self.device}, from {data.device.pool:,} synthetic series and these"
            )
        if data.synthetic or data.augmented:
            lines.append(f"           {data.synthetic:.0%} of them synthetic, {data.augmented:.0%} mixed or warped")
        for (name, teacher), config in zip(self.teachers.items(), self.recipe.teacher, strict=True):
            weights = config.weight if isinstance(config.weight, dict) else {OTHER: config.weight}
            share = f", weight {weights.get(OTHER, 1.0):g}" if len(self.teachers) > 1 else ""
            lines.append(f"Teacher    {name}: {teacher.family}, {teacher.parameters:,} parameters{share}")
        return [*lines, *self._covariate_lines()]

    def _covariate_lines(self) -> list[str]:
        if self.store.covariates is None and self.store.groups is None:
            return []
        validate = Validation(self.validation_windows, self.recipe.training.eval_windows)
        return covariate_lines(self.recipe.data, getattr(self.recipe, "objective", None), self._reference(), validate)

    @property
    def data_fingerprint(self) -> str:
        """That of the store."""
        return self.store.fingerprint

    def describe(self, ids: Tensor, series: Tensor | None) -> str:
        """Names of the series of a batch."""
        numbers = [] if series is None else series.tolist()
        known = sorted({i for i in numbers if i >= 0})
        generated = sum(i < 0 for i in numbers)
        names = [self.store.names[i] for i in known[:5]]
        return ", ".join(names + ["…"] * (len(known) > 5) + [f"{generated} generated windows"] * (generated > 0))

    def open(self, name: str, folder: Path) -> Forecaster:
        """Load a finished student or control."""
        return load_forecaster(folder, device=self.device)

    def calibrate(self, model: Any, validate: Validation, owner: str) -> list[str]:
        """Widen the model's intervals by their coverage on validation windows; save how forecasts are calibrated."""
        config, lines = self.recipe.training, []
        if getattr(config, "calibrate", False) and model.spread == 1:  # not done before a resume
            factor = validate.spread_factor(model)
            if abs(factor - 1) > LEAST_CHANGE and model.scale_spread(factor):
                lines.append(f"The {owner}'s intervals, too narrow on the validation part, are widened by {factor:.2f}")
        if model.calibrate_horizons != config.calibrate_horizons:
            model.calibrate_horizons = config.calibrate_horizons
            lines.append(f"Forecasts of the {owner} will have intervals {fitted_to(config.calibrate_horizons)}")
        return lines

    def finish(self, run: Path, models: Mapping[str, Any]) -> None:
        """Evaluate on the test part; write metrics.json, forecasts.json, the cards and report.html."""
        recipe, student, models = self.recipe, models["student"], self.compared(models)
        horizons = recipe.evaluation.calibrate
        # by default only of the student: others, such as the experts of a mixture, can be many
        calibrated = calibrated_rows({"student": student} if horizons is None else models, self.store, horizons)
        windows = SeriesWindows(self.store, recipe.data, recipe.evaluation.split, stride=1)
        require_windows(windows)
        with progress_bar("Evaluating") as progress:
            found = evaluate_models(
                models,
                windows,
                self.windows,
                recipe.evaluation.baselines,
                recipe.evaluation,
                progress=progress,
                variants=calibrated,
            )
        metrics = found.to_dict()
        metrics["account"] = {**metrics["account"], "data": windows.report.to_dict()}
        metrics |= self.further_metrics(found, windows, models)
        say("Measuring costs")
        costs = measure_costs(models, recipe.data.context_length, recipe.data.prediction_length)
        metrics["cost"] = costs | found.baseline_costs
        metrics["provenance"] = provenance(recipe, self.sources, self.data_fingerprint)
        write_json(run / METRICS_FILE, metrics)
        write_json(run / "forecasts.json", found.examples)
        self.write_cards(run, models, metrics)
        path = draw_report(run)
        say("", *summary_lines(metrics), f"Student  {run / 'student'}", f"Report   {path}")

    def compared(self, models: Mapping[str, Any]) -> dict[str, Any]:
        """The run's models and those that they are compared with, by name in the report."""
        others = {"teacher": self._reference(), SOURCE: self.source}
        return {**{name: model for name, model in others.items() if model is not None}, **models}

    @property
    def sources(self) -> Mapping[str, Mapping[str, Forecaster]]:
        """The models that the student derives from, by role and name."""
        return {"teachers": self.teachers}

    def further_metrics(self, found: Evaluation, windows: SeriesWindows, models: Mapping[str, Any]) -> dict[str, Any]:
        """Sections of metrics.json that only some tasks have."""
        return {}

    def write_cards(self, run: Path, models: Mapping[str, Any], metrics: dict[str, Any]) -> None:
        """Write the model cards of the run's models."""
        write_cards(self, run, models, metrics, self.data_fingerprint)

    def _reference(self) -> Any:
        """The model that the student is compared with: the teacher, or the ensemble of several."""
        return self.teacher if len(self.teachers) < 2 else Ensemble(self.teachers, self.weighting)

    @cached_property
    def weighting(self) -> Weighting | None:
        """How the forecasts of several teachers are weighted."""
        return weighting_of(self.recipe, self.teachers, self.store.datasets) if len(self.teachers) > 1 else None

    def _label_settings(self) -> dict[str, Any]:
        """The settings that determine the training windows; stored with labels, to name differences in messages."""
        return {"data": self.recipe.data.model_dump(), "training": {"seed": self.recipe.training.seed}}


def _overrides(recipe: Any, chosen: Family[Any]) -> dict[str, Any]:
    for key, value in recipe.student.overrides.items():
        other = "training.dropout" if "dropout" in key else f"data.{key}" if key in LENGTH_KEYS else None
        if other is not None:
            raise UserError(
                f"--student: {key} is set by {other}; write --set {other}={value} instead.",
                key="student.decided_elsewhere",
            )
    preset = recipe.student.preset
    if preset is None:
        return recipe.student.overrides
    if preset not in chosen.presets:
        raise UserError(
            f"student.preset: {chosen.name} has no preset {preset!r}; known: {', '.join(chosen.presets) or 'none'}.",
            key="student.unknown_preset",
        )
    return {**chosen.presets[preset], **recipe.student.overrides}
