"""The recipe: YAML in, YAML out, and errors that name the key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_errors import usage_error

from potstill.recipe import Recipe

NAMES = st.text("abcXYZ019 _-é中:#'\"", min_size=1, max_size=12)


@given(
    sources=st.lists(NAMES, max_size=3),
    paths=st.lists(NAMES, max_size=3),
    split=st.sampled_from(["8:1:1", "ett", "suite", "by-file", "2020-01-01,2021-01-01"]) | NAMES,
    rate=st.floats(1e-12, 1e3),
    alpha=st.floats(0, 1),
    overrides=st.dictionaries(NAMES, st.integers() | st.booleans() | NAMES, max_size=3),
)
def test_yaml_out_and_in_gives_an_equal_recipe(tmp_path_factory, sources, paths, split, rate, alpha, overrides):
    recipe = Recipe.model_validate(
        {
            "teacher": [{"source": source} for source in sources],
            "student": {"overrides": overrides},
            "data": {"paths": paths, "split": split},
            "objective": {"alpha": alpha},
            "training": {"learning_rate": rate},
        }
    )
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe.write(path)
    assert Recipe.read(path) == recipe


def test_overrides_win_and_make_missing_branches(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_text("data: {stride: 3}\nstudent: num_layers=2\n")
    recipe = Recipe.read(path, {"data.stride": 5, "training.seed": 9, "student.start": "teacher"})
    assert (recipe.data.stride, recipe.training.seed) == (5, 9)
    assert (recipe.student.start, recipe.student.overrides) == ("teacher", {"num_layers": 2})


@pytest.mark.parametrize(
    ("file", "given", "steps", "epochs"),
    [("max_steps: 7", "training.epochs", None, 2), ("epochs: 3", "training.max_steps", 2, None)],
)
def test_a_length_that_is_given_replaces_the_files_other_one(tmp_path: Path, file, given, steps, epochs):
    path = tmp_path / "r.yaml"
    path.write_text(f"training: {{{file}}}\n")
    training = Recipe.read(path, {given: 2}).training
    assert (training.max_steps, training.epochs) == (steps, epochs)
    with usage_error("training.steps_and_epochs", "max_steps", "epochs"):
        Recipe.read(path, {"training.max_steps": 2, "training.epochs": 3})


def test_absolute_paths_mean_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here" / "teacher").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    tree = {
        "teacher": ["teacher", "org/model", "embedded"],
        "data": {"paths": ["../a.csv", "embedded", str(tmp_path / "b.csv")]},
        "imports": ["mine.py"],
        "labels": "labels",
    }
    recipe = Recipe.model_validate(tree)
    whole = recipe.absolute()
    here = tmp_path / "here"
    assert [t.source for t in whole.teacher] == [str(here / "teacher"), "org/model", "embedded"]
    assert whole.data.paths == [f"{here}/../a.csv", "embedded", str(tmp_path / "b.csv")]
    assert (whole.imports, whole.labels) == ([str(here / "mine.py")], str(here / "labels"))
    monkeypatch.chdir(tmp_path)
    assert whole.absolute() == whole
    assert recipe.labels == "labels"
    assert Recipe.model_validate({"labels": "auto"}).absolute().labels == "auto"


@pytest.mark.parametrize(
    ("text", "key", "fact"),
    [
        ("trainig: {}", "recipe.unknown_key", ": trainig: "),
        ("training: {lr: 1}", "recipe.unknown_key", "training.lr"),
        ("objective: {alpha: 1.5}", "recipe.invalid_value", "objective.alpha"),
        ("data: {stride: 0}", "recipe.invalid_value", "data.stride"),
        ("data: {context_length: many}", "recipe.invalid_value", "data.context_length"),
        ("teacher: [{sorce: x}]", "recipe.invalid_value", "teacher.0"),
        ("data: {synthetic: 0.7, augmented: 0.7}", "data.shares_above_one", "synthetic + augmented"),
        ("training: {max_steps: 7, epochs: 2}", "training.steps_and_epochs", "max_steps"),
        ("- a\n- b", "recipe.not_a_mapping", "list"),
        ("data: {a: [1", "recipe.not_yaml", "line 1"),
    ],
)
def test_an_error_is_one_sentence_with_file_and_key(tmp_path: Path, text: str, key: str, fact: str):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with usage_error(key, str(path), fact):
        Recipe.read(path)


def test_a_recipe_that_is_no_text_or_absent(tmp_path: Path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00\x80")
    faults = {"r.yaml": "not_text", "absent.yaml": "no_such_file", "": "not_text"}
    for path, fault in ((tmp_path / name, fault) for name, fault in faults.items()):
        with usage_error(f"recipe.{fault}", str(path)):
            Recipe.read(path)


def device_recipe(**device) -> dict:
    return {"data": {"context_length": 64, "prediction_length": 16, "device": device}}


def test_windows_on_the_device_are_read_and_written(tmp_path: Path):
    recipe = Recipe.model_validate(
        device_recipe(contexts={32: 0.5, 64: 1}, groups={"share": 0.2, "kinds": {"driven": 1}})
    )
    path = tmp_path / "recipe.yaml"
    recipe.write(path)
    assert Recipe.read(path) == recipe
    assert Recipe.read(path).data.device.contexts == {32: 0.5, 64: 1.0}
    assert Recipe.read(None, {"data.device.pool": 7}).data.device.pool == 7


@pytest.mark.parametrize(
    ("tree", "key", "facts"),
    [
        (device_recipe(workers=0), "data.nobody_refreshes", ["refresh: false"]),
        (device_recipe(contexts={65: 1}), "data.device_too_long", ["contexts", "65", "context_length"]),
        (device_recipe(horizons={17: 1}), "data.device_too_long", ["horizons", "17", "prediction_length"]),
        (device_recipe(contexts={0: 1}), "recipe.invalid_value", ["contexts"]),
        (device_recipe(horizons={8: 0}), "recipe.invalid_value", ["horizons"]),
        (device_recipe(groups={"sizes": [1]}), "recipe.invalid_value", ["sizes"]),
        (device_recipe(groups={"kinds": {"other": 1}}), "recipe.invalid_value", ["kinds"]),
        ({"data": {"device": {}, "stride": 2}}, "data.not_on_device", ["stride"]),
        ({"data": {"device": {}, "missing": "drop"}}, "data.not_on_device", ["missing"]),
        ({"data": {"device": {}, "distinct_windows": 64}}, "data.not_on_device", ["distinct_windows"]),
        ({"data": {"paths": ["a"], "train_only": ["b"]}}, "data.train_only_not_in_paths", ["'b'", "paths"]),
    ],
)
def test_settings_of_the_device_that_do_not_fit(tree, key, facts):
    with usage_error(key, *facts):
        Recipe.lay_over(tree, {})


def test_paths_that_are_only_trained_on_become_absolute_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.model_validate({"data": {"paths": ["a", "embedded"], "train_only": ["a"]}}).absolute()
    assert recipe.data.paths == [str(tmp_path / "a"), "embedded"]
    assert recipe.data.train_only == [str(tmp_path / "a")]
