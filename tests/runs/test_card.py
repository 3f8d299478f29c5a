"""The model card: front matter that hubs read, whose licence counts, no folders of the machine, no clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from potstill.runs.card import CardFacts, CardTeacher, render_card


def facts(*teachers: CardTeacher, derived: bool = True, **other) -> CardFacts:
    plain = {
        "title": "chronos2 student, 1,000 parameters",
        "library": "chronos-forecasting",
        "pipeline": "time-series-forecasting",
        "description": ("A model.",),
        "accuracy": ("| a |\n|---|\n| 1 |",),
        "paths": ["/home/me/data/sales.csv", "org/data"],
        "split": "8:1:1",
        "data_fingerprint": "0123456789abcdef0123",
        "seed": 3,
        "versions": {"potstill": "0.1.0"},
    }
    return CardFacts(**{**plain, **other}, teachers=teachers, derived=derived)


def teacher(name: str = "big", licence: str | None = "mit", location: str = "org/big") -> CardTeacher:
    return CardTeacher(name, location, licence, "f" * 64, "v1")


@pytest.mark.parametrize(
    ("given", "licence"),
    [
        (facts(derived=False), "apache-2.0"),
        (facts(), "other"),  # stored labels of a teacher that is not at hand
        (facts(teacher()), "mit"),
        (facts(teacher(), teacher("two")), "mit"),
        (facts(teacher(), teacher("two", "cc-by-nc-4.0")), "other"),
        (facts(teacher(licence=None)), "other"),
        (facts(teacher(), teacher("two", None)), "other"),
    ],
)
def test_the_licence_is_the_teachers(given: CardFacts, licence: str):
    assert ModelCard(render_card(given)).data.license == licence


def test_the_front_matter_is_what_hubs_read(tmp_path: Path):
    text = render_card(facts(teacher(), teacher("local", location=str(tmp_path))))
    head = ModelCard(text).data.to_dict()
    assert head == {
        "license": "mit",
        "library_name": "chronos-forecasting",
        "pipeline_tag": "time-series-forecasting",
        "tags": ["distillation", "potstill"],
        "base_model": ["org/big"],
    }
    assert "base_model" not in ModelCard(render_card(facts(derived=False))).data.to_dict()


def test_the_card_says_where_it_came_from_and_hides_folders():
    text = render_card(facts(teacher()))
    assert "\n---\n\n# chronos2 student, 1,000 parameters\n\nA model.\n\n## Accuracy\n\n| a |" in text
    assert "- data: sales.csv, org/data (split 8:1:1, fingerprint `0123456789abcdef`)" in text
    assert f"- teacher big: org/big @ v1, licence mit, fingerprint `{'f' * 16}`" in text
    assert "- seed 3; potstill 0.1.0\n" in text
    assert text.endswith("The teacher's licence (mit) applies to what was distilled from it.\n")
    assert "/home/me" not in text


def test_the_same_facts_give_the_same_bytes():
    assert render_card(facts(teacher())) == render_card(facts(teacher()))
