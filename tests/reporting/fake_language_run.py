"""An invented run folder of language models with every part that a report can show; nothing is trained."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from fake_run import HOSTILE, fake_provenance

FIGURES = {
    "teacher": {"cross_entropy": 2.31, "perplexity": 10.07, "rouge_l": 0.268},
    "student": {"cross_entropy": 2.94, "perplexity": 18.9, "kl": 0.61, "agreement": 0.707, "rouge_l": 0.231},
    "control": {"cross_entropy": 3.12, "perplexity": 22.6, "kl": 0.93, "agreement": 0.644, "rouge_l": 0.214},
}
PARAMETERS = {"teacher": 354_823_168, "student": 30_142_848, "control": 30_142_848}
RATES = {"teacher": 9.1, "student": 62.4, "control": 62.1}
ASKED = (
    ("Name three primary colours.", "Red, yellow and blue are the three primary colours."),
    (
        "Rewrite the sentence so that it reads more politely.\n\n### Input:\nGive me the report.",
        "Could you please send me the report when you have a moment?",
    ),
    ("写一首关于秋天的短诗。", "秋风起兮白云飞，\n草木黄落兮雁南归。"),
    ("Write a Python function that adds two numbers.", "def add(a, b):\n    return a + b"),
    ("اكتب جملة قصيرة عن البحر.", "البحر واسع وجميل."),
    ("Say hello in HTML.", f"<b>Hello</b> {HOSTILE}"),
)


def write_fake_language_run(folder: Path) -> Path:
    """Write metrics.json, log.jsonl, recipe.yaml and generations.json; prompts and answers hold markup."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(language_metrics()))
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in language_log()))
    (folder / "generations.json").write_text(json.dumps(language_generations()))
    (folder / "recipe.yaml").write_text(
        "task: language\nteacher:\n- source: gpt2-medium\nstudent:\n  family: small\ndata:\n  paths: [alpaca.json]\n"
        "  max_length: 512\nobjective:\n  alpha: 0.5\n  temperature: 2.0\ntraining:\n  learning_rate: 0.0003\n"
    )
    return folder


def language_metrics() -> dict[str, Any]:
    """metrics.json with teacher, student and control on the test part."""
    models = {
        name: {"test": {**values, **{f"{key}_interval": [value * 0.96, value * 1.05] for key, value in values.items()}}}
        for name, values in FIGURES.items()
    }
    cost = {
        name: {
            "parameters": PARAMETERS[name],
            "bytes": PARAMETERS[name] * 4,
            "tokens_per_second_b1": RATES[name],
            "latency_ms_token": 1e3 / RATES[name],
            "scored_tokens_per_second_b8": RATES[name] * 41,
            "peak_mb": 180 + PARAMETERS[name] / 1e6,
        }
        for name in FIGURES
    }
    return {
        "task": "language",
        "reference": "teacher",
        "subject": "student",
        "models": models,
        "retention": {"agreement": 0.707, "perplexity": 10.07 / 18.9, "kl": 0.61, "rouge_l": 0.862},
        "intervals": {
            "student/teacher": {"perplexity": {"value": 1.877, "low": 1.82, "high": 1.95}},
            "student/control": {
                "perplexity": {"value": 0.836, "low": 0.821, "high": 0.852},
                "kl": {"value": 0.656, "low": 0.64, "high": 0.671},
                "rouge_l": {"value": 1.08, "low": 0.97, "high": 1.2},
            },
        },
        "cost": cost,
        "account": {
            "answers": {"examples": 2000, "of": 5191, "tokens": 128_431},
            "prompts": {"answered": 32, "max_new_tokens": 128, "decoding": "greedy"},
            "data": {"used": {"files": 1, "examples": 51_943}, "notes": [f"a note {HOSTILE}"]},
        },
        "provenance": fake_provenance(),
    }


def language_log() -> list[dict[str, Any]]:
    """Losses by term every 50 steps, validation every 500, of student and control."""
    noise, lines = random.Random(1), []
    for model, gain in (("student", 1.0), ("control", 1.06)):
        for step in range(50, 6001, 50):
            fall = math.exp(-step / 1300)
            terms = {"cross_entropy": gain * (2.9 + 6 * fall) + noise.gauss(0, 0.05)}
            if model == "student":
                terms["kl"] = 0.7 + 3.1 * fall + noise.gauss(0, 0.03)
            lines.append(
                {
                    "event": "train",
                    "model": model,
                    "step": step,
                    "loss": sum(terms.values()) / len(terms),
                    "terms": terms,
                }
            )
            if step % 500 == 0:
                loss = gain * (2.95 + 3 * fall)
                eval_line = {"loss": loss, "perplexity": math.exp(loss), "kl": gain**3 * (0.62 + 2 * fall)}
                lines.append({"event": "eval", "model": model, "step": step, **eval_line})
    return lines


def language_generations() -> dict[str, Any]:
    """generations.json with five examples that are shown and one that is not."""
    kinds = ("best", "upper quartile", "median", "lower quartile", "worst", None)
    repetitive = "A rather long answer that goes on and on, as small models do. " * 6
    examples = []
    for i, ((prompt, reference), kind) in enumerate(zip(ASKED[::-1], kinds, strict=True)):
        answers = {
            "teacher": reference,
            "student": reference[: len(reference) * 2 // 3] + " and so on.",
            "control": repetitive,
        }
        rouge = {"teacher": 1.0 - i / 10, "student": 0.62 - i / 10, "control": 0.1}
        asked = f"Below is an instruction that describes a task.\n\n### Instruction:\n{prompt}\n\n### Response:\n"
        one = {"id": i, "kind": kind, "prompt": asked, "reference": reference, "answers": answers, "rouge_l": rouge}
        examples.append(one)
    return {"subject": "student", "max_new_tokens": 128, "examples": examples}
