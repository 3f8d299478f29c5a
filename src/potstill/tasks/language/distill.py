"""``potstill distill`` with ``task: language``: from a causal language model and instruction data to a student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from potstill.console import say
from potstill.errors import UserError
from potstill.evaluation.benchmark import progress_bar
from potstill.evaluation.language.evaluate import evaluate_language
from potstill.evaluation.language.kept import gap_of_labels
from potstill.evaluation.language.validation import LanguageValidation
from potstill.families.language.load import load_language
from potstill.families.language.model import LanguageModel
from potstill.recipe import Recipe
from potstill.reporting import draw_report, summary_lines
from potstill.runs import open_run, write_atomically, write_json
from potstill.tasks.control import charged, control_steps
from potstill.tasks.forecasting import AUTO
from potstill.tasks.gkd import TRL, objective_line
from potstill.tasks.language.label import label_examples
from potstill.tasks.language.setup import TEACHER, LanguageSetup, prepare_language
from potstill.tasks.provenance import machine, versions
from potstill.tasks.training_data import TrainingData
from potstill.teaching.stores.logits import KEPT, LogitStore
from potstill.training.fit import TrainingRun
from potstill.training.trainer import device_precision
from potstill.types import Tokens

LOSS = "loss"  # cross-entropy on validation answers picks the best checkpoint


def distill_language(recipe: Recipe, run: Path, resume: bool, dry_run: bool) -> Path:
    """Distil a language model; arguments as for ``distill``, the recipe resolved and the run's folder checked."""
    setup = prepare_language(recipe)
    plan = plan_lines(setup)
    if dry_run:
        say(*plan)
        return run
    recipe = setup.recipe
    store = _ready_labels(setup)
    open_run(run, resume)  # only now: bad input leaves no folder behind
    say(*plan)
    stored = KEPT if recipe.labels else None  # a validation by all its logits would hold its output layer in memory
    validation = LanguageValidation(setup.validation, recipe.training.eval_windows, setup.teacher, stored)
    write_atomically(run / "recipe.yaml", recipe.to_yaml())
    if recipe.labels == AUTO and setup.objective().needs:
        store = label_examples(setup, run / "labels")
    lessons = setup.lessons(store)
    say(f"Training the student: {setup.steps:,} steps of {recipe.training.batch_size} examples")
    fit = _fit(setup, "student", setup.steps, validation, lessons)
    if store is not None:
        setup.dismiss_teacher()
    taken = fit.run(run, resume)
    setup.recall_teacher()
    if recipe.control and recipe.control_steps is None:
        lessons, taken = charged(lessons, taken, recipe, run)
        recipe.control_steps = control_steps(setup, lessons, setup.fresh(), taken)
        write_atomically(run / "recipe.yaml", recipe.to_yaml())
    models = {TEACHER: setup.teacher, "student": load_language(run / "student", device=setup.device)}
    if recipe.control and recipe.control_steps is not None:
        say(f"Training the control, without a teacher: {recipe.control_steps:,} steps")
        _fit(setup, "control", recipe.control_steps, validation, None).run(run, resume)
        models["control"] = load_language(run / "control", device=setup.device)
    _finish(setup, run, {name: model.freeze() for name, model in models.items()})
    return run


def _ready_labels(setup: LanguageSetup) -> LogitStore | None:
    """The store that the recipe names, checked against the run; None where the teacher answers in another way."""
    recipe = setup.recipe
    if recipe.labels in (None, AUTO) or not setup.objective().needs:
        return None
    store = LogitStore.open(recipe.labels, setup.training, setup.teacher, recipe.objective.temperature)
    if store.labelled() < len(setup.training):
        raise UserError(
            f"{recipe.labels}: holds labels for {store.labelled():,} of the {len(setup.training):,} training examples;"
            " give `potstill label` the same recipe: it goes on where it stopped."
        )
    return store


def _fit(
    setup: LanguageSetup, name: str, steps: int, validation: LanguageValidation, lessons: TrainingData | None
) -> TrainingRun:
    """The training of a model of the run; one without lessons learns from the truth alone."""
    return TrainingRun(
        name=name,
        student=setup.fresh(),
        objective=setup.objective(None if lessons else 0.0),
        dataset=setup.training,
        teach=lessons.teach if lessons else None,
        validate=validation,
        config=setup.recipe.training,
        steps=steps,
        horizon=setup.horizon,
        device=setup.device,
        describe=_names,
        metric=LOSS,
        sampler=setup.sampler(),
        teacher=setup.teacher if lessons and setup.recipe.training.engine == TRL else None,
    )


