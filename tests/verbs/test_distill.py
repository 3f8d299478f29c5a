"""``distill`` end to end on a small file: the contents of a run folder, the options, the usage errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from training_fakes import STUDENT, log_lines
from usage_errors import usage_error

import potstill
from potstill.cli import main
from potstill.data.series.training_windows import TrainingWindows
from potstill.evaluation.cost import measure_costs
from potstill.families.ensemble import Ensemble
from potstill.families.load import load, load_forecaster
from potstill.recipe import Recipe
from potstill.tasks.forecasting import ForecastTask
from potstill.tasks.prepare_forecasting import prepare_forecasting
from potstill.teaching.stores.forecasts import ForecastStore

DRAW = TrainingWindows.batch
METRICS = ("mse", "mae", "rmse", "mse_raw", "mae_raw", "rmse_raw", "mape", "smape", "mase", "sql", "wql", "coverage_80")
COSTS = (
    "parameters",
    "bytes",
    "flops",
    "latency_ms_b1",
    "series_per_second_b32",
    "series_per_second_b256",
    "peak_mb",
)


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


def test_a_run_holds_all_it_should(distilled):
    found = {p.name for p in distilled.iterdir()}
    assert {"recipe.yaml", "student", "control", "checkpoints", "metrics.json", "log.jsonl", "report.html"} <= found
    for model in ("student", "control"):
        assert {p.name for p in (distilled / model).iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert not [name for name in found if name.startswith(".")]


def test_the_figures_are_complete_and_consistent(distilled):
    metrics = metrics_of(distilled)
    models = metrics["models"]
    assert set(models) == {"teacher", "student", "student+calibrated", "control", "seasonal_naive"}
    for model in models.values():
        for name in METRICS:
            assert model["small"][name] is not None
            if not name.endswith("_raw"):
                assert f"{name}_rel_naive" in model["small"] or name == "coverage_80"
    teacher, student = models["teacher"]["small"], models["student"]["small"]
    retention = metrics["retention"]["small"]
    assert retention["sql"] == pytest.approx(teacher["sql"] / student["sql"])
    assert teacher["sql_rel_naive"] > 1
    assert retention["skill"] is None, "an untrained teacher has no skill to keep"
    assert metrics["retention"]["overall"]["sql"] == pytest.approx(retention["sql"])
    for model in ("teacher", "student", "control"):
        assert all(metrics["cost"][model][name] is not None for name in COSTS)
        assert metrics["cost"][model]["parameters"] == load_of(distilled, model).parameters
    assert metrics["cost"]["student"]["bytes"] >= (distilled / "student" / "model.safetensors").stat().st_size
    assert metrics["account"]
    provenance = metrics["provenance"]
    assert provenance["seed"] == 0
    assert provenance["data"]["fingerprint"]
    assert provenance["teachers"]["tiny"]["fingerprint"] == load_of(distilled, "teacher").fingerprint


def load_of(run, model):
    if model == "teacher":
        return load(Recipe.read(run / "recipe.yaml").teacher[0].source, precision="auto")  # as the run loads it
    return load(run / model)


def test_both_trainings_are_logged(distilled, recipe):
    for model in ("student", "control"):
        lines = [line for line in log_lines(distilled, "train") if line["model"] == model]
        terms = {"student": {"expected_pinball", "pinball"}, "control": {"pinball"}}[model]
        assert all(set(line["terms"]) == terms for line in lines)
    steps = Recipe.read(distilled / "recipe.yaml").control_steps
    assert steps >= recipe.training.max_steps == 12
    assert lines[-1]["step"] == steps


def test_the_resolved_recipe_reads_back_and_the_callers_is_untouched(distilled, recipe):
    resolved = Recipe.read(distilled / "recipe.yaml")
    assert recipe.control_steps is None
    assert resolved.model_copy(update={"control_steps": None}) == recipe


def test_cards_say_who_learned_from_whom(distilled, tiny_teacher):
    cards = {m: (distilled / m / "README.md").read_text() for m in ("student", "control")}
    heads = {m: ModelCard(text).data.to_dict() for m, text in cards.items()}
    assert "base_model" not in heads["student"]  # a folder of this machine is no hub id
    assert heads["control"]["license"] == "apache-2.0"
    assert "base_model" not in heads["control"]
    assert "distilled from tiny" in cards["student"]
    assert "without a teacher" in cards["control"]
    assert "teacher tiny" not in cards["control"]
    for text in cards.values():
        assert "On the test part" in text
        assert re.search(r"\| small \| [\d.]+ \|", text)


def test_the_report_can_be_drawn_again(distilled):
    first = (distilled / "report.html").read_text()
    (distilled / "report.html").unlink()
    assert potstill.report(distilled) == distilled / "report.html"
    assert (distilled / "report.html").read_text() == first
    assert not re.search(r"(src|href)=\"https?://", first)
    with usage_error("run.not_found", "absent"):
        potstill.report(distilled / "absent")


def test_a_finished_run_resumed_measures_again_and_trains_nothing(distilled, tmp_path):
    run = shutil.copytree(distilled, tmp_path / "run")
    log, weights = (run / "log.jsonl").read_bytes(), (run / "student" / "model.safetensors").read_bytes()
    (run / "metrics.json").unlink()
    potstill.distill(output=run, resume=True)
    assert (run / "log.jsonl").read_bytes() == log
    assert (run / "student" / "model.safetensors").read_bytes() == weights
    assert metrics_of(run)["models"] == metrics_of(distilled)["models"]


def test_a_run_goes_on_from_any_folder(distilled, recipe, small_csv, tiny_teacher, tmp_path, monkeypatch, quick):
    monkeypatch.chdir(small_csv.parent)
    quick.data.paths, quick.teacher[0].source = [small_csv.name], os.path.relpath(tiny_teacher)
    run = potstill.distill(quick, tmp_path / "run")
    (run / "metrics.json").unlink()
    monkeypatch.chdir(tmp_path)
    potstill.distill(output="run", resume=True)
    assert set(metrics_of(run)["models"]) == {"teacher", "student", "student+calibrated", "seasonal_naive"}
    card = (run / "student" / "README.md").read_text()
    assert "data: small.csv" in card
    assert str(small_csv.parent) not in card


def test_a_resumed_run_takes_its_own_recipe_and_refuses_another(distilled, recipe, tmp_path, monkeypatch):
    run = shutil.copytree(distilled, tmp_path / "run")
    measured = []
    monkeypatch.setattr(ForecastTask, "finish", lambda task, *_: measured.append(task.recipe.training.max_steps))
    potstill.distill(recipe, run, resume=True, max_steps=12)  # the command that started it
    cases: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
        ({"max_steps": 20}, ("recipe.yaml", "training.max_steps: 12", "20")),
        ({"data": "other.csv"}, ("data.paths", "small.csv", "other.csv")),
        ({"teacher": "embedded"}, ("teacher", "tiny", "embedded")),
        ({"epochs": 3}, ("training.epochs: None", "3")),
    )
    for options, says in cases:
        with usage_error("run.other_recipe", *says):
            potstill.distill(output=run, resume=True, **options)
    Recipe.read(run / "recipe.yaml", {"training.max_steps": 14}).write(run / "recipe.yaml")
    potstill.distill(output=run, resume=True)
    assert measured == [12, 14]
    assert max(line["step"] for line in log_lines(run, "train") if line["model"] == "student") == 14


def test_a_run_is_not_continued_on_other_data(quick, small_csv, tmp_path):
    table = shutil.copy(small_csv, tmp_path / "own.csv")
    quick.data.paths = [str(table)]
    run = potstill.distill(quick, tmp_path / "run")
    (run / "metrics.json").unlink()
    lines = small_csv.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], lines[-1].replace(".", "1.", 1)]) + "\n")
    with usage_error("run.other_data", "have changed"):
        potstill.distill(output=run, resume=True)
    table.write_text(small_csv.read_text())
    potstill.distill(output=run, resume=True)
    assert (run / "metrics.json").exists()


def test_a_run_is_not_written_over(distilled, recipe):
    before = (distilled / "metrics.json").stat().st_mtime_ns
    with usage_error("run.exists", "--resume"):
        potstill.distill(recipe, distilled)
    with usage_error("run.not_found", "student"):
        potstill.distill(output=distilled / "student", resume=True)
    with usage_error("output.missing", "output"):
        potstill.distill(recipe)
    assert (distilled / "metrics.json").stat().st_mtime_ns == before


def test_a_dry_run_prints_the_plan_and_writes_nothing(recipe, tmp_path, capsys):
    potstill.distill(recipe, tmp_path / "run", dry_run=True)
    assert not (tmp_path / "run").exists()
    plan = capsys.readouterr().err
    for word in ("Data", "Teacher", "Student", "Objective", "Training", "Memory", "Time", "12 steps of 8 windows"):
        assert word in plan


@pytest.mark.parametrize(
    ("change", "key", "facts"),
    [
        ({"labels": "/absent/labels"}, "labels.no_store", ["/absent/labels"]),
        ({"student": "d_modle=32"}, "student.unknown_setting", ["--student", "'d_modle'"]),
        ({"student": "preset=9x9"}, "student.unknown_preset", ["student.preset", "'9x9'"]),
        ({"student": "dropout_rate=0.1"}, "student.decided_elsewhere", ["--set training.dropout=0.1"]),
        ({"student": "context_length=32"}, "student.decided_elsewhere", ["--set data.context_length=32"]),
        ({"teacher": []}, "teacher.missing", ["--teacher", "--alpha 0"]),
        ({"prediction_length": 33}, "data.too_long_for_model", ["--prediction-length 33", "32 steps"]),
        ({"context_length": 65}, "data.too_long_for_model", ["--context-length 65", "64 steps"]),
        ({"teecher": "x"}, "names.unknown_option", ["'teecher'", "'teacher'"]),
        ({"task": "language"}, "recipe.key_of_another_kind", ["data.context_length", "task: language"]),
    ],
)
def test_what_does_not_fit_leaves_no_folder(recipe, tmp_path, change, key, facts):
    with usage_error(key, *facts):
        potstill.distill(recipe, tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["data.max_length", "objective.temperature"])
def test_settings_of_language_models_are_refused(recipe, key):
    with usage_error("recipe.key_of_another_kind", key, "language models"):
        Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), {key: 64})


@pytest.fixture
def quick(recipe, monkeypatch, quick_trainer):
    """Options of a run of four steps that measures little at its end."""
    monkeypatch.setattr("potstill.tasks.forecasting.measure_costs", lambda models, *a, **k: {m: {} for m in models})
    short = recipe.model_copy(deep=True)
    short.control, short.training.max_steps, short.training.eval_steps = False, 4, 2
    return short


def test_a_frame_is_kept_in_the_run_and_gives_what_its_file_gives(quick, small_csv, tmp_path):
    run = potstill.distill(quick, tmp_path / "frame", data=pd.read_csv(small_csv, parse_dates=["date"]))
    assert Recipe.read(run / "recipe.yaml").data.paths == [str(run / "frame.parquet")]
    again = potstill.distill(quick, tmp_path / "file")
    same = [(folder / "student" / "model.safetensors").read_bytes() for folder in (run, again)]
    assert same[0] == same[1]


def test_labels_made_once_teach_without_a_teacher(quick, tmp_path):
    folder = potstill.label(quick, tmp_path / "labels")
    live = potstill.distill(quick, tmp_path / "live")
    bare = quick.model_copy(deep=True)
    bare.teacher, bare.student.overrides = [], {**STUDENT}
    with_teacher = potstill.distill(quick, tmp_path / "stored", labels=folder)
    losses = [[line["loss"] for line in log_lines(run, "train")] for run in (live, with_teacher)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    alone = potstill.distill(bare, tmp_path / "alone", labels=folder)
    assert log_lines(alone, "train")[0]["terms"]["expected_pinball"] > 0
    assert "distilled from the labels in" in (alone / "student" / "README.md").read_text()
    assert set(metrics_of(alone)["models"]) == {"student", "student+calibrated", "seasonal_naive"}


@pytest.fixture
def generated(quick):
    """A recipe of which half the windows are made up."""
    quick.data.synthetic = 0.5
    quick.student.start = "random"  # a cut draws windows to calibrate on, also where the rest comes from a store
    return quick


def test_generated_windows_are_labelled_by_one_command_and_learned_from_by_the_next(generated, tmp_path, monkeypatch):
    path = tmp_path / "recipe.yaml"
    generated.write(path)
    options = ["--max-steps", "3", "--batch-size", "4", "--seed", "7"]
    say("label", path, "--output", tmp_path / "labels", *options)
    assert ForecastStore.open(tmp_path / "labels").labelled() == 12
    say("distill", path, "--output", tmp_path / "live", *options)
    monkeypatch.setattr("potstill.data.series.training_windows.TrainingWindows.batch", only_first)
    say("distill", path, "--output", tmp_path / "stored", "--labels", tmp_path / "labels", *options)
    losses = [[line["loss"] for line in log_lines(tmp_path / run, "train")] for run in ("live", "stored")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def only_first(windows, ids):
    """The one window whose lengths are looked at: all others come from the store."""
    assert list(ids) == [0]
    return DRAW(windows, ids)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seed", "1"], "training.seed 0, this run has 1"),
        (["--set", "data.synthetic=0.4"], "data.synthetic 0.5, this run has 0.4"),
        (["--split", "7:1:2"], "data.split 8:1:1, this run has 7:1:2"),
        (["--batch-size", "16"], "32 of the 64 windows"),
        (["--prediction-length", "16"], "prediction_length 32, this run has 16"),
    ],
)
def test_labels_of_another_recipe_are_refused_by_what_differs(labelled, tmp_path, capsys, options, says):
    path, labels = labelled
    with pytest.raises(SystemExit) as left:
        main(["distill", str(path), "--output", str(tmp_path / "run"), "--labels", str(labels), *options])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def labelled(recipe, tmp_path_factory):
    """A recipe of four steps with generated windows, and their labels."""
    folder = tmp_path_factory.mktemp("labelled")
    short = recipe.model_copy(deep=True)
    short.data.synthetic, short.training.max_steps = 0.5, 4
    short.write(folder / "recipe.yaml")
    return folder / "recipe.yaml", potstill.label(short, folder / "labels")


def say(*arguments: object) -> None:
    """A command that must do its work."""
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    assert left.value.code == 0


def test_two_teachers_teach_their_average_and_are_judged_as_one(quick, tiny_teacher, tmp_path):
    teachers = [f"one={tiny_teacher}", f"two={tiny_teacher}:3"]
    run = potstill.distill(quick, tmp_path / "two", teacher=teachers)
    single = potstill.distill(quick, tmp_path / "one")
    losses = [[line["loss"] for line in log_lines(folder, "train")] for folder in (run, single)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # both are the same model
    assert set(metrics_of(run)["models"]) == {"teacher", "student", "student+calibrated", "seasonal_naive"}
    assert set(metrics_of(run)["provenance"]["teachers"]) == {"one", "two"}


def test_several_teachers_cost_what_they_cost_together(tiny_teacher):
    one = load_forecaster(tiny_teacher)
    both = Ensemble({"one": one, "two": load_forecaster(tiny_teacher)}, [1.0, 3.0])
    cost = measure_costs({"teacher": both, "one": one}, 64, 32, seconds=0)
    assert cost["teacher"]["parameters"] == both.parameters == 2 * one.parameters
    assert cost["teacher"]["flops"] == 2 * cost["one"]["flops"]


def test_a_term_from_a_recipes_file_is_trained_by_name(quick, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from potstill.objectives.base import Term\n\n\n"
        "class Narrow(Term):\n"
        '    name = "narrow"\n\n'
        "    def __call__(self, inputs):\n"
        "        values = inputs.student.forecast.values\n"
        "        return (values[:, -1] - values[:, 0]).abs().mean(dim=1)\n"
    )
    quick.imports, quick.objective.terms = [str(tmp_path / "mine.py")], {"narrow": {"weight": 0.5}}
    run = potstill.distill(quick, tmp_path / "run")
    assert log_lines(run, "train")[0]["terms"]["narrow"] > 0
    plain = quick.model_copy(deep=True)
    plain.imports, plain.objective.terms = [], {}
    other = potstill.distill(plain, tmp_path / "plain")
    assert load(run).fingerprint != load(other).fingerprint


def test_a_student_keeps_how_its_intervals_are_fitted(quick, small_csv, tmp_path, capsys):
    run = potstill.distill(quick, tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert "Forecasts of the student will have intervals fitted to the errors of the last 4 horizons" in said
    metrics = metrics_of(run)
    assert metrics["calibrated_rows"] == metrics["calibrate_horizons"] == {"student": 4}
    coverage = metrics["models"]["student+calibrated"]["small"]["coverage_80"]
    card = (run / "student" / "README.md").read_text()
    assert "intervals fitted to the errors of the last 4 horizons on each series" in card
    assert f"`coverage_80` is then {coverage:.4g} on average" in card
    by_default, fitted, plain = (potstill.forecast(run, small_csv, 8, calibrate=horizons) for horizons in (None, 4, 0))
    pd.testing.assert_frame_equal(by_default, fitted)
    assert (by_default["q0.9"] != plain["q0.9"]).any()
    assert (by_default["q0.5"] == plain["q0.5"]).all()
    quick.training.calibrate_horizons, quick.evaluation.calibrate = 0, 2
    without = potstill.distill(quick, tmp_path / "without")
    assert load(without).calibrate_horizons == 0
    assert metrics_of(without)["calibrated_rows"] == {"teacher": 2, "student": 2}, "of all models, if asked for"
    assert "`potstill forecast` gives intervals" not in (without / "student" / "README.md").read_text()


def test_a_student_may_start_as_a_copy_of_its_teachers_layers(quick, tmp_path, capsys):
    quick.student.start, quick.student.overrides = "copy", {"num_layers": 1}
    quick.training.learning_rate, quick.training.calibrate = 1e-9, False
    run = potstill.distill(quick, tmp_path / "run")
    assert "start from the teacher (layers 0)" in capsys.readouterr().err
    own = load(run).module.state_dict()
    exact = load(quick.teacher[0].source)  # fp32, also where the run's teacher forecasts in bf16
    for name, tensor in exact.module.state_dict().items():
        if name in own:
            assert (own[name] - tensor).abs().max() < 1e-6


def test_a_run_that_diverges_says_so_in_one_sentence(quick, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from potstill.objectives.base import Term\n\n\n"
        "class Broken(Term):\n"
        '    name = "broken"\n\n'
        "    def __call__(self, inputs):\n"
        '        return inputs.student.forecast.values.mean(dim=(1, 2)) * float("nan")\n'
    )
    quick.imports, quick.objective.terms = [str(tmp_path / "mine.py")], {"broken": {}}
    with usage_error("training.diverged", "at step 1", "broken nan", "small/"):
        potstill.distill(quick, tmp_path / "run")


@pytest.mark.parametrize(
    ("training", "steps"),
    [({"max_steps": 7}, 7), ({"epochs": 2}, None), ({"epochs": 1, "accumulate": 3}, None), ({"epochs": 1e-6}, 1)],
)
def test_steps_are_given_or_follow_the_epochs(recipe, training, steps):
    recipe = recipe.model_copy(deep=True)
    recipe.training = recipe.training.model_copy(update={"max_steps": None, **training})
    task = prepare_forecasting(recipe)
    per_step = 8 * training.get("accumulate", 1)
    assert task.steps == (steps or round(len(task.windows) * training["epochs"] / per_step))


def test_nothing_in_a_student_tells_the_time(distilled):
    stamp = time.strftime("%Y-%m-%d", time.gmtime())
    assert stamp not in (distilled / "student" / "README.md").read_text()
    assert stamp in (distilled / "metrics.json").read_text()


GKD = {"training.algorithm": "gkd"}


def without_objective(recipe: Recipe) -> dict:
    """What was set in a recipe, but for the objective, which GKD does not have."""
    return recipe.model_dump(mode="json", exclude_unset=True, exclude={"objective"})


def test_trls_engine_drives_a_chronos2_from_the_same_recipe(quick, tmp_path, capsys):
    pytest.importorskip("trl")
    quick.control = True
    recipe = Recipe.lay_over(without_objective(quick), {**GKD, "training.gkd": {"lmbda": 0.5, "max_new_tokens": 32}})
    whole = potstill.distill(recipe, tmp_path / "run")
    assert (
        "GKD by TRL, β 0.5: 50% on the student's own answers of at most 32 steps (in whole patches)"
        in capsys.readouterr().err
    )
    assert next(set(line["terms"]) for line in log_lines(whole, "train") if line["model"] == "student") == {"gkd"}
    assert set(metrics_of(whole)["models"]) >= {"teacher", "student", "control"}
    again = potstill.distill(recipe, tmp_path / "again")
    assert load(whole / "student").fingerprint == load(again / "student").fingerprint


@pytest.mark.parametrize(
    ("change", "key", "fact"),
    [
        ({"student": "linear"}, "gkd.models_do_not_fit", "chronos2 and linear"),
        ({"training.rollout.share": 0.5}, "recipe.key_of_another_kind", "training.rollout"),
        ({"training.gkd": {"seq_kd": True}}, "recipe.key_of_another_kind", "training.gkd.seq_kd"),
        ({"objective.alpha": 0.5}, "recipe.key_of_another_kind", "objective"),
        ({"training.random_horizon": True}, "recipe.key_of_another_kind", "training.random_horizon"),
        ({"labels": "auto"}, "recipe.key_of_another_kind", "labels"),
        ({"training.gkd": {"temperature": 3.0}}, "recipe.key_of_another_kind", "training.gkd.temperature"),
        ({"teacher": []}, "teacher.missing", "teacher"),
    ],
)
def test_what_trls_engine_does_not_do_is_refused(quick, tmp_path, change, key, fact):
    pytest.importorskip("trl")
    with usage_error(key, fact):
        potstill.distill(Recipe.lay_over(without_objective(quick), {**GKD, **change}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_of_two_teachers_are_those_of_their_average(quick, tiny_teacher, tmp_path):
    teachers = [f"one={tiny_teacher}", f"two={tiny_teacher}:3"]
    live = potstill.distill(quick, tmp_path / "live", teacher=teachers)
    stored = potstill.distill(quick, tmp_path / "stored", teacher=teachers, labels="auto")
    losses = [[line["loss"] for line in log_lines(run, "train")] for run in (live, stored)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    other = [f"one={tiny_teacher}", f"two={tiny_teacher}:2"]
    with usage_error("labels.other_teacher"):
        potstill.distill(quick, tmp_path / "other", teacher=other, labels=tmp_path / "stored" / "labels")


@pytest.mark.parametrize("ensemble", ["validation", "recent"])
def test_weights_of_teachers_from_validation_and_recent_skill(quick, tiny_teacher, tmp_path, ensemble):
    teachers = [f"one={tiny_teacher}", f"two={tiny_teacher}"]
    tree = quick.model_dump(mode="json", exclude_unset=True)
    run = potstill.distill(Recipe.lay_over(tree, {"ensemble": ensemble, "teacher": teachers}), tmp_path / "run")
    resolved = Recipe.read(run / "recipe.yaml")
    if ensemble == "validation":
        assert resolved.ensemble == "fixed"
        assert [teacher.weight["other"] for teacher in resolved.teacher] == [0.5, 0.5]  # equal models: nothing to gain
    else:
        assert resolved.ensemble == "recent"
    assert log_lines(run, "train")[0]["terms"]["expected_pinball"] > 0


def test_two_controls_one_from_random_weights_and_one_from_the_students_start(quick, tmp_path, capsys):
    quick.student.start, quick.student.overrides = "copy", {"num_layers": 1}
    quick.control, quick.training.learning_rate, quick.training.calibrate = "both", 1e-9, False
    run = potstill.distill(quick, tmp_path / "run")
    names = {"teacher", "student", "student+calibrated", "control", "control_start", "seasonal_naive"}
    assert set(metrics_of(run)["models"]) == names
    student, control, same = (load(run / name).module.state_dict() for name in ("student", "control", "control_start"))
    assert max((student[name] - same[name]).abs().max() for name in student) < 1e-6
    assert max((student[name] - control[name]).abs().max() for name in student) > 0.01
    cards = {name: (run / name / "README.md").read_text() for name in ("control", "control_start")}
    assert "without a teacher" in cards["control"]
    assert "started from tiny" in cards["control_start"]
    said = " ".join(capsys.readouterr().err.split())
    assert "its control from the same first weights" in said
    text = (run / "report.html").read_text()
    assert "Control from the student's start" in text or "Control from the student&#39;s start" in text


def test_a_control_may_have_the_students_start(quick, tmp_path):
    quick.student.start, quick.student.overrides = "copy", {"num_layers": 1}
    quick.control, quick.training.learning_rate, quick.training.calibrate = "start", 1e-9, False
    run = potstill.distill(quick, tmp_path / "run")
    student, control = (load(run / name).module.state_dict() for name in ("student", "control"))
    assert max((student[name] - control[name]).abs().max() for name in student) < 1e-6


def test_generated_windows_with_stored_labels_serve_many_epochs(quick, tmp_path):
    quick.data.synthetic, quick.data.augmented, quick.data.distinct_windows = 0.5, 0.2, 24
    quick.labels, quick.training.max_steps = "auto", 12  # 96 draws of 8 windows: four epochs
    run = potstill.distill(quick, tmp_path / "stored")
    store = ForecastStore.open(run / "labels")
    assert store.labelled() == 24
    assert [line["epoch"] for line in log_lines(run, "train")][-1] == pytest.approx(4)
    # the same windows and outputs with a live teacher
    live = potstill.distill(quick.model_copy(update={"labels": None}), tmp_path / "live")
    losses = [[line["loss"] for line in log_lines(folder, "train")] for folder in (run, live)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_stored_labels_of_a_share_are_those_of_the_live_teacher(quick, tmp_path):
    quick.data.label_share = 0.5
    live = potstill.distill(quick, tmp_path / "live")
    stored = potstill.distill(quick, tmp_path / "stored", labels="auto")
    losses = [[line["loss"] for line in log_lines(run, "train")] for run in (live, stored)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    quick.data.label_share = 1.0
    whole = potstill.distill(quick, tmp_path / "whole")
    assert losses[0] != pytest.approx([line["loss"] for line in log_lines(whole, "train")], rel=1e-3)
    quick.data.label_share = 0.8
    with usage_error("labels.other_share", "0.5"):
        potstill.distill(quick, tmp_path / "other", labels=tmp_path / "stored" / "labels")


def test_a_share_needs_a_term_on_the_truth(quick, tmp_path):
    quick.data.label_share, quick.objective.alpha = 0.5, 1.0
    with usage_error("data.label_share_without_truth"):
        potstill.distill(quick, tmp_path / "run")
