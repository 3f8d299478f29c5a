import json

import numpy as np
import pytest
import torch
from eval_fakes import Broken, FakeStore, FakeWindows, Last
from usage_errors import usage_error

from potstill.data.series.store import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.metrics import METRICS
from potstill.recipe import ForecastEvaluation, SeriesData
from potstill.runs import write_json

SEASON = 12


def wave(seed, length=500, level=10.0):
    rng = np.random.default_rng(seed)
    return level + np.sin(2 * np.pi * np.arange(length) / SEASON) + rng.normal(0, 0.3, length)


@pytest.fixture(scope="module")
def store():
    return FakeStore([wave(0), 50 * wave(1), wave(2), wave(3, 300)], SEASON, dataset_of=[0, 0, 1, 1])


def evaluate(store, models, baselines=("seasonal_naive",), reference="teacher", progress=None, **config):
    test, train = FakeWindows(store, 36, 6), FakeWindows(store, 36, 6, "train")
    return evaluate_models(models, test, train, list(baselines), ForecastEvaluation(**config), reference, progress)


@pytest.fixture(scope="module")
def found(store):
    models = {"teacher": Last(width=1.0), "student": Last(width=1.5), "control": Last(shift=1.0)}
    return evaluate(store, models, ["seasonal_naive", "ridge", "auto_theta"], max_windows=7)


def test_every_model_has_every_metric_on_every_data_set(found):
    assert set(found.metrics) == {"teacher", "student", "control", "seasonal_naive", "ridge", "auto_theta"}
    for sets in found.metrics.values():
        assert set(sets) == {"set0", "set1"}
        for values in sets.values():
            assert set(values) == {m + suffix for m in METRICS for suffix in ("", "_rel_naive", "_rel_teacher")}
    assert found.metrics["seasonal_naive"]["set0"]["sql_rel_naive"] == 1
    assert found.metrics["teacher"]["set1"]["mae_rel_teacher"] == 1


def test_retention_agrees_with_the_metrics(found):
    teacher, student = found.metrics["teacher"], found.metrics["student"]
    for name in ("set0", "set1"):
        kept = found.retention[name]
        assert kept["sql"] == pytest.approx(teacher[name]["sql"] / student[name]["sql"])
        relative = [m[name]["sql_rel_naive"] for m in (student, teacher)]
        expected = (1 - relative[0]) / (1 - relative[1]) if relative[1] < 1 else np.nan
        assert kept["skill"] == pytest.approx(expected, nan_ok=True)
    product = found.retention["set0"]["sql"] * found.retention["set1"]["sql"]
    assert found.retention["overall"]["sql"] == pytest.approx(product**0.5)
    assert set(found.retention_by_model) == {"student", "control", "seasonal_naive", "ridge", "auto_theta"}


def test_windows_and_intervals_agree_with_the_metrics(found):
    for name, table in found.windows.items():
        assert len(table["series"]) == len(table["origin"]) <= 7
        for model, sql in table["sql"].items():
            assert np.nanmean(sql) == pytest.approx(found.metrics[model][name]["sql"])
    pair = found.intervals["student/control"]["sql"]
    for name, interval in pair["datasets"].items():
        ratio = found.metrics["student"][name]["sql"] / found.metrics["control"][name]["sql"]
        assert interval["value"] == pytest.approx(ratio)
        assert interval["low"] <= ratio <= interval["high"]
    assert pair["value"] == pytest.approx(np.prod([i["value"] for i in pair["datasets"].values()]) ** 0.5)
    assert {"student/teacher", "teacher/seasonal_naive", "ridge/seasonal_naive"} <= set(found.intervals)
    overall = found.overall["ridge"]["sql_rel_naive"]
    assert found.intervals["ridge/seasonal_naive"]["sql"]["value"] == pytest.approx(overall)


def test_examples_are_ranked_by_the_student_and_json_compatible(found, tmp_path):
    examples = found.examples["examples"]
    assert [(e["dataset"], e["kind"]) for e in examples] == [
        (name, kind) for name in ("set0", "set1") for kind in ("best", "median", "worst")
    ]
    sql = found.windows["set0"]["sql"]["student"]
    assert [e["sql"]["student"] for e in examples[:3]] == pytest.approx([sql.min(), np.sort(sql)[2], sql.max()])
    for example in examples:
        assert set(example["forecasts"]) == {"teacher", "student", "control"}
        assert len(example["truth"]) == 6
        assert all(len(row) == 6 for rows in example["forecasts"].values() for row in rows)
        low, middle, high = (np.array(row) for row in example["forecasts"]["student"])
        assert (low < middle).all()
        assert (middle < high).all()
    json.dumps(found.examples, allow_nan=False)
    write_json(tmp_path / "metrics.json", found.to_dict())
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["models"]["student"]["set0"]["sql"] == pytest.approx(found.metrics["student"]["set0"]["sql"])