def _names(tokens: Tokens) -> str:
    return f"examples {', '.join(str(i) for i in tokens.ids[:5].tolist())}{' …' if len(tokens) > 5 else ''}"


def plan_lines(setup: LanguageSetup) -> list[str]:
    """One line each on data, teacher, student and training."""
    recipe, training, teacher = setup.recipe, setup.recipe.training, setup.teacher
    parts = f"{len(setup.training):,} training and {len(setup.validation):,} validation examples"
    share = setup.architecture.parameters / teacher.parameters
    return [
        f"Data       {parts} of at most {recipe.data.max_length} tokens (split {recipe.data.split})",
        *(f"           {line}" for line in setup.training.report.lines()),
        f"Teacher    {teacher.source.name}: {teacher.module.config.model_type}, {teacher.parameters:,} parameters",
        f"Student    {setup.architecture.config.model_type}, {setup.architecture.parameters:,} parameters,"
        f" {share:.1%} of the teacher's, start: {recipe.student.start}",
        objective_line(recipe, setup.objective()),
        f"Training   {setup.steps:,} steps of {training.batch_size * training.accumulate} examples on {setup.device},"
        f" {device_precision(training.precision, setup.device)}",
    ]


def _finish(setup: LanguageSetup, run: Path, models: dict[str, LanguageModel]) -> None:
    """Measure the run's models on the held-out part and write metrics.json, generations.json, cards and report."""
    with progress_bar("Evaluating", "texts") as progress:
        metrics, generations = evaluate_language(
            models, setup.held_out, TEACHER, setup.recipe.evaluation, progress=progress
        )
    if setup.recipe.labels and setup.objective().needs:
        told = setup.held_out, KEPT, setup.recipe.objective.temperature
        metrics["labels"] = gap_of_labels(models[TEACHER], models["student"], *told)
    source = setup.teacher.source
    metrics["provenance"] = {
        "teachers": {
            TEACHER: {
                "source": source.location,
                "revision": source.revision,
                "licence": source.licence,
                "family": setup.teacher.family,
                "fingerprint": setup.teacher.fingerprint,
            }
        },
        "data": {"paths": setup.recipe.data.paths, "fingerprint": setup.training.fingerprint},
        "seed": setup.recipe.training.seed,
        **machine(),
    }
    write_json(run / "metrics.json", metrics)
    write_json(run / "generations.json", generations)
    for name in models:
        if (run / name).is_dir():
            write_atomically(run / name / "README.md", _card(setup, name, metrics))
    path = draw_report(run)
    say("", *summary_lines(metrics), f"Student  {run / 'student'}", f"Report   {path}")


def _card(setup: LanguageSetup, name: str, metrics: dict[str, Any]) -> str:
    """README.md of a student or control, with the front matter that hubs read."""
    source, recipe = setup.teacher.source, setup.recipe
    taught = name == "student" or recipe.student.start == "teacher"
    hub = source.location if "/" in source.location and not Path(source.location).exists() else None
    head = {
        "license": (source.licence or "other") if taught else "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["distillation", "potstill"],
        **({"base_model": [hub]} if taught and hub else {}),
    }
    how = f"distilled from {source.name}" if name == "student" else "trained on the truth alone, without a teacher"
    figures = metrics["models"][name][recipe.evaluation.split]
    shown = [
        f"| {key} | {figures[key]:.4g} |" for key in ("perplexity", "kl", "agreement", "rouge_l") if key in figures
    ]
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {setup.architecture.config.model_type} {name}, {setup.architecture.parameters:,} parameters",
        f"A causal language model {how}, made by Potstill. `AutoModelForCausalLM.from_pretrained` loads it.",
        f"## Accuracy on the {recipe.evaluation.split} part",
        "\n".join(["| measure | value |", "|---|---|", *shown]),
        "## Provenance",
        "\n".join(
            [
                f"- data: {', '.join(Path(path).name for path in recipe.data.paths)} (split {recipe.data.split},"
                f" fingerprint `{setup.training.fingerprint[:16]}`)",
                f"- teacher {source.name}, licence {source.licence or 'not stated'}, fingerprint"
                f" `{setup.teacher.fingerprint[:16]}`",
                f"- seed {recipe.training.seed}; " + ", ".join(f"{k} {v}" for k, v in versions().items()),
            ]
        ),
    ]
    return "\n\n".join(lines) + "\n"
