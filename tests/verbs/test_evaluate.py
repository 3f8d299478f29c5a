"""``evaluate`` and ``inspect``: models measured beside one another, and what a model is."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest
from usage_errors import usage_error

import potstill
from potstill.errors import UserError
from potstill.recipe import Recipe, SeriesData


@pytest.fixture
def data(small_csv):
    return SeriesData(paths=[str(small_csv)])


@pytest.fixture(scope="module")
def figures(distilled, tiny_teacher, small_csv, tmp_path_factory):
    models = [str(tiny_teacher), f"student={distilled}"]
    data, out = SeriesData(paths=[str(small_csv)]), tmp_path_factory.mktemp("evaluation") / "evaluation"
    folder = potstill.evaluate(models, data, out, stride=7, baselines=["seasonal_naive"])
    return folder, json.loads((folder / "metrics.json").read_text())


def test_models_are_judged_as_in_their_run(distilled, figures):
    folder, metrics = figures
    assert set(metrics["models"]) == {"tiny", "student", "student+calibrated", "seasonal_naive"}
    assert (folder / "report.html").exists()
    assert metrics["retention"]["overall"]["sql"] == pytest.approx(
        metrics["models"]["tiny"]["small"]["sql"] / metrics["models"]["student"]["small"]["sql"]
    )
    assert set(metrics["cost"]) == {"tiny", "student", "seasonal_naive"}
    assert set(metrics["provenance"]["models"]) == {"tiny", "student"}
    run = json.loads((distilled / "metrics.json").read_text())["models"]
    # other windows (stride 7) of the same part
    assert run["student"]["small"]["sql"] == pytest.approx(metrics["models"]["student"]["small"]["sql"], rel=0.2)


def test_loaded_models_are_judged_like_their_folders(figures, distilled, tiny_teacher, data, tmp_path):
    _, metrics = figures
    models = [potstill.load(tiny_teacher), f"student={distilled}"]
    folder = potstill.evaluate(models, data, tmp_path / "out", stride=7, baselines=[], reference=models[0])
    found = json.loads((folder / "metrics.json").read_text())["models"]
    expected = metrics["models"]["tiny"]["small"]["sql"]
    assert found["tiny"]["small"]["sql"] == pytest.approx(expected, rel=1e-6)  # sums depend on where tensors lie


def test_lengths_follow_the_models_and_stand_in_the_recipe(figures):
    folder, _ = figures
    recipe = Recipe.read(folder / "recipe.yaml")
    # the models read 64 steps and forecast 32; the default horizon leaves 20 windows of the test part
    assert (recipe.data.context_length, recipe.data.prediction_length) == (64, 31)
    assert recipe.evaluation.stride == 7
    assert recipe.evaluation.split == "test"


@pytest.mark.parametrize(
    ("options", "key", "facts"),
    [
        ({"baselines": ["ridges"]}, "names.unknown_baseline", ["'ridges'", "'ridge'"]),
        ({"split": "train"}, "split.unreadable", ["data.split", "'train'"]),
        ({"stride": 0}, "recipe.invalid_value", ["evaluation.stride"]),
        ({"reference": "./absent"}, "model.no_such_folder", ["./absent: "]),
    ],
)
def test_options_that_do_not_fit_leave_no_folder(tiny_teacher, data, tmp_path, options, key, facts):
    with usage_error(key, *facts):
        potstill.evaluate([str(tiny_teacher)], data, tmp_path / "evaluation", **options)
    assert not (tmp_path / "evaluation").exists()


def test_models_need_names_of_their_own(tiny_teacher, data, tmp_path):
    with usage_error("models.same_name", "'tiny'"):
        potstill.evaluate([str(tiny_teacher)] * 2, data, tmp_path / "evaluation")
    with usage_error("models.none"):
        potstill.evaluate([], data, tmp_path / "evaluation")
    with usage_error("data.no_paths", "--data"):
        potstill.evaluate([str(tiny_teacher)], SeriesData(), tmp_path / "evaluation")


def test_a_length_beyond_the_model_is_refused_when_it_was_asked_for(tiny_teacher, data, tmp_path):
    data.prediction_length = 40
    with usage_error("data.too_long_for_model", "--prediction-length 40", "tiny", "32"):
        potstill.evaluate([str(tiny_teacher)], data, tmp_path / "evaluation")


def test_inspect_tells_what_a_model_is(distilled, tiny_teacher):
    found = potstill.inspect(str(distilled))
    student = potstill.load(distilled)
    assert found["family"] == "chronos2"
    assert found["parameters"] == student.parameters == sum(found["parts"].values())
    assert found["bytes"] == 4 * found["parameters"]
    assert found["fingerprint"] == student.fingerprint
    assert (found["context_length"], found["prediction_length"], found["patch"]) == (64, 32, 16)
    assert found["levels"][0] == 0.01
    assert len(found["levels"]) == 13
    assert potstill.inspect(str(tiny_teacher))["parameters"] > found["parameters"]


@pytest.fixture
def cut(monkeypatch):
    """How the windows that an evaluation looks at were cut; it ends there."""
    seen = []

    def look(windows):
        seen.append((windows.split, windows.part))
        raise UserError("seen")

    verb = importlib.import_module("potstill.verbs.evaluate")  # the package's attribute is the function
    monkeypatch.setattr(verb, "require_windows", look)
    return seen


@pytest.fixture
def run(distilled, tmp_path):
    """Makes copies of the run as if it had been cut in some way."""

    def make(name, split):
        folder = shutil.copytree(distilled, tmp_path / name)
        recipe = Recipe.read(folder / "recipe.yaml", {"data.split": split})
        recipe.write(folder / "recipe.yaml")
        return folder

    return make


def test_a_runs_own_split_cuts_the_data_unless_another_is_given(run, tiny_teacher, data, tmp_path, cut):
    model = run("model", "6:2:2")
    asked = [
        ([str(model)], data, {}),
        ([f"mine={model}/student", str(tiny_teacher)], data, {"split": "validation"}),
        ([str(tiny_teacher)], data, {"reference": f"{model}/control"}),
        ([str(model)], data, {"split": "7:1:2"}),
        ([str(model)], data.model_copy(update={"split": "8:1:1"}), {}),
        ([str(tiny_teacher)], data, {}),
    ]
    for models, given, options in asked:
        with pytest.raises(UserError, match="seen"):
            potstill.evaluate(models, given, tmp_path / "evaluation", **options)
    assert cut == [
        ("6:2:2", "test"),
        ("6:2:2", "validation"),
        ("6:2:2", "test"),
        ("7:1:2", "test"),
        ("8:1:1", "test"),
        ("8:1:1", "test"),
    ]


def test_runs_that_were_cut_differently_need_a_word(run, data, tmp_path, cut):
    models = [str(run("one", "6:2:2")), str(run("two", "7:1:2"))]
    with usage_error("models.different_splits", "'6:2:2'", "'7:1:2'", "--split 6:2:2"):
        potstill.evaluate(models, data, tmp_path / "evaluation")
    with pytest.raises(UserError, match="seen"):
        potstill.evaluate(models, data, tmp_path / "evaluation", split="6:2:2")
    assert cut == [("6:2:2", "test")]


def test_a_run_killed_between_two_renames_is_read_all_the_same(distilled, run, data, tmp_path, cut):
    killed = run("killed", "6:2:2")
    (killed / "student").rename(killed / ".student.old")
    for model in (killed, killed / "student"):
        assert potstill.load(model).fingerprint == potstill.load(distilled).fingerprint
        with pytest.raises(UserError, match="seen"):
            potstill.evaluate([str(model)], data, tmp_path / "evaluation")
    assert cut == [("6:2:2", "test")] * 2
    assert potstill.report(killed).exists()
    assert not (killed / "student").exists()