def test_a_slow_baseline_is_compared_on_its_own_windows(store, monkeypatch):
    monkeypatch.setattr("potstill.evaluation.baselines.AutoTheta.max_windows", 3)
    found = evaluate(store, {"teacher": Last()}, ["auto_theta"], stride=1)
    sql = found.windows["set0"]["sql"]
    rows = np.isfinite(sql["auto_theta"])
    assert rows.sum() == 3
    assert found.account["datasets"]["set0"]["baselines"]["auto_theta"]["windows"] == 3
    relative = sql["auto_theta"][rows].mean() / sql["seasonal_naive"][rows].mean()
    assert found.metrics["auto_theta"]["set0"]["sql_rel_naive"] == pytest.approx(relative)
    kept = sql["teacher"][rows].mean() / sql["auto_theta"][rows].mean()
    assert found.retention_by_model["auto_theta"]["set0"]["sql"] == pytest.approx(kept)


def test_a_baseline_that_cannot_be_fitted_is_left_out_with_the_reason():
    found = evaluate(FakeStore([wave(0, 60)], SEASON), {"student": Last()}, ["ridge"], stride=1)
    assert "ridge" not in found.metrics
    assert "fewer than 20" in found.account["datasets"]["set0"]["baselines"]["ridge"]["left_out"]
    assert found.retention == {}


def test_a_forecast_that_is_not_finite_names_model_and_window(store):
    with usage_error("model.forecast_not_finite", "student", "set0/s0", "step"):
        evaluate(store, {"teacher": Last(), "student": Broken()})


def test_no_window_to_score_is_a_usage_error():
    with usage_error("evaluation.no_usable_window", "test", "constant"):
        evaluate(FakeStore([np.ones(100)]), {"student": Last()})
    with usage_error("evaluation.no_window", "test", "6 steps"):
        evaluate(FakeStore([np.ones(20)]), {"student": Last()})


def test_a_data_set_without_windows_is_named():
    found = evaluate(FakeStore([wave(0), wave(1, 20)], SEASON, dataset_of=[0, 1]), {"student": Last()})
    assert found.account["without_windows"] == ["set1"]
    assert set(found.account["datasets"]) == {"set0"}


def test_published_metrics_of_etth1(shared_data, tmp_path):
    # published protocol, horizon 96: seasonal naive 0.512, ridge on 512 steps 0.364
    data = SeriesData(
        paths=[str(shared_data / "suite" / "ETTh1.csv")], split="ett", context_length=512, prediction_length=96
    )
    store = open_store(data, tmp_path)
    test, train = (SeriesWindows(store, data, part, stride=1) for part in ("test", "train"))
    found = evaluate_models({}, test, train, ["ridge"], ForecastEvaluation())
    assert found.account["datasets"]["ETTh1"]["available"] == 7 * (2880 - 95)
    assert found.account["datasets"]["ETTh1"]["stride"] == 11
    assert found.metrics["seasonal_naive"]["ETTh1"]["mse"] == pytest.approx(0.512, abs=0.01)
    assert found.metrics["ridge"]["ETTh1"]["mse"] == pytest.approx(0.364, abs=0.02)
    assert found.metrics["ridge"]["ETTh1"]["coverage_80"] == pytest.approx(0.8, abs=0.1)


def test_a_model_named_like_a_baseline_is_refused(store):
    with usage_error("evaluation.reserved_model_name", "ridge"):
        evaluate(store, {"ridge": Last()}, ["ridge"])
    with usage_error("names.unknown_baseline", "rigde", "ridge"):
        evaluate(store, {"student": Last()}, ["rigde"])


def test_progress_ends_at_the_total(store):
    seen = []
    evaluate(store, {"student": Last()}, progress=lambda *step: seen.append(step))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_without_models_only_the_baselines_are_evaluated(store):
    found = evaluate(store, {}, ["ridge"])
    assert set(found.metrics) == {"seasonal_naive", "ridge"}
    assert set(found.examples["examples"][0]["forecasts"]) == {"seasonal_naive"}


def test_two_evaluations_have_equal_results(store):
    first, second = (evaluate(store, {"teacher": Last(), "student": Last(shift=0.1)}, ["ridge"]) for _ in range(2))
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())


def test_models_receive_windows_with_groups_and_covariates():
    class Grouped(FakeWindows):
        def batch(self, ids):
            windows = super().batch(ids)
            windows.group = windows.origin
            windows.past_covariates = windows.context[:, None] + 1
            return windows

    class Recorder(Last):
        def predict(self, windows, prediction_length):
            assert torch.equal(windows.group, windows.origin)
            assert torch.equal(windows.past_covariates[:, 0], windows.context + 1)
            return super().predict(windows, prediction_length)

    store = FakeStore([np.random.default_rng(i).normal(size=60).cumsum() for i in range(2)])
    model = Recorder()
    train = FakeWindows(store, 16, 4, "train")
    evaluate_models({"student": model}, Grouped(store, 16, 4), train, ["auto_theta"], ForecastEvaluation(stride=1))
    assert model.calls > 0
