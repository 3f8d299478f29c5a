"""fev scores the model on local data: the values are those of chronos-forecasting's own fev interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import potstill
from potstill.cli import main
from potstill.errors import UserError

pytest.importorskip("fev", reason="fev is in the extra adapters")

import fev

from potstill.adapters.fev import PotstillModel
from potstill.adapters.fev_tasks import read_tasks

LEVELS = [0.1, 0.5, 0.9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``long.parquet``: two items of daily rows with two targets, a number and a text known ahead, a past covariate."""
    rng = np.random.default_rng(0)
    frames = []
    for place, name in enumerate(("a", "b")):
        days = pd.date_range("2024-01-01", periods=120 + 20 * place, freq="D")
        values = rng.normal(size=(4, len(days))).cumsum(axis=1) + 50
        columns = dict(zip(("target", "other", "price", "seen"), values, strict=True))
        frames.append(pd.DataFrame({"id": name, "timestamp": days, **columns, "day": days.day_name()}))
    folder = tmp_path_factory.mktemp("fev")
    pd.concat(frames).to_parquet(folder / "long.parquet")
    return folder


def task(folder: Path, **fields) -> fev.Task:
    given = {"horizon": 7, "num_windows": 2, "seasonality": 7, "eval_metric": "SQL", "quantile_levels": LEVELS}
    return fev.Task(dataset_path=str(folder / "long.parquet"), **{**given, **fields})


CASES = {
    "plain": {},
    "known": {"known_dynamic_columns": ["price"]},
    "past": {"past_dynamic_columns": ["seen"]},
    "text": {"known_dynamic_columns": ["day", "price"], "past_dynamic_columns": ["seen"]},
    "two targets": {"target": ["target", "other"], "known_dynamic_columns": ["price"]},
}


@pytest.mark.parametrize("name", CASES)
def test_forecasts_are_those_of_the_upstream_pipeline(folder, tiny_teacher, name):
    from chronos import Chronos2Pipeline

    levels = [round(level, 6) for level in potstill.load(tiny_teacher).levels.tolist()]
    given = task(folder, quantile_levels=levels, **CASES[name])
    ours = PotstillModel(str(tiny_teacher)).fit_predict(given)
    theirs, _ = Chronos2Pipeline.from_pretrained(str(tiny_teacher)).predict_fev(given)
    for one, other in zip(ours, theirs, strict=True):
        for target in given.target_columns:
            found, expected = (
                np.stack([np.stack(list(data[target][str(level)])) for level in levels]) for data in (one, other)
            )
            # upstream does not sort its quantiles, and those of an untrained model cross
            np.testing.assert_allclose(found, np.sort(expected, axis=0), rtol=1e-4)
            np.testing.assert_array_equal(one[target]["predictions"], one[target]["0.5"])
    summary = given.evaluation_summary(ours, model_name="potstill")
    assert summary["num_forecasts"] == 4 * len(given.target_columns)
    assert summary["test_error"] > 0


def test_covariates_change_the_forecast_and_are_said_where_they_cannot(folder, tiny_teacher, tiny_bolt):
    plain, covered = task(folder), task(folder, **CASES["text"])
    model = PotstillModel(potstill.load(tiny_teacher), name="mine")
    assert model.model_name == "mine"
    one, two = (np.stack(list(model.fit_predict(t)[0]["target"]["0.5"])) for t in (plain, covered))
    assert not np.allclose(one, two, rtol=1e-4)
    bolt = PotstillModel(str(tiny_bolt))
    with pytest.warns(UserWarning, match="cannot use covariates; ignored: day, price, seen"):
        ignored = bolt.fit_predict(covered)
    np.testing.assert_array_equal(ignored[0]["target"]["0.5"], bolt.fit_predict(plain)[0]["target"]["0.5"])


def test_the_mean_is_the_point_forecast_of_squared_errors(folder, tiny_teacher):
    model = PotstillModel(str(tiny_teacher))
    squared, absolute = (model.fit_predict(task(folder, eval_metric=m)) for m in ("RMSE", "MAE"))
    assert absolute[0]["target"]["predictions"] == absolute[0]["target"]["0.5"]
    mean = np.stack(list(squared[0]["target"]["predictions"]))
    assert not np.allclose(mean, np.stack(list(squared[0]["target"]["0.5"])))


@pytest.fixture
def tasks_file(folder, tmp_path) -> Path:
    path = tmp_path / "tasks.yaml"
    common = f"dataset_path: {folder / 'long.parquet'}\n  horizon: 7\n  num_windows: 2\n  seasonality: 7\n"
    path.write_text(
        f"tasks:\n- {common}  task_name: first\n  eval_metric: SQL\n  quantile_levels: [0.1, 0.5, 0.9]\n"
        f"- {common}  task_name: second\n  target: [target, other]\n"
    )
    return path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", *arguments])
    return int(left.value.code or 0)


