"""``generate``: the prompt in the model's own form, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_gpt2 import save_gpt2
from usage_errors import usage_error

import potstill
from potstill.families.load import load_language


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"), positions=256)


def test_without_a_chat_template_the_prompt_is_alpacas(model: Path):
    prompt = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nWrite two 🙂.\n\n### Response:\n"
    )
    expected = load_language(model).freeze().generate([prompt], 8)[0]
    assert potstill.generate(str(model), "Write two 🙂.", max_new_tokens=8) == expected


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"prompt": "  "}, "prompt.empty"),
        ({"max_new_tokens": 0}, "option.out_of_range"),
        ({"temperature": -1.0}, "option.out_of_range"),
    ],
)
def test_options_out_of_range_are_usage_errors(model: Path, options: dict, key: str):
    with usage_error(key):
        potstill.generate(str(model), **{"prompt": "two", **options})


def test_a_prompt_that_is_too_long_is_a_usage_error(model: Path):
    with usage_error("prompt.too_long", "256"):
        potstill.generate(str(model), "word " * 400)
