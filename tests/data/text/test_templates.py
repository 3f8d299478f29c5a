"""Rendered dialogues: with the chat template or Alpaca's prompts, and the position of the answers."""

import json

import pytest

from potstill.data.text import prompt_of
from potstill.data.text.alpaca import PREAMBLE, PREAMBLE_WITH_INPUT
from potstill.data.text.dialogue import Dialogue, Malformed, Turn
from potstill.data.text.templates import form_of, render

Q, A, END = Turn("user", "Q"), Turn("assistant", "A"), "<|im_end|>"
CONVERSATION = [Turn("system", "S"), Q, A, Turn("user", "Why?"), Turn("assistant", "B")]

# no system turn, user and assistant alternate, text is trimmed
STRICT = (
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) or m.role not in ('user', 'assistant') %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '[' + m.role + ']' + m.content | trim + ('<|im_end|>' if m.role == 'assistant' else '') }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
# keeps the reasoning of the newest answer only, like Qwen3
NEWEST_REASONING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# the generation prompt opens a reasoning block, which past turns lack, like DeepSeek-R1
OPEN_REASONING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


def answers(rendered):
    return [rendered.text[start:end] for start, end in rendered.spans]


def written(tokenizer, turns, tools=""):
    return render(form_of(tokenizer), tokenizer, Dialogue(turns, tools))


def test_the_text_equals_the_chat_template_and_answers_are_located(chat):
    rendered = written(chat, CONVERSATION)
    messages = [{"role": turn.role, "content": turn.content} for turn in CONVERSATION]
    assert rendered.text == chat.apply_chat_template(messages, tokenize=False)
    assert answers(rendered) == ["A<|im_end|>", "B<|im_end|>"]
    assert rendered.prompt == chat.apply_chat_template(messages[:2], tokenize=False, add_generation_prompt=True)
    assert rendered.answer == "A"
    assert rendered.repairs == []


def test_an_input_follows_its_instruction(chat):
    assert "user\nQ\n\nI<|im_end|>" in written(chat, [Turn("user", "Q", "I"), A]).text
    assert "user\nI<|im_end|>" in written(chat, [Turn("user", "", "I"), A]).text


def test_unsupported_turns_are_rewritten(tokenizer_with):
    strict = tokenizer_with(STRICT)
    turns = [Turn("system", "S"), Q, A, Turn("tool", "42"), Turn("user", "so?"), Turn("assistant", " B\n")]
    rendered = written(strict, turns, '[{"name": "f"}]')
    tools = 'You have access to these tools:\n[{"name": "f"}]'
    assert rendered.text == f"[user]S\n\n{tools}\n\nQ[assistant]A{END}[user]42\n\nso?[assistant]B{END}"
    assert answers(rendered) == [f"A{END}", f"B{END}"]
    for word, repair in zip(("tools", "folded", "tool turns", "joined"), rendered.repairs, strict=True):
        assert word in repair
    assert written(strict, [Turn("system", "S"), Turn("system", "T"), Q, A]).prompt == "[user]S\n\nT\n\nQ[assistant]"
    assert written(strict, [Turn("system", "S"), A]).prompt == "[user]S[assistant]"
    with pytest.raises(Malformed, match="rejects it: roles must alternate"):
        written(strict, [A])


def test_supported_tool_turns_are_unchanged(chat):
    rendered = written(chat, [Q, A, Turn("tool", "42"), A])
    assert "<|im_start|>tool\n42<|im_end|>" in rendered.text
    assert rendered.repairs == []


@pytest.mark.parametrize(
    "tools", ['[{"name": "f"}]', '{"name": "f"}', '[{"type": "function", "function": {"name": "f"}}]']
)
def test_a_template_that_lists_tools_receives_them(tokenizer_with, tools):
    lists = tokenizer_with("{% if tools %}{{ tools | tojson }}{% endif %}" + OPEN_REASONING.replace("<think>\n", ""))
    expected = json.dumps([{"type": "function", "function": {"name": "f"}}])
    rendered = written(lists, [Q, A], tools)
    assert json.loads(rendered.text.split("<|im_start|>")[0]) == json.loads(expected)
    assert rendered.repairs == []
    assert "system\nYou have access to these tools:\nf(x)" in written(lists, [Q, A], "f(x)").text


