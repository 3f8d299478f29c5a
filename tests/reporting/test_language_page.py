"""The page of language models: what it says, that any part may be missing, and that what a model wrote stays text."""

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
    """The figures without some models; retention and intervals go with them."""
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


def test_the_whole_page_says_what_was_measured(tmp_path: Path) -> None:
    _, page = draw(write_fake_language_run(tmp_path / "demo"))
    text = page.text.replace("\u00a0", " ")
    assert "Agrees with the teacher on 71 % of tokens, is 6.9 times faster and 8 % of its size." in text
    for said in (
        "2,000 held-out examples, 128,431 answer tokens",
        "62.4 against 9.10 tokens a second",
        "30.1 M of 355 M parameters",
        "Perplexity 16 % lower ; the teacher helped. 95 % interval −17.9 % to −14.8 %",
        "KL to the teacher 34 % lower ; closer to the teacher.",
        "Perplexity 88 % higher ; worse.",
        "18.1 – 19.8",
        "Tokens written per second, batch 1",
        "task: language",
        "AMD EPYC",
        "51,943",
    ):
        assert said in text
    assert "SQL" not in text
    data = page.data
    assert set(data["validation"]) == {"Cross-entropy (nats)", "KL to the teacher (nats)"}
    assert set(data["validation"]["KL to the teacher (nats)"]) == {"student", "control"}
    assert set(data["loss"]["student"]["terms"]) == {"cross_entropy", "kl"}


def test_answers_stand_side_by_side_from_best_to_worst(tmp_path: Path) -> None:
    _, page = draw(write_fake_language_run(tmp_path / "demo"))
    text = page.text
    kinds = ("Best", "Upper quartile", "Median", "Lower quartile", "Worst")
    assert [text.index(f" {kind} ") for kind in kinds] == sorted(text.index(f" {kind} ") for kind in kinds)
    assert "Say hello in HTML." in text
    assert "ROUGE-L 0.62" in text
    assert "Name three primary colours." not in text  # it has no kind
    assert "写一首关于秋天的短诗。" in text


def test_what_a_model_wrote_stays_text(tmp_path: Path) -> None:
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
    ("metrics", "said"),
    [
        (perfect(), "Agrees with the teacher on 100.0 % of tokens, is 6.9 times faster and 8 % of its size."),
        (without("control"), "No control was trained"),
        (
            without("teacher", "control", reference=None),
            "Student's perplexity on held-out answers is 18.9, with 30.1 M parameters and 62.4 tokens a second; no",
        ),
        (without("teacher", "control", cost={}), "Student's perplexity on held-out answers is 18.9; no teacher stands"),
        (without(cost={}), "Agrees with the teacher on 71 % of tokens."),
        ({"task": "language"}, "Nothing was measured"),
        ({"task": "language", "models": {"a": {"test": {}}}, "intervals": 3, "account": []}, "was measured"),
        (
            {"task": "language", "models": {"student": {"test": {"kl": None, "perplexity_interval": "x"}}}},
            "was measured",
        ),
    ],
)
@pytest.mark.parametrize("rest", [True, False])
def test_any_part_may_be_missing(tmp_path: Path, metrics: dict[str, Any], said: str, rest: bool) -> None:
    folder = write_fake_language_run(tmp_path / "run")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    if not rest:
        for name in ("recipe.yaml", "generations.json", "log.jsonl"):
            (folder / name).unlink()
    _, page = draw(folder)
    assert said in page.text.replace("\u00a0", " ")
    lines = summary_lines(metrics)
    assert any(said in line for line in lines)
    assert all(line.endswith(".") and "nan" not in line.lower() and "None" not in line for line in lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"perplexity": {"value": 1.01, "low": 0.98, "high": 1.04}}, "no difference that these data can tell"),
        ({"perplexity": {"value": 1.1, "low": 1.05, "high": 1.2}}, "the teacher did not help here, it cost accuracy"),
        ({"kl": {"value": 1.1, "low": 1.05, "high": 1.2}}, "further from the teacher"),
        ({"kl": {"value": 1.0, "low": 0.9, "high": 1.1}}, "as far from the teacher"),
    ],
)
def test_the_control_is_judged_by_the_interval(change: dict[str, Any], said: str) -> None:
    metrics = language_metrics()
    metrics["intervals"]["student/control"] |= change
    assert any(said in line for line in summary_lines(metrics))


def test_what_to_be_careful_about() -> None:
    metrics = language_metrics()
    metrics["models"]["teacher"]["test"]["perplexity"] = 25.0
    metrics["account"]["answers"]["examples"] = 40
    lines = " ".join(summary_lines(metrics))
    assert "The teacher's own perplexity on these answers is higher (25.0 against 18.9)" in lines
    assert "Few held-out examples (40)" in lines
    assert "ROUGE-L is of 32 prompts, answered greedily and cut at 128 tokens." in lines


def test_other_names_are_held_against_the_reference() -> None:
    models = {
        "gpt2": {"test": {"perplexity": 9.0}},
        "tiny": {"test": {"perplexity": 12.0, "agreement": 0.6, "kl": 0.9}},
    }
    lines = summary_lines({"task": "language", "models": models, "reference": "gpt2"})
    assert lines[0] == "Agrees with gpt2 on 60 % of tokens."
    assert lines[1] == "Against gpt2: perplexity 33 % higher; worse."


def test_a_run_in_training_is_known_by_its_recipe(tmp_path: Path) -> None:
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
