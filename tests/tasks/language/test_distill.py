"""The whole path for language models, on a GPT-2 made here: run folder, control, resume, what is refused."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel
from usage_errors import usage_error

import potstill
from potstill.recipe import Recipe
from potstill.tasks.prepare import prepare
from potstill.training.sampler import LengthSampler
from potstill.training.trainer import DistillationTrainer


def test_the_defaults_of_language_models(recipe: Recipe):
    assert (recipe.objective.alpha, recipe.objective.soft, recipe.objective.hard) == (0.5, "kl", "cross_entropy")
    assert (recipe.objective.temperature, recipe.training.learning_rate) == (2.0, 3e-4)
    other = Recipe.lay_over({"task": "language", "objective": {"alpha": 0.9}}, {"training.learning_rate": 1e-3})
    assert (other.objective.alpha, other.objective.soft, other.training.learning_rate) == (0.9, "kl", 1e-3)


def test_a_run_from_end_to_end(recipe: Recipe, gpt2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe.control = True
    run = potstill.distill(recipe, tmp_path / "run")
    for name in ("recipe.yaml", "log.jsonl", "metrics.json", "generations.json", "report.html", "student/README.md"):
        assert (run / name).exists(), name
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["task"] == "language"
    assert set(metrics["models"]) == {"teacher", "student", "control"}
    student = metrics["models"]["student"]["test"]
    assert student["kl"] > 0
    assert metrics["cost"]["student"]["parameters"] < metrics["cost"]["teacher"]["parameters"]
    assert capsys.readouterr().err.count("left out: 1 records") == 3
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["event"] == "train" and line["model"] == "student"]
    assert set(trained[-1]["terms"]) == {"kl", "cross_entropy"}
    assert {line["model"] for line in lines} == {"student", "control"}
    checked = [line for line in lines if line["event"] == "eval"]
    assert {"loss", "perplexity", "kl"} <= set(checked[0])
    # upstream's own classes read what was written
    AutoModelForCausalLM.from_pretrained(run / "student")
    assert AutoTokenizer.from_pretrained(run / "student")("two").input_ids
    assert "distilled from" in (run / "student" / "README.md").read_text()
    assert "trained on the ground truth alone" in (run / "control" / "README.md").read_text()


def test_it_comes_nearer_to_its_teacher(recipe: Recipe, tmp_path: Path):
    recipe.training.max_steps, recipe.training.learning_rate, recipe.objective.alpha = 60, 3e-3, 1.0
    run = potstill.distill(recipe, tmp_path / "run")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    distances = [line["kl"] for line in lines if line["event"] == "eval"]
    assert distances[-1] < 0.8 * distances[0]


def test_the_same_seed_gives_the_same_student(recipe: Recipe, tmp_path: Path):
    runs = [potstill.distill(recipe, tmp_path / name) for name in ("one", "two")]
    files = [{p.name: p.read_bytes() for p in (run / "student").iterdir()} for run in runs]
    assert files[0] == files[1]


def test_a_resumed_run_ends_where_the_unbroken_one_ends(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = potstill.distill(recipe, tmp_path / "whole")
    own = DistillationTrainer.compute_loss

    def breaks(self, *args, **kwargs):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return own(self, *args, **kwargs)

    monkeypatch.setattr(DistillationTrainer, "compute_loss", breaks)
    with pytest.raises(KeyboardInterrupt):
        potstill.distill(recipe, tmp_path / "broken")
    monkeypatch.undo()
    broken = potstill.distill(output=tmp_path / "broken", resume=True)
    assert (whole / "student" / "model.safetensors").read_bytes() == (
        broken / "student" / "model.safetensors"
    ).read_bytes()


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    potstill.distill(recipe, tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    plan = capsys.readouterr().err
    assert "training and" in plan
    assert "0.5 · kl, 0.5 · cross_entropy, temperature 2" in plan


@pytest.mark.parametrize(
    ("key", "value", "error", "facts"),
    [
        ("teacher", [], "teacher.several", ["teacher: ", " 0 "]),
        ("labels", "nowhere", "labels.no_store", ["nowhere: ", "potstill label"]),
        ("objective.soft", "quantile_match", "objective.terms_of_two_tasks", ["quantile_match", "cross_entropy"]),
        ("objective.hard", "pinball", "objective.terms_of_two_tasks", ["pinball", "kl"]),
        ("data.max_length", 100_000, "data.too_long_for_model", ["data.max_length", "100,000", "256"]),
        ("data.paths", [], "data.no_paths", ["data.paths", "--data"]),
        ("data.split", "ett", "split.unreadable", ["data.split", "'ett'"]),
        ("student", "gpt2:vocab_size=5", "student.fixed_setting", ["--student", "vocab_size=5", "300"]),
        ("student", "gpt2:layers=5", "student.unknown_setting", ["--student", "'layers'", "gpt2"]),
        ("student", "gpt2:n_layer=-1", "student.bad_value", ["--student", "n_layer=-1"]),
        ("student", "gpt2:resid_pdrop=0.5", "student.fixed_setting", ["resid_pdrop", "training.dropout"]),
        (
            "student",
            "bert:num_hidden_layers=1,hidden_size=16,num_attention_heads=2,intermediate_size=32",
            "model.not_causal",
            ["BertLMHead"],
        ),
        ("data.stride", 3, "recipe.key_of_another_kind", ["data.stride"]),
        ("training.rollout.share", 0.5, "recipe.key_of_another_kind", ["training.rollout"]),
        (
            "objective.terms",
            {"kl": {"temperature": "hot"}},
            "objective.bad_temperature",
            ["objective.terms.kl.temperature", "'hot'"],
        ),
        ("training", "fast", "recipe.invalid_value", ["training: ", "'fast'"]),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(
    recipe: Recipe, tmp_path: Path, key: str, value: object, error: str, facts: list[str]
):
    with usage_error(error, *facts):
        potstill.distill(Recipe.lay_over(recipe.model_dump(mode="json"), {key: value}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_from_stored_logits_needs_no_teacher_in_memory(recipe: Recipe, tmp_path: Path, monkeypatch):
    """At temperature 1 by default; a store that `label` made and one of the run's own give the same student."""
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    made = Recipe.lay_over(tree, {"labels": str(tmp_path / "labels")})
    assert made.objective.temperature == 1.0
    potstill.label(recipe, tmp_path / "labels")
    own = DistillationTrainer.compute_loss

    def without_teacher(self, model, inputs, *args, **kwargs):
        loss = own(self, model, inputs, *args, **kwargs)
        held = [
            m
            for m in gc.get_objects()
            if issubclass(type(m), GPT2LMHeadModel) and next(m.parameters()).device.type == "cpu"
        ]
        assert len({id(m) for m in held} - {id(self.step.module.student_module)} - others) == 0
        return loss

    others = {id(m) for m in gc.get_objects() if issubclass(type(m), GPT2LMHeadModel)}
    monkeypatch.setattr(DistillationTrainer, "compute_loss", without_teacher)
    first = potstill.distill(made, tmp_path / "first")
    second = potstill.distill(Recipe.lay_over(tree, {"labels": "auto"}), tmp_path / "second")
    weights = [(run / "student" / "model.safetensors").read_bytes() for run in (first, second)]
    assert weights[0] == weights[1]
    metrics = json.loads((first / "metrics.json").read_text())
    assert metrics["models"]["student"]["test"]["kl"] > 0  # the teacher is back for the evaluation
    labels = metrics["labels"]
    assert 0 < labels["mass"] < 1
    assert labels["gap"] == pytest.approx(labels["kl"] - labels["kl_kept"])
    assert "Labels: the largest 64 logits hold" in (first / "report.html").read_text()
    checked = [json.loads(line) for line in (first / "log.jsonl").read_text().splitlines()]
    assert all(line["kl_kept"] > 0 for line in checked if line["event"] == "eval")


