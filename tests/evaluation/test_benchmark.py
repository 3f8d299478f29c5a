import json

import numpy as np
import pytest
import torch
from eval_fakes import Broken, FakeStore, FakeWindows, Last
from usage_errors import usage_error

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.calibrated import calibrated_rows
from potstill.evaluation.metrics import ERRORS, METRICS
from potstill.recipe import ForecastEvaluation, SeriesData
from potstill.runs import write_json

SEASON = 12


def wave(seed, length=500, level=10.0):
    rng = np.random.default_rng(seed)
    return level + np.sin(2 * np.pi * np.arange(length) / SEASON) + rng.normal(0, 0.3, length)


@pytest.fixture(scope="module")
def store():
    return FakeStore([wave(0), 50 * wave(1), wave(2), wave(3, 300)], SEASON, dataset_of=[0, 0, 1, 1])


def evaluate(store, models, baselines=("seasonal_naive",), reference="teacher", progress=None, variants=None, **config):
    test, train = FakeWindows(store, 36, 6), FakeWindows(store, 36, 6, "train")
    chosen = ForecastEvaluation(**config)
    return evaluate_models(models, test, train, list(baselines), chosen, reference, progress, variants)


@pytest.fixture(scope="module")
def found(store):
    models = {"teacher": Last(width=1.0), "student": Last(width=1.5), "control": Last(shift=1.0)}
    return evaluate(store, models, ["seasonal_naive", "ridge", "auto_theta"], max_windows=30)


def test_every_model_has_every_metric_on_every_data_set(found):
    assert set(found.metrics) == {"teacher", "student", "control", "seasonal_naive", "ridge", "auto_theta"}
    for sets in found.metrics.values():
        assert set(sets) == {"set0", "set1"}
        for values in sets.values():
            relative = {m + suffix for m in ERRORS for suffix in ("_rel_naive", "_rel_teacher")}
            assert set(values) == {*METRICS, *relative}
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
        assert 20 <= len(table["series"]) == len(table["origin"]) <= 30
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


def test_data_sets_with_few_windows_add_up(store):
    """12 and 10 windows: no interval for a data set, but one for both together."""
    pair = evaluate(store, {"teacher": Last(), "student": Last(shift=1.0)}, max_windows=12).intervals["student/teacher"]
    assert [pair["sql"]["datasets"][name]["windows"] for name in ("set0", "set1")] == [12, 10]
    assert np.isnan([pair["sql"]["datasets"][name]["high"] for name in ("set0", "set1")]).all()
    assert pair["sql"]["low"] <= pair["sql"]["value"] <= pair["sql"]["high"]


@pytest.mark.parametrize(("rows", "interval"), [(24, False), (25, True), (40, True)])
def test_an_interval_needs_twenty_windows(rows, interval):
    """The test part is the last ``rows`` of 5 · rows; with a horizon of 6 it has rows − 5 windows."""
    found = evaluate(FakeStore([wave(0, 5 * rows)], SEASON), {"teacher": Last(), "student": Last(shift=0.1)})
    pair = found.intervals["student/teacher"]["sql"]
    assert pair["windows"] == rows - 5
    assert np.isfinite([pair["low"], pair["high"]]).all() == interval
    assert np.isfinite(pair["datasets"]["set0"]["low"]) == interval


def test_windows_that_all_overlap_give_no_interval():
    """25 windows of 30 steps start within 25 steps: they share most of their true values."""
    store = FakeStore([wave(0, 54 * 5)], SEASON)
    test, train = FakeWindows(store, 36, 30), FakeWindows(store, 36, 30, "train")
    models = {"teacher": Last(), "student": Last(shift=0.1)}
    found = evaluate_models(models, test, train, [], ForecastEvaluation())
    pair = found.intervals["student/teacher"]["sql"]
    assert pair["windows"] == 25
    assert found.account["datasets"]["set0"]["without_overlap"] <= 2
    assert np.isnan(pair["low"])


def test_errors_are_means_over_columns():
    """Two columns of different units and lengths: each counts half."""
    small, large = wave(0), 1000 * wave(1, 300)
    both = FakeStore([small, large], SEASON)
    both.keys.columns[1] = "z"
    together = evaluate(both, {"teacher": Last(), "student": Last(shift=1.0)}, stride=1)
    alone = [evaluate(FakeStore([x], SEASON), {"student": Last(shift=1.0)}, stride=1) for x in (small, large)]
    for name in ("mae_raw", "rmse_raw", "mse_raw", "wql", "wape", "sql", "mase", "rmsse", "bias", "smape", "mape"):
        parts = [one.metrics["student"]["set0"][name] for one in alone]
        assert together.metrics["student"]["set0"][name] == pytest.approx(np.mean(parts)), name
    interval = together.intervals["student/teacher"]["sql"]
    table = together.metrics
    assert interval["value"] == pytest.approx(table["student"]["set0"]["sql"] / table["teacher"]["set0"]["sql"])


