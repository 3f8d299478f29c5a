"""``potstill mix`` from experts to a folder: routing, choice of experts, joint training, resuming, errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from training_fakes import Stop
from usage_errors import usage_error

import potstill
from potstill.evaluation.metrics import WindowScores, score_windows
from potstill.evaluation.outcome import Scored, conclude
from potstill.families.load import load_forecaster
from potstill.families.registry import family
from potstill.recipe import Recipe
from potstill.reporting.summary import summary_lines
from potstill.tasks.experts.report import compare_experts


@pytest.fixture(scope="module")
def mixed(files, experts, quick_trainer, tmp_path_factory) -> Path:
    """The run of the two experts."""
    options = {
        "training.max_steps": 40, "training.batch_size": 64, "training.eval_steps": 10, "training.eval_windows": 40,
        "training.precision": "fp32", "training.learning_rate": 0.01, "data.distinct_windows": 600,
        "evaluation.baselines": ["seasonal_naive"], "evaluation.max_windows": 20, "data.context_length": 64,
        "data.prediction_length": 16, "data.paths": [str(path) for path in files], "task": "mixture",
        "experts": [str(experts["daily"]), f"week={experts['weekly']}"],
    }  # fmt: skip
    return potstill.mix(Recipe.lay_over({}, options), tmp_path_factory.mktemp("mixed") / "run")


def metrics_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def log_of(run: Path, event: str, model: str = "student") -> list[dict]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event and line["model"] == model]


def season_of(folder: Path) -> torch.Tensor:
    """The seasonal matrix of a linear expert."""
    module: Any = load_forecaster(folder).module
    return module.season


def test_each_series_is_forecast_by_the_expert_that_knows_it(mixed):
    metrics = metrics_of(mixed)
    usage = metrics["experts"]["usage"]
    assert metrics["experts"]["names"] == ["daily", "week"]
    assert usage["daily"][0] > 0.8
    assert usage["weekly"][1] > 0.8
    sql = {name: {d: f["sql"] for d, f in sets.items()} for name, sets in metrics["models"].items()}
    assert sql["student"]["daily"] < 0.7 * sql["week"]["daily"]
    assert sql["student"]["weekly"] < 0.7 * sql["daily"]["weekly"]
    assert all(sql["student"][d] < sql["mean of experts"][d] for d in ("daily", "weekly"))


def test_the_mixture_is_compared_with_its_experts_and_an_oracle(mixed):
    metrics = metrics_of(mixed)
    found = metrics["experts"]
    assert found["validation_sql"].keys() == {"daily", "week"}
    assert found["best_expert"] == min(found["validation_sql"], key=found["validation_sql"].get)
    singles = [metrics["overall"][name]["sql_rel_naive"] for name in ("daily", "week")]
    assert found["oracle_sql_rel_naive"] < min(singles)
    assert found["oracle_sql_rel_naive"] < 1.02 * metrics["overall"]["student"]["sql_rel_naive"]
    compared = [line for line in summary_lines(metrics) if line.startswith("Compared with")]
    best, mean, *_, oracle = compared
    assert f"the expert that is best on the validation part, {found['best_expert']}: SQL" in best
    assert "lower (95 % CI" in best
    assert "lower on 1 of 2 data sets; better" in best
    assert "the mean of all experts: SQL" in mean
    assert "an oracle that knows the best expert of each window: SQL" in oracle
    assert "the limit of choosing one expert per window" in oracle
    assert not any("--control" in line for line in summary_lines(metrics))  # a mixture has none


def test_the_report_shows_the_use_of_the_experts_and_each_alone(mixed):
    page = (mixed / "report.html").read_text()
    section = page[page.index('id="experts"') : page.index('id="cost"') if 'id="cost"' in page else None]
    for dataset, shares in metrics_of(mixed)["experts"]["usage"].items():
        assert dataset in section
        for share in shares:
            assert f"{share * 100:.0f}\u00a0%" in section
    assert section.count('<th scope="row">week</th>') == 1
    assert "Mixture" in page
    assert metrics_of(mixed)["provenance"]["experts"].keys() == {"daily", "week"}
    assert metrics_of(mixed)["experts"]["run"].keys() == {"daily", "weekly"}


def test_the_oracle_by_hand():
    sql = {"a": np.array([1.0, 3.0]), "b": np.array([2.0, 1.0]), "seasonal_naive": np.array([2.0, 4.0])}
    found: Any = SimpleNamespace(windows={"x": {"sql": sql, "weights": np.array([1.5, 0.5])}})
    compared = compare_experts(found, {"a": 0.5, "b": 0.4})
    assert compared["best_expert"] == "b"
    assert compared["oracle_sql_rel_naive"] == pytest.approx(0.4)


def test_the_oracle_of_two_equal_experts_is_as_good_as_they_are():
    """It is averaged as they are: columns count alike, and windows by their known steps."""
    rng = np.random.default_rng(0)
    column = np.repeat([0, 1], [100, 10])
    truth = rng.normal(size=(110, 8))
    truth[50:100, 2:] = np.nan

    def scores(error: np.ndarray) -> WindowScores:
        distance = error[:, None, None] * np.linspace(0.5, 1.5, 9)[:, None]
        return score_windows(truth[:, None] + distance, truth, *np.ones((3, 110)), column)

    naive, expert = scores(np.ones(110)), scores(np.where(column, 3.0, 0.2) * rng.uniform(0.1, 2, 110))
    models, rows = {"seasonal_naive": naive, "a": expert, "b": expert}, np.arange(110)
    scored = Scored("x", column, rows * 8, 8, models, dict.fromkeys(models, rows))
    found = conclude([scored], "teacher", "a", {})
    oracle = compare_experts(found, {"a": 1.0, "b": 1.0})["oracle_sql_rel_naive"]
    assert oracle == pytest.approx(found.overall["a"]["sql_rel_naive"], rel=1e-12)


def test_use_of_the_experts_and_balance_are_logged(mixed):
    evaluations = log_of(mixed, "eval")
    assert [line["step"] for line in evaluations] == [10, 20, 30, 40]
    for line in evaluations:
        assert line["usage_daily"] + line["usage_week"] == pytest.approx(1)
        assert 0 <= line["entropy"] <= 1
        assert line["evenness"] > 0.8
    assert log_of(mixed, "train")[0]["terms"].keys() == {"scaled_pinball", "auxiliary_usage_mse", "auxiliary_balance"}


def test_the_run_is_a_model(mixed, files, tmp_path):
    mixture = load_forecaster(mixed)
    context = torch.randn(3, 64)
    assert mixture.predict(context, 16).quantiles.shape == (3, 9, 16)
    table = potstill.forecast(str(mixed), str(files[0]), 16, tmp_path / "forecast.csv")
    assert len(table.read_text().splitlines()) == 17
    potstill.evaluate([str(mixed), f"one={mixed}/student/experts/daily"], str(files[0]), tmp_path / "evaluation")
    assert metrics_of(tmp_path / "evaluation")["models"].keys() >= {mixed.name, "one"}
    card = (mixed / "student" / "README.md").read_text()
    assert "expert daily: daily" in card
    assert "mixture-of-experts" in card
    assert Recipe.read(mixed / "recipe.yaml").experts[1].name == "week"


def test_it_teaches_a_student_and_can_be_an_expert(mixed, files, experts, make_recipe, tmp_path):
    run = potstill.distill(
        output=tmp_path / "student", teacher=str(mixed), student="linear", data=str(files[0]), context_length=64,
        prediction_length=16, max_steps=8, batch_size=8,
    )  # fmt: skip
    assert metrics_of(run)["models"].keys() >= {"teacher", "student"}
    recipe = make_recipe(["neither"], joint=None)
    recipe.experts = [*recipe.experts, {"source": str(mixed), "name": "inner"}]
    recipe.training.max_steps = 8
    outer = load_forecaster(potstill.mix(recipe, tmp_path / "outer"))
    assert outer.experts["inner"].family == "mixture"
    assert (tmp_path / "outer" / "student" / "experts" / "inner" / "experts" / "daily" / "config.json").is_file()


def test_a_teacher_is_compared_with_the_mixture(make_recipe, tiny_teacher, tmp_path):
    run = potstill.mix(make_recipe(["daily", "weekly"], teacher=[str(tiny_teacher)]), tmp_path / "run")
    metrics = metrics_of(run)
    assert "teacher" in metrics["models"]
    assert metrics["retention"]["overall"]["sql"] > 0


def test_experts_run_once_and_never_in_training(recipe, tmp_path, monkeypatch):
    from potstill.families.small.base import SmallStudentForecaster

    seen = []
    original = SmallStudentForecaster.forward

    def counted(self, windows, request):
        seen.append(self.module.training)
        return original(self, windows, request)

    monkeypatch.setattr(SmallStudentForecaster, "forward", counted)
    monkeypatch.setattr("potstill.tasks.experts.task.MixtureTask.finish", lambda *_: None)
    recipe.router.gate, recipe.training.calibrate = False, False
    potstill.mix(recipe, tmp_path / "run")
    counts = len(seen)
    assert not any(seen)
    recipe.training.max_steps = 400
    seen.clear()
    potstill.mix(recipe, tmp_path / "longer")
    assert len(seen) == counts  # ten times the steps, the same passes of the experts


def test_superfluous_experts_are_left_out(make_recipe, tmp_path, capsys):
    recipe = make_recipe(["daily", "neither", "weekly"], most_experts=2)
    run = potstill.mix(recipe, tmp_path / "run")
    assert "Left out: neither" in capsys.readouterr().err
    assert Recipe.read(run / "recipe.yaml").kept == ["daily", "weekly"]
    potstill.mix(recipe, run, resume=True)  # the command that started the run
    assert list(load_forecaster(run).experts) == ["daily", "weekly"]


def test_experts_to_keep_that_do_not_exist(make_recipe, tmp_path):
    with usage_error("names.unknown_expert", "'dai1y'", "Did you mean 'daily'"):
        potstill.mix(make_recipe(["daily", "weekly"], kept=["dai1y"]), tmp_path / "run")


def test_a_run_goes_on_without_the_expert_that_stored_the_windows(make_recipe, tmp_path):
    recipe = make_recipe(["neither", "daily", "weekly"], most_experts=2)
    run = potstill.mix(recipe, tmp_path / "run")
    assert Recipe.read(run / "recipe.yaml").kept == ["daily", "weekly"]
    before = load_forecaster(run).fingerprint
    for name in ("student", "checkpoints/student"):
        shutil.rmtree(run / name)
    potstill.mix(recipe, run, resume=True)
    assert load_forecaster(run).fingerprint == before


def test_joint_training_changes_the_experts_and_is_kept_if_it_helps(make_recipe, experts, tmp_path, capsys):
    joint = {"max_steps": 60, "batch_size": 32, "expert_learning_rate": 3e-3}
    run = potstill.mix(make_recipe(["neither", "weekly"], joint=joint), tmp_path / "run")
    before, after = (season_of(path) for path in (experts["neither"], run / "student" / "experts" / "neither"))
    said = capsys.readouterr().err
    assert "it is kept" in said
    assert not torch.equal(before, after)
    assert log_of(run, "eval", "joint")
    kept = load_forecaster(run).fingerprint
    potstill.mix(make_recipe(["neither", "weekly"], joint=joint), run, resume=True)
    assert "Joint training was kept before" in capsys.readouterr().err
    assert load_forecaster(run).fingerprint == kept


def test_joint_training_that_does_not_help_is_dropped(make_recipe, experts, tmp_path, capsys):
    recipe = make_recipe(["daily", "weekly"], joint={"max_steps": 5, "expert_learning_rate": 0.3})
    run = potstill.mix(recipe, tmp_path / "run")
    assert "not kept" in capsys.readouterr().err
    assert torch.equal(season_of(experts["daily"]), season_of(run / "student" / "experts" / "daily"))


def test_a_resumed_run_equals_an_uninterrupted_one(recipe, tmp_path, monkeypatch):
    from potstill.tasks.experts.monitor import MixtureValidation

    whole = potstill.mix(recipe, tmp_path / "whole")
    original, seen = MixtureValidation.__call__, []

    def stopped(self, mixture):
        seen.append(mixture)
        if len(seen) == 3:
            raise Stop
        return original(self, mixture)

    monkeypatch.setattr(MixtureValidation, "__call__", stopped)
    with pytest.raises(Stop):
        potstill.mix(recipe, tmp_path / "run")
    monkeypatch.setattr(MixtureValidation, "__call__", original)
    potstill.mix(recipe, tmp_path / "run", resume=True)
    assert load_forecaster(tmp_path / "run").fingerprint == load_forecaster(whole).fingerprint
    losses = [[line["sql"] for line in log_of(run, "eval")] for run in (whole, tmp_path / "run")]
    assert losses[0] == losses[1]


def test_a_collapsed_router_is_reported(recipe, monkeypatch, tmp_path, capsys):
    from potstill.families.experts.router import Router

    original = Router.logits

    def collapsed(self, windows):
        return original(self, windows) * 0 + torch.tensor([9.0, -9.0])

    monkeypatch.setattr(Router, "logits", collapsed)
    recipe.router.gate = False
    potstill.mix(recipe, tmp_path / "run")
    assert "The router has collapsed: daily has 100.0 % of the weight" in capsys.readouterr().err


def test_a_dry_run_tells_what_will_be_done(recipe, tmp_path, capsys):
    potstill.mix(recipe, tmp_path / "run", dry_run=True)
    said = capsys.readouterr().err
    assert "Expert     daily: linear" in said
    assert "each expert forecasts 600 windows once" in said
    assert "mixture of 2 experts" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "key", "fact"),
    [
        ({"router": {"top_k": 3}}, "mixture.top_k_above_experts", "3 of 2"),
        ({"control": True}, "mixture.control", "its experts"),
        ({"student": "linear"}, "mixture.student", "experts and router"),
        ({"objective": {"alpha": 0.5}}, "teacher.missing", "--teacher"),
        ({"objective": {"hard": "cross_entropy"}}, "objective.other_task", "task: language"),
        ({"training": {"rollout": {"share": 0.5}}}, "training.rollout_with_experts", "training: rollout"),
    ],
)
def test_what_does_not_fit_is_one_sentence(make_recipe, tmp_path, change, key, fact):
    with usage_error(key, fact):
        potstill.mix(make_recipe(["daily", "weekly"], **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_windows_without_labels_need_a_term_on_the_truth(make_recipe, base, tmp_path):
    branch = {"source": str(base), "alpha": 1}
    for key, section in {"objective": {"objective": {"alpha": 1}}, "branch": {"branch": branch}}.items():
        recipe = make_recipe(["daily", "weekly"], teacher=str(base), **section)
        recipe.data.label_share = 0.5
        with usage_error("data.label_share_without_truth", f"{key}.alpha"):
            potstill.mix(recipe, tmp_path / "run")


def test_a_backtest_of_the_gate_must_fit_into_the_windows(make_recipe, base, tmp_path):
    recipe = make_recipe(["daily", "weekly"], teacher=str(base), objective={"alpha": 0.5, "gate": 20})
    with usage_error("objective.gate_too_long", "at most 16"):
        potstill.mix(recipe, tmp_path / "run")


def test_a_mixture_needs_experts(make_recipe, tmp_path):
    with usage_error("mixture.no_experts", "--students"):
        potstill.mix(make_recipe([]), tmp_path / "run")


def test_unsuitable_experts_are_named(make_recipe, experts, files, tmp_path):
    with usage_error("mixture.same_name", "daily"):
        potstill.mix(make_recipe(["daily", "daily"]), tmp_path / "run")
    with usage_error("mixture.bad_name", "'..'"):
        potstill.mix(make_recipe(["weekly"]), tmp_path / "run", students=[f"..={experts['daily']}"])
    with usage_error("mixture.reserved_name", "'student'"):
        potstill.mix(make_recipe(["weekly"]), tmp_path / "run", students=[f"student={experts['daily']}"])
    with usage_error("model.no_such_folder", "nowhere"):
        potstill.mix(
            make_recipe(["daily"]), tmp_path / "run", students=[str(experts["daily"]), str(tmp_path / "nowhere")]
        )
    shutil.copytree(experts["daily"], tmp_path / "damaged")
    weights = tmp_path / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:99])
    with usage_error("model.damaged_weights", "damaged"):
        potstill.mix(
            make_recipe(["daily"]), tmp_path / "run", students=[str(experts["daily"]), str(tmp_path / "damaged")]
        )


def test_the_plan_names_an_expert_without_the_outermost_levels(files, tmp_path, capsys):
    one = family("linear")
    for name, levels in {"wide": [0.01, 0.1, 0.5, 0.9, 0.99], "narrow": [0.1, 0.5, 0.9]}.items():
        one.build(one.design(None, {"levels": levels}, 64, 16), 0.0).save(tmp_path / name)
    students = [str(tmp_path / "wide"), str(tmp_path / "narrow")]
    data = [str(path) for path in files]
    options = {"context_length": 64, "prediction_length": 16, "max_steps": 1, "output": tmp_path / "run"}
    potstill.mix(students=students, data=data, dry_run=True, **options)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Expert")]
    assert "too narrow" not in lines[0]
    assert "its outer levels are 0.1 and 0.9: it forecasts 0.01 and 0.99 by them" in lines[1]
