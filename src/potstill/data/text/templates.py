"""Render dialogues in the format of a tokenizer's model, for training and for generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from potstill.data.text.alpaca import PlainForm, render_text
from potstill.data.text.chat import ChatForm
from potstill.data.text.dialogue import Dialogue, Malformed, Rendered, Turn

_ANSWER = Turn("assistant", "Answer")  # placeholder for the answer to generate


def form_of(tokenizer: Any) -> ChatForm | PlainForm:
    """The tokenizer's chat template, or Alpaca's prompts if it has none or one that cannot render a dialogue."""
    if not getattr(tokenizer, "chat_template", None):
        return PlainForm(tokenizer)
    try:
        return ChatForm(tokenizer)
    except Malformed:
        return PlainForm(tokenizer)


def render(form: ChatForm | PlainForm, tokenizer: Any, dialogue: Dialogue) -> Rendered:
    """The dialogue as text with its answers marked. Raises Malformed if the chat template rejects it."""
    return render_text(dialogue, tokenizer) if dialogue.is_text else form.render(dialogue)


def prompt_of(tokenizer: Any, text_or_turns: str | Sequence[Turn | tuple[str, str]], tools: str = "") -> str:
    """The prompt for the next answer, exactly as it precedes the answers of training examples.

    Tokenise it with ``add_special_tokens=False``: it includes the begin token that the model expects.

    Parameters
    ----------
    text_or_turns
        A user's instruction, or turns ``(role, content)`` with roles system, user, assistant and tool.
    tools
        The tools that the assistant may call, as JSON text.

    Raises
    ------
    ValueError
        The tokenizer's chat template rejects these turns.
    """
    turns = [("user", text_or_turns)] if isinstance(text_or_turns, str) else text_or_turns
    dialogue = Dialogue([*(Turn(*turn) for turn in turns), _ANSWER], tools)
    try:
        rendered = form_of(tokenizer).render(dialogue)
    except Malformed as error:
        raise ValueError(str(error)) from None
    return rendered.text[: rendered.spans[-1][0]]
