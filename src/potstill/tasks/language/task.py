"""The task of language models: teacher, examples and the student's architecture, checked for consistency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from potstill.console import console, progress_bar, say
from potstill.data.text import Examples, check_data, open_examples
from potstill.errors import UserError
from potstill.evaluation.language.evaluate import evaluate_language
from potstill.evaluation.language.rouge import rouge_scorer
from potstill.evaluation.language.stored_logits_gap import gap_of_labels
from potstill.evaluation.language.validation import LanguageValidation
from potstill.families.base import Architecture
from potstill.families.devices import available_device
from potstill.families.language.model import LanguageModel
from potstill.families.load import load_language
from potstill.families.registry import default_student, family
from potstill.objectives.objective import Objective
from potstill.objectives.registry import import_terms
from potstill.recipe import LanguageGkdRecipe, LanguageRecipe, Recipe
from potstill.reporting import draw_report, summary_lines
from potstill.runs import METRICS_FILE, write_json
from potstill.tasks.base import Task
from potstill.tasks.card import write_cards
from potstill.tasks.gkd import check_gkd
from potstill.tasks.provenance import provenance
from potstill.tasks.settings import AUTO_LABELS, check_teachers, objective_config
from potstill.tasks.start import calibration_batches
from potstill.teaching.engines.logits import label_logits, label_shard
from potstill.teaching.engines.progress import LabelProgress
from potstill.teaching.stored import StoredLogits
from potstill.teaching.stores.logits import KEPT_LOGITS, LogitStore
from potstill.teaching.stores.writing import Distribute
from potstill.training.sampler import LengthSampler

TEACHER_NAME = "teacher"


class LanguageTask(Task):
    """A run of language models, created by :func:`prepare_language`.

    Attributes
    ----------
    examples, validation_examples, held_out
        The tokenised examples of the training part, the validation part, and the part that is evaluated.
    """

    # cross-entropy on validation answers selects the best checkpoint; without the teacher's layers a language model
    # learns little from a few thousand answers, so its control has them too
    metric, unit, control_start = "loss", "examples", "start"
    calibration_size = 128  # an example has many tokens
    teachers: Mapping[str, LanguageModel]

    def __init__(
        self,
        recipe: Any,
        device: str,
        teacher: LanguageModel,
        examples: Examples,
        validation: Examples,
        held_out: Examples,
    ):
        self.recipe, self.device, self.teachers = recipe, device, {TEACHER_NAME: teacher}
        self.examples, self.validation_examples, self.held_out = examples, validation, held_out
        self.family = family(default_student("language"))

    @property
    def teacher(self) -> LanguageModel:
        """The one teacher."""
        return self.teachers[TEACHER_NAME]

    @cached_property
    def architecture(self) -> Architecture:
        """The student's config; raises UserError for sizes that are not possible."""
        student = self.recipe.student
        kind = {"model_type": student.family} if student.family else {}
        return self.family.design(self.teacher, {**student.overrides, **kind}, self.recipe.data.max_length, 0)

    @property
    def horizon(self) -> int:
        """0: text has no horizon."""
        return 0

    @property
    def size(self) -> int:
        """Number of training examples: one pass over the data."""
        return len(self.examples)

    def dataset(self, steps: int) -> Examples:
        """The training data set, for any number of steps."""
        return self.examples

    def sampler(self) -> LengthSampler:
        """The order of the examples: shuffled, with similar lengths in one batch."""
        return LengthSampler(self.examples.lengths, self.windows_per_step, self.recipe.training.seed)

    def validation(self) -> LanguageValidation:
        """Cross-entropy, perplexity and divergence from the teacher on a sample of validation examples."""
        # with labels, validation uses the largest logits, so that the teacher's output layer is not needed in memory
        kept = KEPT_LOGITS if getattr(self.recipe, "labels", None) else None
        return LanguageValidation(self.validation_examples, self.recipe.training.eval_windows, self.teacher, kept)

    def calibration(self) -> list[Any]:
        """A sample of the training examples in small batches: the search for layers runs the teacher on two of them."""
        return calibration_batches(self.examples, self.calibration_size, self.recipe.training.seed, batch=8)

    def ready_labels(self) -> StoredLogits | None:
        """The label store in the recipe, checked against the run; None with a live teacher."""
        labels = getattr(self.recipe, "labels", None)
        if labels in (None, AUTO_LABELS) or not self.learns_from_teacher:
            return None
        store = LogitStore.open(labels, self.examples, self.teacher, self.recipe.objective.temperature)
        if store.labelled() < len(self.examples):
            raise UserError(
                f"{labels}: holds labels for {store.labelled():,} of the {len(self.examples):,} training examples;"
                " run `potstill label` with the same recipe to continue it.",
                key="labels.incomplete",
            )
        return StoredLogits(store)

    def label(self, folder: Path, distribute: Distribute | None = None) -> StoredLogits:
        """Store the teacher's largest logits of the training examples; prints the share of probability they cover."""
        temperature = self.recipe.objective.temperature
        with progress_bar("Labelling", "examples") as advance:

            def show(progress: LabelProgress) -> None:
                advance(progress.done, progress.total - progress.kept, "")

            store = label_logits(self.teacher, self.examples, folder, temperature, progress=show, distribute=distribute)
        say(
            f"{len(self.examples):,} examples labelled in {folder}: the largest {store.kept} logits of each answer"
            f" token hold {store.mass():.1%} of the teacher's probability at temperature {temperature:g}"
        )
        return StoredLogits(store)

    def shard_labeller(self, folder: Path) -> Callable[[range], None]:
        """A function that labels the examples of one shard of a store that ``label`` began, and writes it."""
        store = LogitStore.open(folder, self.examples, self.teacher, self.recipe.objective.temperature)
        return partial(label_shard, self.teacher, self.examples, store)

    def seconds_of_labels(self, provider: StoredLogits) -> float:
        """Seconds that labelling all training examples took."""
        return len(self.examples) * provider.store.seconds_per_window()

    def source_lines(self) -> list[str]:
        """A line about the data, what was left out, and a line about the teacher."""
        data, teacher = self.recipe.data, self.teacher
        return [
            f"Data       {len(self.examples):,} training and {len(self.validation_examples):,} validation examples of"
            f" at most {data.max_length} tokens (split {data.split})",
            *(f"           {line}" for line in self.examples.report.lines()),
            f"Teacher    {teacher.source.name}: {teacher.module.config.model_type}, {teacher.parameters:,} parameters",
        ]

    @property
    def data_fingerprint(self) -> str:
        """That of the training examples."""
        return self.examples.fingerprint

    def describe(self, ids: Tensor, series: Tensor | None) -> str:
        """Numbers of the examples of a batch."""
        return f"examples {', '.join(str(i) for i in ids[:5].tolist())}{' …' if len(ids) > 5 else ''}"

    def open(self, name: str, folder: Path) -> LanguageModel:
        """Load a finished student or control."""
        return load_language(folder, device=self.device).freeze()

    @contextmanager
    def teacher_unloaded(self) -> Iterator[None]:
        """A context in which the teacher's weights are not in memory: stored labels do not need them."""
        self.teacher.module.to("meta")
        try:
            yield
        finally:
            self.teacher.module = _load_teacher(self.recipe, self.device).module

    def finish(self, run: Path, models: Mapping[str, Any]) -> None:
        """Evaluate on held-out answers; write metrics.json, generations.json, the cards and report.html."""
        recipe, all_models = self.recipe, {TEACHER_NAME: self.teacher, **models}
        with progress_bar("Evaluating", "texts") as progress:
            metrics, generations = evaluate_language(
                all_models, self.held_out, TEACHER_NAME, recipe.evaluation, progress=progress
            )
        if getattr(recipe, "labels", None) and self.learns_from_teacher:
            settings = self.held_out, KEPT_LOGITS, recipe.objective.temperature
            metrics["labels"] = gap_of_labels(self.teacher, all_models["student"], *settings)
        metrics["provenance"] = provenance(recipe, {"teachers": self.teachers}, self.data_fingerprint)
        write_json(run / METRICS_FILE, metrics)
        write_json(run / "generations.json", generations)
        write_cards(self, run, all_models, metrics, self.data_fingerprint)
        path = draw_report(run)
        say("", *summary_lines(metrics), f"Student  {run / 'student'}", f"Report   {path}")


