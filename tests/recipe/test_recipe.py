"""The recipe: YAML in, YAML out, and errors that name the key."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.errors import UserError
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
    with pytest.raises(UserError, match="contradict each other"):
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
    ("text", "says"),
    [
        ("trainig: {}", "trainig: no such key; known: task, teacher"),
        ("training: {lr: 1}", "training.lr: no such key; known: learning_rate"),
        ("objective: {alpha: 1.5}", "objective.alpha"),
        ("data: {stride: 0}", "data.stride"),
        ("data: {context_length: many}", "data.context_length"),
        ("teacher: [{sorce: x}]", "teacher.0"),
        ("data: {synthetic: 0.7, augmented: 0.7}", "must not exceed 1"),
        ("training: {max_steps: 7, epochs: 2}", "max_steps and epochs contradict each other"),
        ("- a\n- b", "found a list"),
        ("data: {a: [1", "line 1"),
    ],
)
def test_an_error_is_one_sentence_with_file_and_key(tmp_path: Path, text: str, says: str):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        Recipe.read(path)
    assert str(path) in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recipe_that_is_no_text_or_absent(tmp_path: Path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00\x80")
    for path in (tmp_path / "r.yaml", tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            Recipe.read(path)
