"""The form in which a tokenizer's model reads dialogues, for training and for generation alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from potstill.data.text.alpaca import PlainForm, render_text
from potstill.data.text.chat import ChatForm
from potstill.data.text.dialogue import Dialogue, Malformed, Rendered, Turn

_ANSWER = Turn("assistant", "Answer")  # stands in for the one that is asked for


def form_of(tokenizer: Any) -> ChatForm | PlainForm:
    """The tokenizer's chat template, or Alpaca's prompts where it has none (or one that cannot write a dialogue)."""
    if not getattr(tokenizer, "chat_template", None):
        return PlainForm(tokenizer)
    try:
        return ChatForm(tokenizer)
    except Malformed:
        return PlainForm(tokenizer)


def render(form: ChatForm | PlainForm, tokenizer: Any, dialogue: Dialogue) -> Rendered:
    """The dialogue as text with its answers marked; raises Malformed where the form refuses it."""
    return render_text(dialogue, tokenizer) if dialogue.is_text else form.render(dialogue)


def prompt_of(tokenizer: Any, text_or_turns: str | Sequence[Turn | tuple[str, str]], tools: str = "") -> str:
    """The prompt that asks for the next answer, exactly as training examples have it before theirs.

    To be tokenised with ``add_special_tokens=False``: what the model expects to come first is written out.

    Parameters
    ----------
    text_or_turns
        A user's instruction, or turns ``(role, content)`` with roles system, user, assistant and tool.
    tools
        What the assistant may call, as JSON text.

    Raises
    ------
    ValueError
        The tokenizer's chat template refuses these turns.
    """
    turns = [("user", text_or_turns)] if isinstance(text_or_turns, str) else text_or_turns
    dialogue = Dialogue([*(Turn(*turn) for turn in turns), _ANSWER], tools)
    try:
        rendered = form_of(tokenizer).render(dialogue)
    except Malformed as fault:
        raise ValueError(str(fault)) from None
    return rendered.text[: rendered.spans[-1][0]]