def check_tokens(model: LanguageModel, examples: Examples) -> None:
    """Raise UserError if the examples of any part contain a token for which the model has no embedding."""
    largest = max(int(examples.corpus.ids.max()), examples.pad)
    if largest >= model.vocabulary:
        raise UserError(
            f"{model.source.name}: its tokenizer produces token {largest}, but it has {model.vocabulary:,} embeddings;"
            " use a model whose embeddings were resized when tokens were added.",
            key="model.vocabulary_too_small",
        )


def prepare_language(recipe: Recipe) -> LanguageTask:
    """Load, tokenise and check everything that a run of language models needs.

    Raises
    ------
    UserError
        If the recipe, data and models are not consistent: no teacher, terms for forecasters, no usable example.
    """
    recipe = recipe.model_copy(deep=True)
    assert isinstance(recipe, LanguageRecipe | LanguageGkdRecipe)
    if not recipe.data.paths:
        raise UserError(
            "data.paths: no data given; name a JSON, JSONL, CSV, Parquet or text file with --data.", key="data.no_paths"
        )
    if len(recipe.teacher) != 1:
        raise UserError(
            f"teacher: a language student has one teacher and shares its tokenizer; {len(recipe.teacher)} given.",
            key="teacher.several",
        )
    import_terms(recipe.imports)
    rouge_scorer()  # report a missing package before the training
    objective = Objective(objective_config(recipe, None))
    if objective.task == "forecast":
        raise UserError(
            "objective: its terms are for forecasters; with task: language choose kl, reverse_kl, jsd or skew_kl, and"
            " cross_entropy.",
            key="objective.other_task",
        )
    check_teachers(recipe, objective)
    _check_temperatures(recipe, objective)
    check_data(recipe.data)
    device = available_device(recipe.training.device)
    check_gkd(recipe, [default_student("language")], family(default_student("language")))
    with console.status("Loading the teacher"):
        teacher = _load_teacher(recipe, device)
    _check_length(recipe, teacher)
    with console.status("Tokenising texts"):
        parts = {part: open_examples(recipe.data, teacher.tokenizer, part) for part in ("train", "validation", "test")}
    _check_parts(recipe, parts)
    held_out = parts[recipe.evaluation.split]
    check_tokens(teacher, held_out)
    task = LanguageTask(recipe, device, teacher, parts["train"], parts["validation"], held_out)
    _check_student(task)
    return task


