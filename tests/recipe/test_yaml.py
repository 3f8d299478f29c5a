"""YAML: scalars mean what they look like, what is written reads back equal, hostile text is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_errors import usage_error

from potstill.recipe import Recipe
from potstill.recipe.yaml import YamlProblem, parse_yaml, to_yaml

MARKS = st.text("<=~!&*-?:,[]{}#|>@`%'\"\\ \n\t\x85\u2028012eE.+nyTFox_", max_size=10)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | MARKS
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MARKS, inner, max_size=3), max_leaves=10
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8:1:1", "8:1:1"),
        ("2020-01-31", "2020-01-31"),
        ("2020-01-31T00:00:00", "2020-01-31T00:00:00"),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("5", 5),
        ("-2.5", -2.5),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("true", True),
        ("yes", "yes"),
        ("'5'", "5"),
        ("~", None),
        ("", None),
        ("[1, a]", [1, "a"]),
        ("%YAML 1.1\n--- 010", "010"),
        ("<<: 1", {"<<": 1}),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object):
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


@given(st.dictionaries(MARKS | st.text(max_size=5), TREES, max_size=4))
def test_what_is_written_reads_back_equal(tree: dict):
    back = parse_yaml(to_yaml(tree))
    assert back == tree
    assert repr(back) == repr(tree)  # 1, 1.0 and True are equal


def test_keys_stay_in_order_and_a_value_may_stand_twice():
    same = ["a"]
    assert to_yaml({"b": same, "a": same}) == "b:\n- a\na:\n- a\n"


@given(st.text("ab:-[]{},&*!<\n '\"%1.|>?#", max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str):
    said = ""
    try:
        parse_yaml(text)
    except YamlProblem as problem:
        said = str(problem)
    assert "\n" not in said


BOMB = "a: &a {k: v}\n" + "".join(
    f"b{i}: &b{i} {{<<: [{', '.join([f'*{name}'] * 10)}]}}\n"
    for i, name in enumerate(["a", *(f"b{i}" for i in range(8))])
)
HOSTILE = {
    "deep brackets": ("data: " + "[" * 20_000, "32 levels"),
    "deep braces": ("{a: " * 20_000, "32 levels"),
    "deep lists": ("- " * 20_000, "32 levels"),
    "a merge bomb": (BOMB, "(&, *)"),
    "an alias of itself": ("a: &a [*a]", "(&, *)"),
    "a tag": ("training: {seed: !!int abc}", "!!int"),
    "a Python object": ("!!python/object/apply:os.system ['true']", "!!python/object/apply:os.system"),
    "a tag of one's own": ("a: !mine 5", "!mine"),
    "a key twice": ("seed: 1\nseed: 2", '"seed"'),
    "a mapping as a key": ("? {a: 1}\n: 2", ""),
    "a list as a key": ("? [a, {b: 1}]\n: 2", ""),
    "an open bracket": ("a: [1", "line 1"),
    "two documents": ("a: 1\n---\nb: 2", "line 2"),
    "a control character": ("a: \x01", ""),
    "a number of too many digits": ("a: " + "9" * 5000, "4300"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_one_sentence(name: str, tmp_path: Path):
    text, fact = HOSTILE[name]
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with usage_error("recipe.not_yaml", fact) as caught:
        Recipe.read(path)
    said = str(caught.value)
    assert said.startswith(f"{path}")
    assert len(said) < len(str(path)) + 300