@pytest.mark.parametrize("labels", ["auto", "made"])
def test_a_term_at_another_temperature_than_the_labels_is_refused_before_labelling(
    recipe: Recipe, tmp_path: Path, labels: str
):
    def changed(**more: object) -> Recipe:
        terms = {"objective.terms": {"jsd": {"weight": 0.1, "temperature": 2.0}}}
        return Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), {**terms, **more})

    with usage_error("labels.other_temperature", "objective.terms.jsd.temperature: 2", "objective.temperature: 1"):
        potstill.distill(changed(labels=labels), tmp_path / "run")
    with usage_error("labels.other_temperature", "objective.terms.jsd.temperature"):
        potstill.label(changed(), tmp_path / "made")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "made").exists()
    prepare(changed())  # a live teacher has its logits at any temperature
    prepare(changed(labels="auto", **{"objective.temperature": 2.0}))


def test_accumulated_batches_are_one_mean_over_their_tokens(recipe: Recipe, tmp_path: Path, data: Path, monkeypatch):
    """Answers of very different lengths: eight at once, and four times two of the same, give the same first step."""
    records = [{"instruction": f"{i}?", "output": "two " * (1 if i % 2 else 20)} for i in range(64)]
    data.write_text(json.dumps(records), encoding="utf-8")
    monkeypatch.setattr(LengthSampler, "__iter__", lambda self: iter(range(len(self))))
    losses = []
    for batch, accumulate in ((8, 1), (2, 4)):
        changes = {"training.batch_size": batch, "training.accumulate": accumulate, "training.max_steps": 1}
        run = potstill.distill(Recipe.lay_over(recipe.model_dump(mode="json"), changes), tmp_path / f"run{batch}")
        losses.append((run / "student" / "model.safetensors").read_bytes())
        losses.append(json.loads((run / "log.jsonl").read_text().splitlines()[0])["loss"])
    assert losses[1] == pytest.approx(losses[3], rel=1e-4)


