"""Students that grow: first weights, what is trained, runs that resume, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from training_fakes import log_lines, small_recipe
from usage_errors import usage_error

import potstill
from potstill.evaluation.validation import Validation
from potstill.recipe import ForecastRecipe, Recipe
from potstill.tasks.prepare import prepare
from potstill.training.trainer import DistillationTrainer


@pytest.fixture(scope="module")
def source(tiny_teacher: Path, small_csv: Path, quick_trainer: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished student of two narrow layers."""
    recipe = small_recipe(tiny_teacher, small_csv, max_steps=4)
    recipe.student.overrides = {"num_layers": 2, "d_model": 32, "d_ff": 32, "num_heads": 1, "d_kv": 16}
    return potstill.distill(recipe, tmp_path_factory.mktemp("source") / "run") / "student"


@pytest.fixture
def given(tiny_teacher: Path, small_csv: Path, source: Path) -> Any:
    """A recipe for the source to grow, with changes to its section ``grow`` and to the training."""

    def make(training: dict[str, Any] | None = None, **grow: Any) -> ForecastRecipe:
        recipe = small_recipe(tiny_teacher, small_csv, **{"max_steps": 8, "eval_steps": 4, **(training or {})})
        tree = {**recipe.model_dump(exclude_unset=True), "student": {"grow": {"source": str(source), **grow}}}
        found = Recipe.model_validate(tree)
        assert isinstance(found, ForecastRecipe)
        return found

    return make


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(potstill.load(folder).module.named_parameters())


@pytest.mark.parametrize("insert", ["ffn", "after"])
def test_before_the_training_the_student_forecasts_as_its_source(given, source, insert):
    task = prepare(given(insert=insert))
    student, lines = task.started(task.start)
    context = torch.randn(20, 64, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)
    mine, theirs = (model.predict(context, 32).values for model in (student, potstill.load(source)))
    assert (mine - theirs).abs().max() <= 1e-6 * theirs.abs().max()
    new = student.parameters - sum(w.numel() for n, w in student.module.named_parameters() if n in weights_of(source))
    assert lines == [f"The student grows from {source}: {new:,} new weights; only they are trained"]
    assert (task.start, task.learning_rate(), task.learning_rate(random_start=True)) == ("grown", 1e-4, 1e-3)


@pytest.mark.parametrize(("frozen", "moves"), [(1.0, False), (0.5, True), (0.0, True)])
def test_the_sources_weights_stay_or_are_trained_as_the_recipe_says(
    given, source, tmp_path, monkeypatch, frozen, moves
):
    last = iter(range(99, 0, -1))  # every evaluation is better than the one before
    monkeypatch.setattr(Validation, "__call__", lambda *_: {"sql": next(last), "rel_naive": 1.0})
    run = potstill.mix(given(layers=[1], frozen=frozen), tmp_path / "run")
    before, after = weights_of(source), weights_of(run / "student")
    kept = {name for name in before if name in after and not name.startswith("output_patch_embedding")}
    assert len(kept) > 20
    assert any(not torch.equal(before[name], after[name]) for name in kept) == moves
    experts = after["encoder.block.1.layer.2.mlp.wi"]
    assert (experts[0] - experts[1]).abs().max() > 1e-6
    terms = log_lines(run, "train")[-1]["terms"]
    assert {"auxiliary_balance", "auxiliary_router_z", "busiest_expert", "idle_experts"} <= set(terms)


def test_a_grown_run_is_compared_with_its_source(given, source, tmp_path):
    run = potstill.mix(given(), tmp_path / "run", dry_run=False)
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"teacher", "source", "student", "seasonal_naive"} <= set(metrics["models"])
    student = potstill.inspect(str(run))
    assert student["active_parameters"] < student["parameters"]
    assert metrics["cost"]["student"]["parameters"] == student["parameters"]
    page, card = (run / "report.html").read_text(), (run / "student" / "README.md").read_text()
    assert "The student before it grew" in page
    assert "A forecasting model grown from student and distilled from tiny" in card
    assert "library_name: potstill" in card
    written = Recipe.read(run / "recipe.yaml")
    assert written.student.grow.source == str(source)
    assert written.student.start is None


