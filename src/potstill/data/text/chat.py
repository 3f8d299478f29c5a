"""Prompt format for tokenizers with a chat template: an answer is located by the text that its turn adds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from jinja2 import TemplateError

from potstill.data.text.dialogue import Dialogue, Malformed, Rendered, Turn

_PROBE = "zqprobe"  # a word that no template contains
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)  # a template is arbitrary code
_QUESTION, _ANSWER = Turn("user", "Question"), Turn("assistant", "Answer")


class ChatForm:
    """The tokenizer's chat template.

    Turns that the template does not support are rewritten: a system turn moves into the next user turn, a tool turn
    becomes a user turn, and tools that it does not list are described in the system turn.

    Raises
    ------
    Malformed
        The template cannot render a question and its answer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.closing = tuple(token for token in {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()} if token)
        self._render([_QUESTION, _ANSWER])
        self.takes_system = self._supports([Turn("system", _PROBE), _QUESTION])
        self.takes_tool = self._supports([_QUESTION, _ANSWER, Turn("tool", _PROBE), _ANSWER])
        self.takes_tools = self._supports([_QUESTION], [{"type": "function", "function": {"name": _PROBE}}])

    def render(self, dialogue: Dialogue) -> Rendered:
        """Render the dialogue with the template.

        Raises
        ------
        Malformed
            The template rejects it, or no answer is found unchanged in the rendered text.
        """
        turns, tools, repairs = self._adapted(dialogue)
        try:
            return self._marked(turns, tools, repairs)
        except Malformed:
            joined = _joined(turns)
            if len(joined) == len(turns):
                raise
            return self._marked(joined, tools, [*repairs, "dialogues with consecutive turns of one role joined"])

    def _marked(self, turns: list[Turn], tools: Any, repairs: list[str]) -> Rendered:
        text = self._render(turns, tools)
        last = len(turns) - 1
        all_spans = {
            i: self._span(text, turns[:i], turn, tools, text if i == last else None)
            for i, turn in enumerate(turns)
            if turn.role == "assistant"
        }
        spans = {i: span for i, span in all_spans.items() if span is not None}
        if not spans:
            raise Malformed("the chat template changes every answer")
        if len(spans) < len(all_spans):
            repairs = [*repairs, "dialogues where the chat template rewrites some answers, which are not trained on"]
        first = min(spans)
        return Rendered(text, list(spans.values()), text[: spans[first][0]], turns[first].content, repairs)

    def _span(self, text: str, before: list[Turn], turn: Turn, tools: Any, after: str | None) -> tuple[int, int] | None:
        """Start and end of ``turn`` in ``text``: after its generation prompt, up to and with its end-of-turn token.

        ``after`` is the rendered text up to and including the turn, if it is known. None if the answer is not found.
        """
        prompt = self._render(before, tools, add_prompt=True)
        start = len(prompt)
        if not text.startswith(prompt):
            # a generation prompt may add text that past turns lack (an opened <think>): the answer starts after the
            # common prefix
            if not text.startswith(self._render(before, tools)):
                return None
            start = _common_prefix(text, prompt)
        after = self._render([*before, turn], tools) if after is None else after
        end = len(after)
        if not text.startswith(after):
            # or the newest answer has text that past turns lack
            content = turn.content.strip()
            at = text.find(content, start)
            if at < 0 or content not in after:
                return None
            end = at + len(content)
            end += _common_prefix(text[end:], after[after.rfind(content) + len(content) :])
        answer = text[start:end].rstrip()
        if answer.endswith(self.closing):
            end = start + len(answer)  # generation stops here: the line break after it is never generated
        return (start, end) if end > start else None

    def _adapted(self, dialogue: Dialogue) -> tuple[list[Turn], list[dict[str, Any]] | None, list[str]]:
        """Turns and tools as the template supports them, and the repairs this needed."""
        repairs = []
        turns, tools = dialogue.turns, _functions(dialogue.tools) if self.takes_tools else None
        if dialogue.tools and tools is None:
            turns = dialogue.with_tools_in_system()
            repairs.append("dialogues with their tools described in the system turn")
        turns = [Turn(turn.role, turn.whole) for turn in turns]
        if not self.takes_system and any(turn.role == "system" for turn in turns):
            turns = _folded(turns)
            repairs.append("dialogues with the system turn folded into a user turn, as the chat template has none")
        if not self.takes_tool and any(turn.role == "tool" for turn in turns):
            turns = [Turn("user", turn.content) if turn.role == "tool" else turn for turn in turns]
            repairs.append("dialogues with tool turns changed to user turns, as the chat template has none")
        return turns, tools, repairs

    def _render(self, turns: Sequence[Turn], tools: Any = None, add_prompt: bool = False) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return self.tokenizer.apply_chat_template(
                messages, tools=tools, tokenize=False, add_generation_prompt=add_prompt
            )
        except _TEMPLATE_ERRORS as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:80]
            raise Malformed(f"the chat template rejects it: {reason}") from None

    def _supports(self, turns: list[Turn], tools: Any = None) -> bool:
        try:
            return _PROBE in self._render(turns, tools)
        except Malformed:
            return False


def _common_prefix(one: str, other: str) -> int:
    """Length of the common prefix of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _functions(tools: str) -> list[dict[str, Any]] | None:
    """Tools in the format of chat templates; None if the text is not JSON with function descriptions."""
    try:
        tree = json.loads(tools) if tools else None
    except (ValueError, RecursionError):
        return None
    tree = [tree] if isinstance(tree, dict) else tree
    if not isinstance(tree, list) or not tree or not all(isinstance(tool, dict) for tool in tree):
        return None
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tree]


def _folded(turns: list[Turn]) -> list[Turn]:
    """Move system turns to the start of the user turn that follows them."""
    folded, pending = [], []
    for turn in turns:
        if turn.role == "system":
            pending.append(turn.content)
        elif turn.role == "user":
            folded.append(Turn("user", "\n\n".join([*pending, turn.content])))
            pending = []
        else:
            folded.append(turn)
    # no user turn follows: it becomes the first user turn
    return [Turn("user", "\n\n".join(pending)), *folded] if pending else folded


def _joined(turns: list[Turn]) -> list[Turn]:
    """Join consecutive turns of one role, for templates in which user and assistant must alternate."""
    groups = groupby(turns, key=lambda turn: turn.role)
    return [Turn(role, "\n\n".join(turn.content for turn in group)) for role, group in groups]
