"""ROUGE-L and its words."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from usage_errors import usage_error

from potstill.evaluation.language.rouge import Words, rouge_l


def test_by_hand():
    # the longest common subsequence of "the cat sat" and "the cat did sat" has 3 words: P 3/4, R 1
    found = rouge_l(["the cat sat", "the cat sat", "a", ""], ["The cat did sat!", "the cat sat", "", "a"])
    assert found.tolist() == pytest.approx([2 * 0.75 / 1.75, 1, 0, 0])


@pytest.mark.parametrize("text", ["Don't stop: 2.5 times_over!", "  a\tB\n\nc-d 7th ", "", "?!"])
def test_ascii_text_is_tokenised_as_in_the_package(text: str):
    from rouge_score.tokenizers import DefaultTokenizer

    assert Words().tokenize(text) == DefaultTokenizer().tokenize(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我喜欢 GPT2。", ["我", "喜", "欢", "gpt2"]),
        ("ａ１か゚な", ["a1", "か゚", "な"]),
        ("café déjà-vu", ["café", "déjà", "vu"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ที่", ["ที่"]),
        ("한국어 말", ["한국어", "말"]),
    ],
)
def test_words_of_other_scripts(text: str, words: list[str]):
    assert Words().tokenize(text) == words


def test_an_answer_in_chinese_counts():
    assert rouge_l(["我喜欢蓝色"], ["我喜欢红色"])[0] == pytest.approx(0.8)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("rouge_score"):
            raise ImportError("No module named 'rouge_score'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with usage_error("evaluation.rouge_not_installed", "rouge-score", "potstill[lm]"):
        rouge_l(["a"], ["a"])