def test_a_template_that_drops_past_reasoning(tokenizer_with):
    tokenizer = tokenizer_with(NEWEST_REASONING)
    assert answers(written(tokenizer, CONVERSATION)) == [f"A{END}", f"<think>\n\n</think>\n\nB{END}"]
    assert prompt_of(tokenizer, "Q").endswith("<|im_start|>assistant\n")


def test_a_template_whose_generation_prompt_opens_reasoning(tokenizer_with):
    opening = tokenizer_with(OPEN_REASONING)
    rendered = written(opening, CONVERSATION)
    assert answers(rendered) == [f"A{END}", f"B{END}"]
    assert rendered.prompt.endswith("user\nQ<|im_end|>\n<|im_start|>assistant\n")
    assert prompt_of(opening, CONVERSATION[:2]) == rendered.prompt


def test_rewritten_answers_are_not_marked(tokenizer_with):
    upper = NEWEST_REASONING.replace("m.content +", "(m.content if loop.last else m.content | upper) +")
    shouting = tokenizer_with(upper.replace("<|im_start|>' + m.role", "<|im_start|>' ~ loop.revindex ~ m.role"))
    with pytest.raises(Malformed, match="changes every answer"):
        written(shouting, [Q, Turn("assistant", "b"), Q, Turn("assistant", "c")])
    rendered = written(tokenizer_with(upper), [Turn("user", "1"), Turn("assistant", "b"), Turn("user", "2"), A])
    assert answers(rendered) == [f"<think>\n\n</think>\n\nA{END}"]
    assert rendered.answer == "A"
    assert "rewrites some answers" in rendered.repairs[0]


def test_a_template_that_cannot_render_is_replaced_by_alpacas_prompts(tokenizer_with):
    for template in ("{{ raise_exception('no') }}", "{{ messages[0].parts.text }}"):
        assert prompt_of(tokenizer_with(template), "Q").startswith(PREAMBLE)


def test_alpacas_prompts(bare):
    rendered = written(bare, [Q, A])
    assert rendered.text == f"{PREAMBLE}### Instruction:\nQ\n\n### Response:\nA{END}"
    assert answers(rendered) == [f"A{END}"]
    paired = written(bare, [Turn("user", "Q", "I"), A])
    assert paired.prompt == f"{PREAMBLE_WITH_INPUT}### Instruction:\nQ\n\n### Input:\nI\n\n### Response:\n"
    again = written(bare, [*CONVERSATION[:3], Turn("tool", "42"), CONVERSATION[4]])
    assert again.text == (
        f"S\n\n### Instruction:\nQ\n\n### Response:\nA{END}\n\n### Input:\n42\n\n### Response:\nB{END}"
    )
    assert answers(again) == [f"A{END}", f"B{END}"]
    assert written(bare, [Q, A], "f(x)").text.startswith("You have access to these tools:\nf(x)\n\n### Instruction")


def test_the_begin_token_is_included_if_the_tokenizer_adds_one(tokenizer_with):
    begun = tokenizer_with(bos="<|begin|>")
    assert prompt_of(begun, "Q") == f"<|begin|>{PREAMBLE}### Instruction:\nQ\n\n### Response:\n"
    assert written(begun, [Turn("text", "words")]).text == f"<|begin|>words{END}"


def test_all_of_a_text_is_an_answer_and_its_opening_is_the_prompt(bare):
    rendered = written(bare, [Turn("text", "the spirit rises and the copper cools it")])
    assert answers(rendered) == [rendered.text] == [f"the spirit rises and the copper cools it{END}"]
    assert (rendered.prompt, rendered.answer) == ("the spirit rises and", " the copper cools it")
    assert written(bare, [Turn("text", "酒" * 300)]).prompt == "酒" * 80
    assert written(bare, [Turn("text", "x")]).prompt == "x"


@pytest.mark.parametrize("name", ["chat", "bare"])
def test_prompts_equal_those_of_training(request, name):
    tokenizer = request.getfixturevalue(name)
    assert prompt_of(tokenizer, "Q") == prompt_of(tokenizer, [("user", "Q")]) == written(tokenizer, [Q, A]).prompt
    rendered = written(tokenizer, CONVERSATION)
    assert prompt_of(tokenizer, CONVERSATION[:4]) == rendered.text[: rendered.spans[1][0]]
    assert prompt_of(tokenizer, CONVERSATION[:2]) == rendered.prompt


def test_turns_that_the_template_rejects(tokenizer_with):
    with pytest.raises(ValueError, match="roles must alternate"):
        prompt_of(tokenizer_with(STRICT), [])
