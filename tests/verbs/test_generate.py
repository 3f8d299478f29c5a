"""``generate``: the prompt in the model's own form, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_gpt2 import save_gpt2

import potstill
from potstill.errors import UserError
from potstill.families.language.load import load_language


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
    ("options", "said"),
    [
        ({"prompt": "  "}, "is empty"),
        ({"max_new_tokens": 0}, "at least 1"),
        ({"temperature": -1.0}, "0 or above"),
        ({"prompt": "word " * 400}, "the model reads 256"),
    ],
)
def test_what_does_not_go_is_said(model: Path, options: dict, said: str):
    with pytest.raises(UserError, match=said):
        potstill.generate(str(model), **{"prompt": "two", **options})
