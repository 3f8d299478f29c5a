"""The task of a mixture: experts, windows and router, checked for consistency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from potstill.console import say
from potstill.data.series.store import Store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.outcome import Evaluation
from potstill.evaluation.validation import Validation
from potstill.families.base import Architecture, Forecaster, ModelSource
from potstill.families.ensemble import Ensemble
from potstill.families.experts.model import Mixture
from potstill.families.experts.router import RouterSettings
from potstill.families.registry import family
from potstill.ranks import on_main
from potstill.recipe.student import Start
from potstill.reporting.figures import MEAN_OF_EXPERTS
from potstill.reporting.phrases import percent
from potstill.runs import write_atomically
from potstill.tasks.experts.branch import branch_experts
from potstill.tasks.experts.card import counted, mixture_card
from potstill.tasks.experts.forecasts import AlignedExpert, LabelledWindows, LiveForecasts, StoredForecastWindows
from potstill.tasks.experts.groups import group_series
from potstill.tasks.experts.monitor import MixtureValidation, collapse, set_gate
from potstill.tasks.experts.report import compare_experts, usage_by_dataset
from potstill.tasks.experts.sample import SampledWindows
from potstill.tasks.experts.stages import choose_experts, train_jointly
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.labels import store_forecasts
from potstill.teaching.base import TargetProvider, TrainingData
from potstill.teaching.stores.forecasts import ForecastStore
from potstill.teaching.stores.manifest import MANIFEST_FILE
from potstill.training.run import TrainingRun

_SCALE_WINDOWS = 1024  # on which the router's features are standardised
_ANNEALED = 0.7  # share of the steps in which the router's noise falls


class MixtureTask(ForecastTask):
    """A run of ``potstill mix``, created by ``prepare_mixture``; its student is the mixture.

    Attributes
    ----------
    experts
        Frozen forecasters by name.
    cards
        Their model cards by name, as far as they have any.
    to_branch
        Whether further experts are still to be trained.
    """

    def __init__(
        self,
        recipe: Any,
        device: str,
        store: Store,
        windows: SeriesWindows,
        validation_windows: SeriesWindows,
        teachers: Mapping[str, Forecaster],
        experts: Mapping[str, Forecaster],
        cards: Mapping[str, str],
    ):
        super().__init__(recipe, device, store, windows, validation_windows, teachers, family("mixture"))
        self.experts, self.cards = dict(experts), dict(cards)
        self.to_branch = recipe.branch is not None

    @property
    def architecture(self) -> Architecture:
        """The size of the mixture."""
        mixture = self._mixture()
        return Architecture("mixture", mixture.config, mixture.parameters, f"mixture of {counted(len(self.experts))}")

    @property
    def start(self) -> Start:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The router starts from equal weights of all experts."""
        return "random"

    @property
    def size(self) -> int:
        """Number of windows that the experts forecast; of real windows there may be fewer than the recipe allows."""
        most = self.recipe.data.distinct_windows
        return most if self.draws else min(most, len(self.windows))

    @cached_property
    def draws(self) -> bool:
        """Whether training windows are drawn or generated, and not the real windows, each once."""
        return super().dataset(1).stores_inputs

    def learning_rate(self, random_start: bool = False) -> float:
        """The router's learning rate."""
        return self.recipe.training.learning_rate

    def fresh(self, without_teacher: bool = False) -> Mixture:
        """The mixture with a new router; the experts are frozen."""
        mixture = self._mixture()
        windows = self.plain_dataset(self.steps)
        mixture.router.fit_scale(windows.batch(range(min(_SCALE_WINDOWS, len(windows)))).context)
        return mixture

    def plain_dataset(self, steps: int) -> Any:
        """The training windows without forecasts; where none is generated, a sample of the real ones."""
        dataset = super().dataset(steps)
        if self.draws:
            return dataset
        count = min(steps * self.windows_per_step, self.recipe.data.distinct_windows)
        return SampledWindows(dataset, count, self.recipe.training.seed)

    def dataset(self, steps: int) -> Any:
        """The training windows; the experts forecast each batch when it is read."""
        return LiveForecasts(self.plain_dataset(steps), self.experts, self._mixture().levels)

    def training_data(self, run: Path, labels: TargetProvider | None) -> TrainingData:
        """The training windows with the experts' forecasts, each computed once and stored in RUN/forecasts."""
        if self.to_branch:
            return TrainingData(self.dataset(self.steps))  # the experts to come are not known yet
        dataset = self.plain_dataset(self.steps)
        stores: dict[str, ForecastStore] = {}
        left_out = self._stores_of_others(run / "forecasts")
        held: ForecastStore | None = next((store for store in left_out if store.stores_inputs), None)
        for name, expert in self.experts.items():
            source = dataset if held is None else LabelledWindows(held, len(dataset), dataset.fingerprint)
            stores[name] = on_main(partial(self._forecasts_of, name, expert, source, run / "forecasts" / name))
            held = stores[name] if held is None and stores[name].stores_inputs else held
        teacher = self.live_teachers() if self.learns_from_teacher else None
        return TrainingData(StoredForecastWindows(dataset, stores, held), teacher)

    def _stores_of_others(self, folder: Path) -> list[ForecastStore]:
        """Stores of experts that an interrupted run left out: one of them may hold the windows of all."""
        names = set(self.recipe.kept or self.experts)
        others = [path for path in folder.iterdir() if path.name not in names] if folder.is_dir() else []
        return [ForecastStore.open(path) for path in sorted(others) if (path / MANIFEST_FILE).is_file()]

    def _forecasts_of(self, name: str, expert: Forecaster, windows: Any, folder: Path) -> ForecastStore:
        aligned, provenance = AlignedExpert(expert, self._mixture().levels), self._label_settings()
        return store_forecasts(aligned, windows, folder, f"Forecasting with {name}", provenance=provenance)

    def validation(self) -> Any:
        """Validation of the mixture on the experts' forecasts of validation windows, which are computed here."""
        windows = LiveForecasts(self.validation_windows, self.experts, self._mixture().levels)
        return MixtureValidation(Validation(windows, self.recipe.training.eval_windows))

    def live_validation(self) -> Any:
        """Validation of a mixture whose experts run, because they are trained."""
        return MixtureValidation(self._plain_validation)

    @cached_property
    def _plain_validation(self) -> Validation:
        return super().validation()

    def stages(self, train: Callable[[Any], None]) -> list[Callable[[Any], None]]:
        """Train experts and leave out those that are too many; train the router, then both, as the recipe says."""
        branch = [branch_experts] if self.recipe.branch is not None else []
        return [*branch, choose_experts, train, *([train_jointly] if self.recipe.joint is not None else [])]

    def add(self, experts: Mapping[str, Forecaster]) -> None:
        """Take further experts, trained by the run itself; of all, go on with those that an interrupted run kept."""
        kept, self.to_branch = self.recipe.kept, False
        everyone = {**self.experts, **experts}
        self.experts = {name: one for name, one in everyone.items() if kept is None or name in kept}

    def keep(self, names: list[str]) -> None:
        """Go on with some of the experts, which the recipe then names."""
        self.experts = {name: self.experts[name] for name in names}
        self.recipe.kept = names

    def calibrate(self, model: Any, validate: Any, owner: str) -> list[str]:
        """Set the gate, scale the intervals, and report a collapsed router."""
        if not isinstance(model, Mixture):
            return super().calibrate(model, validate, owner)
        lines = []
        done = model.spread != 1  # before a resume
        if self.recipe.router.gate and len(model.experts) > 1 and not model.router.settings.gate and not done:
            share, change = set_gate(model, validate)
            if model.router.settings.gate:
                lines.append(
                    f"The mean of all experts forecasts windows with less than {percent(model.router.settings.gate)}"
                    f" certainty: {percent(share)} of the validation windows, {percent(-change, fine=True)} less loss"
                )
        found = validate(model)
        warning = collapse({name: found[f"usage_{name}"] for name in model.experts})
        if warning:
            say(warning)
        return [*lines, *super().calibrate(model, validate, owner)]

    def source_lines(self) -> list[str]:
        """A line about the data, and a line per expert."""
        lines = super().source_lines()
        for name, expert in self.experts.items():
            lines.append(f"Expert     {name}: {expert.family}, {expert.parameters:,} parameters{self._outer(expert)}")
        branch, count = self.recipe.branch, len(self.plain_dataset(self.steps))
        if branch is not None:
            groups = group_series(self.store, self.recipe.data.split, branch.by, self.recipe.training.seed)
            lines.append(
                f"Branches   {len(groups)} more experts from {branch.source}, by {branch.by}: {branch.max_steps:,}"
                f" steps of {branch.batch_size} {self.unit} each, not counted below"
            )
        return [*lines, f"Forecasts  each expert forecasts {count:,} windows once, before the router is trained"]

    def _outer(self, expert: Forecaster) -> str:
        """A remark on an expert without the outermost levels of the mixture."""
        wide, own = self._mixture().levels, expert.levels
        if own[0] <= wide[0] and own[-1] >= wide[-1]:
            return ""
        return (
            f"; its outer levels are {own[0]:g} and {own[-1]:g}: it forecasts {wide[0]:g} and {wide[-1]:g} by them, so"
            " that the widest intervals are too narrow"
        )

    def compared(self, models: Mapping[str, Any]) -> dict[str, Any]:
        """The mixture, its experts and their mean, and the teacher if there is one."""
        experts = models["student"].experts
        others = {**experts, MEAN_OF_EXPERTS: Ensemble(experts)} if len(experts) > 1 else {}
        return {**super().compared(models), **others}

    @property
    def sources(self) -> Mapping[str, Mapping[str, Forecaster]]:
        """Teachers and experts."""
        return {"teachers": self.teachers, "experts": self.experts}

    def further_metrics(self, found: Evaluation, windows: SeriesWindows, models: Mapping[str, Any]) -> dict[str, Any]:
        """``experts``: their use by data set, and the best one; empty for a single expert."""
        mixture = models["student"]
        if len(mixture.experts) == 1:
            return {}
        losses = on_main(lambda: {name: self._plain_validation(one)["sql"] for name, one in mixture.experts.items()})
        return {"experts": {**usage_by_dataset(mixture, windows), **compare_experts(found, losses)}}

    def write_cards(self, run: Path, models: Mapping[str, Any], metrics: dict[str, Any]) -> None:
        """Write the card of the mixture; the experts have theirs."""
        write_atomically(run / "student" / "README.md", mixture_card(self, models["student"], metrics))

    def training_of(self, name: str, student: Any, objective: Any, data: TrainingData, **changes: Any) -> TrainingRun:
        """A training of the run other than that of the router: ``changes`` are fields of TrainingRun and, in
        ``config``, keys of the training section."""
        config = self.recipe.training.model_copy(update=changes.pop("config"))
        return TrainingRun(
            name=name,
            student=student,
            objective=objective,
            data=data,
            config=config,
            horizon=self.horizon,
            device=self.device,
            describe=self.describe,
            metric=self.metric,
            **changes,
        )

    def _mixture(self) -> Mixture:
        config, steps = self.recipe.router, self.steps
        settings = RouterSettings(
            routing=config.routing,
            top_k=min(config.top_k, len(self.experts)),
            mass=config.mass,
            hidden=config.hidden,
            dropout=config.dropout,
            context=min(config.context, self.recipe.data.context_length),
            anneal=max(1, round(_ANNEALED * steps)),
        )
        with torch.random.fork_rng(devices=[]):  # also called for its sizes, which must not change a training's draws
            torch.manual_seed(self.recipe.training.seed)
            mixture = Mixture(self.experts, settings, ModelSource("mixture", "mixture"), self.cards)
        for expert in self.experts.values():
            expert.module.requires_grad_(False)
        return mixture