@pytest.mark.parametrize("step", [3, 5, 7])
def test_a_run_broken_off_resumes_and_ends_as_an_unbroken_one(given, tmp_path, monkeypatch, step):
    """The weights of the source are released at step 5, between two checkpoints."""
    recipe = given(training={"dropout": 0.1, "eval_steps": 2}, frozen=5 / 8, insert="ffn")
    whole = potstill.mix(recipe, tmp_path / "whole")
    own = DistillationTrainer.compute_loss

    def breaks(self, *values, **named):
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return own(self, *values, **named)

    with monkeypatch.context() as patch:
        patch.setattr(DistillationTrainer, "compute_loss", breaks)
        with pytest.raises(KeyboardInterrupt):
            potstill.mix(recipe, tmp_path / "parts")
    resumed = potstill.mix(output=tmp_path / "parts", resume=True)
    for name in ("student/model.safetensors", "student/config.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    assert [line["loss"] for line in log_lines(whole, "train")] == [
        line["loss"] for line in log_lines(resumed, "train")
    ]


def test_controls_train_all_weights_from_random_ones_or_what_is_new(given, source, tmp_path):
    recipe = given(layers=[1])
    recipe.control, recipe.control_steps = "both", 3
    run = potstill.mix(recipe, tmp_path / "run")
    before = weights_of(source)
    name = "encoder.block.0.layer.0.self_attention.v.weight"
    assert torch.equal(weights_of(run / "control_start")[name], before[name])
    assert not torch.equal(weights_of(run / "control")[name], before[name])


def test_the_time_of_a_control_follows_from_the_students_logged_time(given, tmp_path):
    recipe = given()
    recipe.control = True
    run = potstill.mix(recipe, tmp_path / "run")
    assert Recipe.read(run / "recipe.yaml").control_steps >= 1
    assert {line["model"] for line in log_lines(run)} == {"student", "control"}


@pytest.mark.parametrize(
    ("grow", "key", "words"),
    [
        ({"layers": [2]}, "experts.bad_layers", "layers=[2]"),
        ({"layers": []}, "experts.bad_layers", "2 layers"),
        ({"experts": 2, "top_k": 3}, "experts.bad_top_k", "top_k=3 with 2 experts"),
        ({"source": "nowhere"}, "model.hub_unavailable", "nowhere"),
    ],
)
def test_what_cannot_grow_is_refused_before_there_is_a_folder(given, tmp_path, grow, key, words):
    with usage_error(key, words):
        potstill.mix(given(**grow), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_a_chronos2_grows(given, tiny_bolt, tmp_path):
    with usage_error("student.family_cannot_be_trained", "bolt"):
        potstill.mix(given(source=str(tiny_bolt)), tmp_path / "run")
    mixer = potstill.distill(
        given(training={"max_steps": 1}).model_copy(
            update={"student": Recipe.model_validate({"student": "mixer:num_layers=1"}).student}
        ),
        tmp_path / "mixer",
    )
    with usage_error("grow.unsupported", "mixer models cannot grow"):
        potstill.mix(given(source=str(mixer)), tmp_path / "run")


@pytest.mark.parametrize(
    "other", [{"family": "chronos2"}, {"start": "random"}, {"layers": [0]}, {"overrides": {"d_model": 32}}]
)
def test_what_the_source_decides_cannot_be_set(other):
    (name,) = other
    with usage_error("grow.decided_by_source", f"leave out {name}"):
        Recipe.lay_over({"student": {"grow": {"source": "x"}, **other}}, {})


def test_a_student_to_grow_must_be_named(given, tmp_path, small_csv):
    with usage_error("mixture.no_experts", "--students"):
        potstill.mix(data=small_csv, output=tmp_path / "run")


def test_lengths_are_at_most_those_of_the_source(given, tmp_path):
    recipe = given()
    recipe.data.context_length = 128
    with usage_error("data.too_long_for_model", "64"):
        potstill.mix(recipe, tmp_path / "run")


def test_gkd_is_refused_for_a_student_with_experts(given, tmp_path):
    pytest.importorskip("trl")
    tree = given().model_dump(exclude_unset=True)
    tree.pop("objective")
    tree["training"] = {"algorithm": "gkd", "max_steps": 2, "batch_size": 4, "device": "cpu"}
    with usage_error("training.experts_with_gkd", "offline"):
        potstill.mix(Recipe.model_validate(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()
