"""Values as they are written in short: teachers, students, models with settings."""

import pytest
from usage_errors import usage_error

from potstill.recipe.notation import parse_source, parse_student, parse_teachers


@pytest.mark.parametrize(
    ("text", "name", "source", "weight"),
    [
        ("embedded", None, "embedded", None),
        ("big=amazon/chronos-2", "big", "amazon/chronos-2", None),
        ("big=amazon/chronos-2:0.5", "big", "amazon/chronos-2", 0.5),
        ("folder/a=b", None, "folder/a=b", None),
        ("folder/with:colon", None, "folder/with:colon", None),
        ("folder:patch_size=64", None, "folder:patch_size=64", None),
        ("big=hub/moirai:patch_size=64:0.5", "big", "hub/moirai:patch_size=64", 0.5),
    ],
)
def test_teachers_in_short(text: str, name: str | None, source: str, weight: float | None):
    (teacher,) = parse_teachers(text)
    assert (teacher.get("name"), teacher["source"], teacher.get("weight")) == (name, source, weight)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("num_layers=3,d_model=384", {"overrides": {"num_layers": 3, "d_model": 384}}),
        ("mixer", {"overrides": {}, "family": "mixer"}),
        ("chronos2:d_ff=64,start=teacher", {"overrides": {"d_ff": 64}, "start": "teacher", "family": "chronos2"}),
        (
            "linear:levels=[0.1,0.5,0.9],rank=8",
            {"overrides": {"levels": [0.1, 0.5, 0.9], "rank": 8}, "family": "linear"},
        ),
        ("chronos2:preset=3x384", {"overrides": {}, "preset": "3x384", "family": "chronos2"}),
        ("mixer:preset=3", {"overrides": {}, "preset": "3", "family": "mixer"}),
    ],
)
def test_students_in_short(text: str, parsed: dict):
    assert parse_student(text) == parsed


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("embedded", ("embedded", {})),
        ("C:/models/moirai", ("C:/models/moirai", {})),
        ("a/b:patch_size=auto,context_length=1680", ("a/b", {"patch_size": "auto", "context_length": 1680})),
        ("folder/a:b=c/d", ("folder/a:b=c/d", {})),
    ],
)
def test_a_model_with_settings(text: str, parsed: tuple):
    assert parse_source(text) == parsed


@pytest.mark.parametrize("text", ["linear:rank={a", "mixer:d_model=[64"])
def test_a_student_with_open_brackets_gets_one_sentence(text: str):
    with usage_error("option.not_yaml", "brackets"):
        parse_student(text)