def test_the_command_that_began_a_run_goes_on_with_it(recipe: Recipe, tmp_path: Path):
    """The defaults of language models are not taken for options that were given."""
    run = potstill.distill(recipe, tmp_path / "run")
    potstill.distill(Recipe.lay_over({"task": "language"}, {}), run, resume=True)


def test_a_recipe_made_in_python_has_the_same_defaults():
    assert Recipe(task="language").objective.soft == "kl"
    assert Recipe(task="language", labels="auto").objective.temperature == 1.0
    assert Recipe().objective.soft == "expected_pinball"


@pytest.mark.parametrize("kill_at", [None, 4])
def test_trls_engine_from_the_same_recipe(recipe: Recipe, tmp_path: Path, monkeypatch, kill_at: int | None):
    pytest.importorskip("trl")
    from potstill.training.gkd import LanguageGKDTrainer

    recipe = Recipe.lay_over(
        recipe.model_dump(exclude_unset=True),
        {"training.algorithm": "gkd", "training.gkd": {"lmbda": 0.5, "max_new_tokens": 8}, "control": True},
    )
    whole = potstill.distill(recipe, tmp_path / "whole")
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    taught = [line for line in lines if line["event"] == "train" and line["model"] == "student"]
    assert [set(line["terms"]) for line in taught] == [{"gkd"}] * 6
    metrics = json.loads((whole / "metrics.json").read_text())
    assert set(metrics["models"]) == {"teacher", "student", "control"}
    # the control had the time that the student's steps took by the clock
    assert Recipe.read(whole / "recipe.yaml").control_steps >= 1
    if kill_at is None:
        return
    own = LanguageGKDTrainer.compute_loss

    def breaks(self, *given, **named):
        if self.state.global_step == kill_at:
            raise RuntimeError("killed here")
        return own(self, *given, **named)

    monkeypatch.setattr(LanguageGKDTrainer, "compute_loss", breaks)
    with pytest.raises(RuntimeError, match="killed here"):
        potstill.distill(recipe, tmp_path / "killed")
    monkeypatch.setattr(LanguageGKDTrainer, "compute_loss", own)
    resumed = potstill.distill(output=tmp_path / "killed", resume=True)
    weights = [(run / "student" / "model.safetensors").read_bytes() for run in (whole, resumed)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("key", "value", "error", "facts"),
    [
        ("objective.alpha", 0.9, "recipe.key_of_another_kind", ["objective: ", "training.algorithm: offline"]),
        ("labels", "auto", "recipe.key_of_another_kind", ["labels: ", "training.algorithm: offline"]),
        ("training.gkd", {"seq_kd": True, "lmbda": 1.0}, "gkd.seq_kd_without_data", ["training.gkd", "lmbda"]),
        ("training.gkd", {"form": "bins"}, "recipe.key_of_another_kind", ["training.gkd.form"]),
    ],
)
def test_what_trls_engine_does_not_do_is_refused(recipe: Recipe, key: str, value, error: str, facts: list[str]):
    with usage_error(error, *facts):
        Recipe.lay_over(recipe.model_dump(exclude_unset=True), {"training.algorithm": "gkd", key: value})