def test_evaluate_writes_what_fev_reads(tasks_file, tiny_teacher, tiny_bolt, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(f"c2={tiny_teacher}", f"bolt={tiny_bolt}", "--fev", str(tasks_file), "--output", str(out)) == 0
    rows: Any = pd.read_csv(out / "fev.csv")
    assert rows[["task_name", "model_name"]].to_numpy().tolist() == [
        [t, m] for t in ("first", "second") for m in ("seasonal_naive", "c2", "bolt")
    ]
    assert not rows["trained_on_this_dataset"].any()
    assert (rows["inference_time_s"] > 0).all()
    board = fev.leaderboard(str(out / "fev.csv"))  # by model
    printed = capsys.readouterr().err
    for name in ("c2", "bolt"):
        assert f"{name}: error relative to seasonal naive {1 - board.loc[name, 'skill_score']:.3f} (2 tasks)" in printed
    ours = PotstillModel(str(tiny_teacher))
    (first,) = read_tasks(f"{tasks_file}:first")
    expected = first.evaluation_summary(ours.fit_predict(first), model_name="c2")["test_error"]
    assert rows.loc[1, "test_error"] == pytest.approx(expected)


def test_seasonal_naive_is_what_fev_expects_of_it(folder, tasks_file, tiny_teacher, tmp_path):
    """MASE by hand: the last week repeated, errors relative to those at lag 7 in the history."""
    potstill.evaluate([str(tiny_teacher)], None, tmp_path / "out", fev=f"{tasks_file}:second")
    frame = pd.read_parquet(folder / "long.parquet")
    scores = []
    for column in ("other", "target"):
        for cut in (-14, -7):
            errors = []
            for _, rows in frame.groupby("id"):
                values = rows[column].to_numpy()
                past, future = values[:cut], values[cut : cut + 7 or None]
                errors.append(np.abs(future - past[-7:]).mean() / np.abs(past[7:] - past[:-7]).mean())
            scores.append(np.mean(errors))
    assert pd.read_csv(tmp_path / "out" / "fev.csv")["test_error"][0] == pytest.approx(np.mean(scores))


def test_a_student_of_a_run_on_the_data_is_marked(folder, tasks_file, tiny_teacher, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "student").symlink_to(tiny_teacher)
    (run / "log.jsonl").write_text("")
    (run / "recipe.yaml").write_text(f"teacher: embedded\ndata:\n  paths: [{folder / 'long.parquet'}]\n")
    potstill.evaluate([f"{run}/student"], None, tmp_path / "out", fev=f"{tasks_file}:first", baselines=[])
    assert pd.read_csv(tmp_path / "out" / "fev.csv")["trained_on_this_dataset"].tolist() == [True]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (None, "fev.no_such_file", "no such file"),
        ("[1, 2", "fev.not_yaml", "cannot be read as YAML"),
        ("- 1", "fev.no_task", "holds no task"),
        ("horizon: 7", "fev.bad_task", "dataset_path"),
        ("dataset_path: x.parquet\nhorizn: 7", "fev.bad_task", "horizn"),
        ("dataset_path: x.parquet\neval_metric: SQL", "fev.bad_task", "quantile_levels"),
        ("dataset_path: no.parquet\nhorizon: 7", "fev.bad_dataset", "no.parquet"),
        ("dataset_path: LONG\nhorizon: 7\ntarget: sales", "fev.bad_dataset", "sales"),
        ("dataset_path: LONG\nhorizon: 700", "fev.bad_dataset", "too short"),
    ],
)
def test_bad_tasks_are_one_sentence(folder, tiny_teacher, tmp_path, text, key, said):
    path = tmp_path / "task.yaml"
    if text is not None:
        path.write_text(text.replace("LONG", str(folder / "long.parquet")))
    with pytest.raises(UserError, match=said) as error:
        potstill.evaluate([str(tiny_teacher)], None, tmp_path / "out", fev=path)
    assert error.value.key == key
    assert "\n" not in str(error.value)


def test_an_unknown_task_and_options_of_other_data_are_refused(tasks_file, tiny_teacher, tmp_path, capsys):
    common = (str(tiny_teacher), "--output", str(tmp_path / "out"), "--fev")
    assert run(*common, f"{tasks_file}:firstly") == 2
    assert "Did you mean 'first'?" in capsys.readouterr().err
    for option in ("--data=x.csv", "--stride=3", "--split=validation", "--reference=embedded", "--context-length=8"):
        assert run(*common, str(tasks_file), option) == 2
        assert f"{option.split('=')[0]}: the tasks of --fev define" in capsys.readouterr().err
    assert run(*common, str(tasks_file), "--baselines=ridge") == 2
    assert "Known: seasonal_naive" in capsys.readouterr().err