def test_errors_by_step_and_calibration_agree_with_the_metrics(found):
    for model, sets in found.details["by_step"].items():
        for name, steps in sets.items():
            assert len(steps["sql"]) == 6
            for metric, values in steps.items():
                assert np.mean(values) == pytest.approx(found.metrics[model][name][metric])
    below = found.details["calibration"]["models"]["student"]["set0"]
    assert found.details["calibration"]["levels"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert sorted(below) == below
    assert below[-1] - below[0] == pytest.approx(found.metrics["student"]["set0"]["coverage_80"], abs=1e-9)


def test_the_worst_series_come_first():
    """Series i is a wave with i times the noise of others, except one that the shift does not fit."""
    store = FakeStore([wave(i, 150) + (np.arange(150) * 0.1 * (i == 17)) for i in range(30)], SEASON)
    found = evaluate(store, {"teacher": Last(), "student": Last(shift=1.0)}, stride=1)
    worst = found.details["worst_series"]
    assert len(worst) == 20
    series = found.windows["set0"]["series"]
    sql = found.windows["set0"]["sql"]
    means = {f"set0/s{i}": sql["student"][series == i].mean() for i in range(30)}
    assert [row["series"] for row in worst] == sorted(means, key=lambda name: -means[name])[:20]
    number = int(worst[0]["series"].split("/s")[1])
    assert worst[0]["sql"] == pytest.approx({model: values[series == number].mean() for model, values in sql.items()})
    assert worst[0]["windows"] == (series == number).sum()


def test_examples_have_dates(found):
    example = found.examples["examples"][0]
    times = np.array(example["times"], "M8[D]")
    assert len(times) == len(example["context"]) + len(example["truth"])
    first_of_future = times[len(example["context"])]
    assert first_of_future == np.datetime64("1970-01-01") + example["origin"]
    assert (np.diff(times) == np.timedelta64(1, "D")).all()


def test_the_account_describes_the_series(found):
    assert found.account["series"]["set0"] == {
        "series": 2, "rows": 1000, "missing": 0, "steps": {"D": 1.0}, "season": 12,
        "first": "1970-01-01", "last": "1971-05-15",
    }  # fmt: skip


def test_baselines_have_costs(found):
    costs = found.baseline_costs
    assert set(costs) == {"seasonal_naive", "ridge", "auto_theta"}
    assert (costs["seasonal_naive"]["parameters"], costs["auto_theta"]["parameters"]) == (0, 0)
    assert costs["ridge"]["parameters"] == 36 * 6 + 6 + 9 * 6
    assert costs["ridge"]["bytes"] == 4 * costs["ridge"]["parameters"]
    for cost in costs.values():
        low, high = cost["latency_ms_b1_range"]
        assert 0 < low <= cost["latency_ms_b1"] <= high
        assert cost["series_per_second_b32"] > 0
    assert costs["ridge"]["series_per_second_b256"] > costs["auto_theta"]["series_per_second_b256"]


def test_examples_are_ranked_by_the_student_and_json_compatible(found, tmp_path):
    examples = found.examples["examples"]
    assert [(e["dataset"], e["kind"]) for e in examples] == [
        (name, kind) for name in ("set0", "set1") for kind in ("best", "median", "worst")
    ]
    sql = found.windows["set0"]["sql"]["student"]
    assert [e["sql"]["student"] for e in examples[:3]] == pytest.approx(
        [sql.min(), np.sort(sql)[(len(sql) - 1) // 2], sql.max()]
    )
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


def test_models_with_fitted_intervals_are_further_rows(store):
    store.completed = lambda windows: windows
    models = {"teacher": Last(width=0.2), "student": Last(width=0.2)}
    found = evaluate(store, models, variants=calibrated_rows(models, store, 4))
    fitted, plain = (found.metrics[name]["set0"] for name in ("student+calibrated", "student"))
    assert abs(fitted["coverage_80"] - 0.8) < abs(plain["coverage_80"] - 0.8)
    assert fitted["mae"] == plain["mae"]
    assert found.subject == "student"
    assert set(found.metrics) == {"teacher", "student", "teacher+calibrated", "student+calibrated", "seasonal_naive"}
    assert found.to_dict()["calibrated_rows"] == {"teacher": 4, "student": 4}
    assert found.to_dict()["calibrate_horizons"] == {}
    named = {"teacher": Last(), "teacher+calibrated": Last()}
    with usage_error("evaluation.reserved_model_name", "teacher+calibrated"):
        evaluate(store, named, variants=calibrated_rows({"teacher": Last()}, store, 4))


def test_intervals_are_fitted_of_the_models_that_ask_for_it(store):
    models = {"teacher": Last(), "student": Last()}
    models["student"].calibrate_horizons = 3
    horizons = {
        given: {n: one.horizons for n, one in calibrated_rows(models, store, given).items()} for given in (None, 0, 2)
    }
    assert horizons == {None: {"student+calibrated": 3}, 0: {}, 2: {"teacher+calibrated": 2, "student+calibrated": 2}}
