"""What a run of language models needs before its first step: teacher, examples and the student's shape, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from transformers import set_seed

from potstill.console import console, say
from potstill.data.text import Examples, check_data, open_examples
from potstill.errors import UserError
from potstill.evaluation.language.rouge import rouge_scorer
from potstill.families.base import Architecture
from potstill.families.language.design import build_language, design_language, start_from
from potstill.families.language.load import load_language
from potstill.families.language.model import LanguageModel
from potstill.objectives.base import import_terms
from potstill.objectives.objective import Objective
from potstill.recipe import Recipe
from potstill.tasks.forecasting import available, objective_of, steps_of
from potstill.tasks.foreign import refuse_foreign
from potstill.tasks.gkd import check_engine
from potstill.tasks.training_data import TrainingData
from potstill.teaching.stores.logits import LogitStore
from potstill.training.sampler import LengthSampler
from potstill.training.trainer import TargetProvider
from potstill.types import Tokens

TEACHER = "teacher"


@dataclass
class LanguageSetup:
    """A checked run: everything but the student's weights."""

    recipe: Recipe
    device: str
    teacher: LanguageModel
    training: Examples
    validation: Examples
    held_out: Examples

    horizon = 0  # text has none

    @cached_property
    def architecture(self) -> Architecture:
        """The student's config; raises UserError where the sizes asked for do not fit."""
        student, data = self.recipe.student, self.recipe.data
        return design_language(self.teacher, student.family, student.overrides, data.max_length)

    @property
    def steps(self) -> int:
        """Optimiser steps of the student's training."""
        return steps_of(self.recipe.training, len(self.training))

    def training_windows(self, steps: int) -> Examples:
        """The training data set, however many steps the run has."""
        return self.training

    def batches(self, count: int) -> list[list[int]]:
        """Spread over a pass: like lengths stand together, so one batch is short and another long."""
        size, order = self.recipe.training.batch_size, list(self.sampler())
        last = max(0, len(order) // size - 1)
        return [order[(place := size * (i * last // max(1, count - 1))) : place + size] for i in range(count)]

    def sampler(self) -> LengthSampler:
        """Their order: shuffled, and like lengths together."""
        training = self.recipe.training
        return LengthSampler(self.training.lengths, training.batch_size, training.seed)

    def objective(self, alpha: float | None = None) -> Objective:
        """The recipe's objective, or the same with another α."""
        return objective_of(self.recipe, alpha)

    def check_student(self) -> None:
        """Raise UserError where the student could be trained but not be used: found out before, not after."""
        try:
            build_language(self.architecture, self.teacher, 0.0).check()
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"--student: {self.architecture.config.model_type} cannot be run as a causal language model ({error});"
                " choose another model type, such as gpt2 or llama."
            ) from None

    def fresh(self) -> LanguageModel:
        """The student before its first step, the same for the same seed."""
        set_seed(self.recipe.training.seed)
        student = build_language(self.architecture, self.teacher, self.recipe.training.dropout)
        if self.recipe.student.start == "teacher":
            say(*start_from(student, self.teacher))
        return student

    def lessons(self, store: LogitStore | None) -> TrainingData:
        """From a store, from the live teacher, or from the truth alone."""
        if not self.objective().needs:
            return TrainingData(self.training, None)
        if store is None:
            return TrainingData(self.training, live(self.teacher))
        labelled = len(self.training) * store.seconds_per_window()
        return TrainingData(self.training, lambda tokens, horizon: store.attach(tokens), labelled)

    def dismiss_teacher(self) -> None:
        """Free the memory of its weights: stored answers need it no more."""
        self.teacher.module.to("meta")

    def recall_teacher(self) -> None:
        """Its weights again, where they were freed."""
        if self.teacher.device.type == "meta":
            self.teacher.module = load_teacher(self.recipe, self.device).module


def load_teacher(recipe: Recipe, device: str) -> LanguageModel:
    """The recipe's one teacher, frozen."""
    told = recipe.teacher[0]
    return load_language(told.source, device=device, precision=told.precision, revision=told.revision).freeze()


def live(teacher: LanguageModel) -> TargetProvider:
    """Ask the teacher itself: its states at the answer tokens, from which its logits are made chunk by chunk."""

    def teach(tokens: Tokens, horizon: int) -> Tokens:
        with torch.no_grad():
            logits = teacher.forward(tokens).logits
        return replace(tokens, labels=logits)

    return teach


def check_tokens(model: LanguageModel, examples: Examples) -> None:
    """Raise UserError where the examples, of all parts, need a token that the model has no embedding for."""
    largest = max(int(examples.corpus.ids.max()), examples.pad)
    if largest >= model.vocabulary:
        raise UserError(
            f"{model.source.name}: its tokenizer writes token {largest}, its embeddings hold {model.vocabulary:,};"
            " give a model whose embeddings were made longer when tokens were added."
        )


def prepare_language(recipe: Recipe) -> LanguageSetup:
    """Load, tokenise and check everything a run needs.

    Raises
    ------
    UserError
        One sentence on what does not fit: no teacher, other terms than those of language models, no usable example.
    """
    recipe = recipe.model_copy(deep=True)
    if not recipe.data.paths:
        raise UserError("data.paths: no data given; name a JSON, JSONL, CSV, Parquet or text file with --data.")
    if len(recipe.teacher) != 1:
        raise UserError(
            f"teacher: a language student learns from one teacher, whose tokenizer it has; {len(recipe.teacher)} given."
        )
    refuse_foreign(recipe)
    check_engine(recipe)
    import_terms(recipe.imports)
    rouge_scorer()  # what the evaluation needs must not be missed after the training
    if objective_of(recipe, None).task != "language":
        raise UserError(
            f"objective: {recipe.objective.soft} and {recipe.objective.hard} are for forecasters; with task: language"
            " choose kl, reverse_kl, jsd or skew_kl, and cross_entropy."
        )
    check_data(recipe.data)
    device = available(recipe.training.device)
    with console.status("Loading the teacher"):
        teacher = load_teacher(recipe, device)
    if recipe.data.max_length > teacher.max_length:
        raise UserError(
            f"data.max_length: {recipe.data.max_length:,} tokens are more than the {teacher.max_length:,} that the"
            f" teacher {teacher.source.name} reads; write at most that."
        )
    with console.status("Cutting texts into tokens"):
        parts = {part: open_examples(recipe.data, teacher.tokenizer, part) for part in ("train", "validation", "test")}
    held_out = parts[recipe.evaluation.split]
    for part, examples in (*parts.items(), (recipe.evaluation.split, held_out)):
        if not len(examples) and (part != "test" or recipe.evaluation.split == "test"):
            raise UserError(
                f"{recipe.data.paths[0]}: the {part} part holds no example (split {recipe.data.split}); give more data,"
                " or another data.split."
            )
    check_tokens(teacher, held_out)
    setup = LanguageSetup(recipe, device, teacher, parts["train"], parts["validation"], held_out)
    setup.check_student()
    return setup
