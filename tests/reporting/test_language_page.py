"""The report of language models: its content, missing parts, and generated text that must not become markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fake_language_run import language_generations, language_metrics, write_fake_language_run
from fake_run import HOSTILE
from page_reader import draw

from potstill.reporting import summary_lines


def without(*models: str, **changes: Any) -> dict[str, Any]:
    """The metrics without some models and their intervals."""
    metrics = language_metrics()
    for part in ("models", "cost"):
        metrics[part] = {name: value for name, value in metrics[part].items() if name not in models}
    pairs = metrics["intervals"].items()
    metrics["intervals"] = {pair: value for pair, value in pairs if not set(pair.split("/")) & set(models)}
    return metrics | changes


def perfect() -> dict[str, Any]:
    metrics = without("control")
    metrics["models"]["student"]["test"] |= {"perplexity": 10.07, "kl": 0.0, "agreement": 1.0}
    metrics["intervals"] = {"student/teacher": {"perplexity": {"value": 1, "low": 1, "high": 1}}}
    return metrics


def test_the_whole_page_shows_the_measurements(tmp_path: Path) -> None:
    _, page = draw(write_fake_language_run(tmp_path / "demo"))
    text = page.text.replace("\u00a0", " ")
    assert "Agrees with the teacher on 71 % of tokens, is 6.9 times faster and 8 % of its size." in text
    for expected in (
        "2,000 held-out examples, 128,431 answer tokens",
        "62.4 compared with 9.10 tokens per second",
        "30.1 M of 355 M parameters",
        "Perplexity 16 % lower ; the teacher helped. 95 % CI −17.9 % to −14.8 %",
        "KL to the teacher 34 % lower ; closer to the teacher.",
        "Perplexity 88 % higher ; worse.",
        "18.1 – 19.8",
        "Tokens generated per second, batch 1",
        "task: language",
        "AMD EPYC",
        "51,943",
    ):
        assert expected in text
    assert "SQL" not in text
    data = page.data
    assert set(data["validation"]) == {"Cross-entropy (nats)", "KL to the teacher (nats)"}
    assert set(data["validation"]["KL to the teacher (nats)"]) == {"student", "control"}
    assert set(data["loss"]["student"]["terms"]) == {"cross_entropy", "kl"}


def test_answers_are_side_by_side_from_best_to_worst(tmp_path: Path) -> None:
    _, page = draw(write_fake_language_run(tmp_path / "demo"))
    text = page.text
    kinds = ("Best", "Upper quartile", "Median", "Lower quartile", "Worst")
    assert [text.index(f" {kind} ") for kind in kinds] == sorted(text.index(f" {kind} ") for kind in kinds)
    assert "Say hello in HTML." in text
    assert "ROUGE-L 0.62" in text
    assert "Name three primary colours." not in text  # it has no kind
    assert "写一首关于秋天的短诗。" in text


def test_generated_markup_is_escaped(tmp_path: Path) -> None:
    folder = write_fake_language_run(tmp_path / "run")
    tree = language_generations()
    tree["examples"][0]["answers"] |= {"student": "half \ud83d <img src=x onerror=alert(1)>", HOSTILE: "I am a model"}
    (folder / "generations.json").write_text(json.dumps(tree))
    text, page = draw(folder)
    assert HOSTILE not in text
    assert HOSTILE in page.text
    assert "<img" not in text
    assert "half ? <img src=x onerror=alert(1)>" in page.text
    assert page.handlers == []
    assert len(page.scripts) == 2
    assert page.references == ["data:,"]
    assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\(", text)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (perfect(), "Agrees with the teacher on 100.0 % of tokens, is 6.9 times faster and 8 % of its size."),
        (without("control"), "No control was trained"),
        (
            without("teacher", "control", reference=None),
            "Student's perplexity on held-out answers is 18.9, with 30.1 M parameters and 62.4 tokens per second;",
        ),
        (
            without("teacher", "control", cost={}),
            "Student's perplexity on held-out answers is 18.9; there is no teacher",
        ),
        (without(cost={}), "Agrees with the teacher on 71 % of tokens."),
        ({"task": "language"}, "Nothing was measured"),
        ({"task": "language", "models": {"a": {"test": {}}}, "intervals": 3, "account": []}, "was evaluated"),
        (
            {"task": "language", "models": {"student": {"test": {"kl": None, "perplexity_interval": "x"}}}},
            "was evaluated",
        ),
    ],
)
@pytest.mark.parametrize("rest", [True, False])
def test_any_part_may_be_missing(tmp_path: Path, metrics: dict[str, Any], expected: str, rest: bool) -> None:
    folder = write_fake_language_run(tmp_path / "run")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    if not rest:
        for name in ("recipe.yaml", "generations.json", "log.jsonl"):
            (folder / name).unlink()
    _, page = draw(folder)
    assert expected in page.text.replace("\u00a0", " ")
    lines = summary_lines(metrics)
    assert any(expected in line for line in lines)
    assert all(line.endswith(".") and "nan" not in line.lower() and "None" not in line for line in lines)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"perplexity": {"value": 1.01, "low": 0.98, "high": 1.04}}, "no significant difference (95 % CI includes 0)"),
        (
            {"perplexity": {"value": 1.1, "low": 1.05, "high": 1.2}},
            "the teacher did not help: the control is more accurate",
        ),
        ({"kl": {"value": 1.1, "low": 1.05, "high": 1.2}}, "further from the teacher"),
        ({"kl": {"value": 1.0, "low": 0.9, "high": 1.1}}, "no significant difference (95 % CI includes 0)"),
    ],
)
def test_the_interval_decides_the_comparison_with_the_control(change: dict[str, Any], expected: str) -> None:
    metrics = language_metrics()
    metrics["intervals"]["student/control"] |= change
    assert any(expected in line for line in summary_lines(metrics))


def test_cautions() -> None:
    metrics = language_metrics()
    metrics["models"]["teacher"]["test"]["perplexity"] = 25.0
    metrics["account"]["answers"]["examples"] = 40
    lines = " ".join(summary_lines(metrics))
    assert "The teacher's own perplexity on these answers is higher (25.0; the student's is 18.9)" in lines
    assert "Few held-out examples (40)" in lines
    assert "ROUGE-L is from 32 prompts, with greedy decoding and at most 128 new tokens." in lines


def test_models_of_other_names_are_compared_with_the_reference() -> None:
    models = {
        "gpt2": {"test": {"perplexity": 9.0}},
        "tiny": {"test": {"perplexity": 12.0, "agreement": 0.6, "kl": 0.9}},
    }
    lines = summary_lines({"task": "language", "models": models, "reference": "gpt2"})
    assert lines[0] == "Agrees with gpt2 on 60 % of tokens."
    assert lines[1] == "Compared with gpt2: perplexity 33 % higher; worse."


def test_the_recipe_names_the_task_of_a_run_in_training(tmp_path: Path) -> None:
    folder = write_fake_language_run(tmp_path / "run")
    (folder / "metrics.json").unlink()
    (folder / "generations.json").unlink()
    _, page = draw(folder)
    assert "Still in training" in page.text
    assert set(page.data["validation"]) == {"Cross-entropy (nats)", "KL to the teacher (nats)"}


def test_broken_generations_are_left_out(tmp_path: Path) -> None:
    folder = write_fake_language_run(tmp_path / "run")
    tree = {"examples": [3, {"kind": "best"}, {"kind": "best", "prompt": "p", "answers": {"student": 4}}, None]}
    (folder / "generations.json").write_text(json.dumps(tree))
    _, page = draw(folder)
    assert "side by side" not in page.text


@pytest.mark.parametrize(
    ("perplexity", "kl", "expected"),
    [
        (17.0, 0.93, "8 % of its size; its control is better (perplexity 10 % lower)."),
        (22.6, 0.55, "8 % of its size; its control is better (KL to the teacher 9.8 % lower)."),
        (22.6, 0.93, "8 % of its size."),
    ],
)
def test_the_headline_names_a_better_control(perplexity: float, kl: float, expected: str) -> None:
    metrics = without(intervals={})
    metrics["models"]["control"]["test"] |= {"perplexity": perplexity, "kl": kl}
    assert summary_lines(metrics)[0].endswith(expected)