def _check_temperatures(recipe: Any, objective: Objective) -> None:
    """Raise UserError, before any label is made, if a term has another temperature than the labels that it reads."""
    if getattr(recipe, "labels", None) is None:
        return
    stored = recipe.objective.temperature
    for name, term in objective.terms.items():
        own = recipe.objective.terms.get(name, {}).get("temperature", stored)
        if term.tempered and own != stored:
            raise UserError(
                f"objective.terms.{name}.temperature: {own:g}, but labels hold the teacher's logits at one temperature,"
                f" objective.temperature: {stored:g}; write the same for both, or leave out labels.",
                key="labels.other_temperature",
            )


def _load_teacher(recipe: Recipe, device: str) -> LanguageModel:
    config = recipe.teacher[0]
    return load_language(config.source, device=device, precision=config.precision, revision=config.revision).freeze()


def _check_length(recipe: Any, teacher: LanguageModel) -> None:
    if recipe.data.max_length > teacher.max_length:
        raise UserError(
            f"data.max_length: {recipe.data.max_length:,} tokens, but the teacher {teacher.source.name} reads at most"
            f" {teacher.max_length:,}; write that or less.",
            key="data.too_long_for_model",
        )


def _check_parts(recipe: Any, parts: Mapping[str, Examples]) -> None:
    needed = {"train", "validation", recipe.evaluation.split}
    for part, examples in parts.items():
        if part in needed and not len(examples):
            raise UserError(
                f"{recipe.data.paths[0]}: the {part} part holds no example (split {recipe.data.split}); give more data,"
                " or another data.split.",
                key="data.empty_part",
            )


def _check_student(task: LanguageTask) -> None:
    """Raise UserError before the training if the student could be trained but not be used for generation."""
    try:
        task.family.build(task.architecture, 0.0, task.teacher).check()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"--student: {task.architecture.label} cannot be run as a causal language model ({error}); choose another"
            " model type, such as gpt2 or llama.",
            key="student.not_usable",
        ) from None
