"""The form for tokenizers with a chat template: the template writes, the answers are found by what each turn adds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from jinja2 import TemplateError

from potstill.data.text.dialogue import Dialogue, Malformed, Rendered, Turn

_PROBE = "zqprobe"  # a word that no template writes of its own accord
_REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)  # a template is anybody's code
_ASK, _TELL = Turn("user", "Question"), Turn("assistant", "Answer")


class ChatForm:
    """The tokenizer's own chat template.

    What the template cannot say is said otherwise: a refused system's turn stands in the first user's turn, a refused
    tool's turn stands as a user's, tools that it does not list stand in the system's turn.

    Raises
    ------
    Malformed
        The template cannot even write a question and its answer.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.closing = tuple(token for token in {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()} if token)
        self._write([_ASK, _TELL])
        self.takes_system = self._shows([Turn("system", _PROBE), _ASK])
        self.takes_tool = self._shows([_ASK, _TELL, Turn("tool", _PROBE), _TELL])
        self.takes_tools = self._shows([_ASK], [{"type": "function", "function": {"name": _PROBE}}])

    def render(self, dialogue: Dialogue) -> Rendered:
        """The dialogue in the template's words.

        Raises
        ------
        Malformed
            The template refuses it, or no answer can be found in what it writes.
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
        text = self._write(turns, tools)
        last = len(turns) - 1
        found = {
            i: self._span(text, turns[:i], turn, tools, text if i == last else None)
            for i, turn in enumerate(turns)
            if turn.role == "assistant"
        }
        spans = {i: span for i, span in found.items() if span is not None}
        if not spans:
            raise Malformed("the chat template writes no answer as it was given")
        if len(spans) < len(found):
            repairs = [*repairs, "dialogues where the chat template rewrites some answers, which do not count"]
        first = min(spans)
        return Rendered(text, list(spans.values()), text[: spans[first][0]], turns[first].content, repairs)

    def _span(self, text: str, before: list[Turn], turn: Turn, tools: Any, after: str | None) -> tuple[int, int] | None:
        """Where ``turn`` stands in ``text``: from the prompt that asks for it to its end-of-turn token.

        ``after`` is the writing up to and including the turn, where it is known.
        """
        prompt = self._write(before, tools, ask=True)
        start = len(prompt)
        if not text.startswith(prompt):
            # a template may ask with more than it keeps (an opened <think>): what both share stands before the answer
            if not text.startswith(self._write(before, tools)):
                return None
            start = _shared(text, prompt)
        after = self._write([*before, turn], tools) if after is None else after
        end = len(after)
        if not text.startswith(after):
            # or write the newest answer with more than it keeps of older ones
            content = turn.content.strip()
            at = text.find(content, start)
            if at < 0 or content not in after:
                return None
            end = at + len(content)
            end += _shared(text[end:], after[after.rfind(content) + len(content) :])
        answer = text[start:end].rstrip()
        if answer.endswith(self.closing):
            end = start + len(answer)  # generation stops there: the line break after it is never asked for
        return (start, end) if end > start else None

    def _adapted(self, dialogue: Dialogue) -> tuple[list[Turn], list[dict[str, Any]] | None, list[str]]:
        """Turns and tools as the template takes them, and what was done to that end."""
        repairs = []
        turns, tools = dialogue.turns, _functions(dialogue.tools) if self.takes_tools else None
        if dialogue.tools and tools is None:
            turns = dialogue.with_tools_in_system()
            repairs.append("dialogues with their tools described in the system's turn")
        turns = [Turn(turn.role, turn.whole) for turn in turns]
        if not self.takes_system and any(turn.role == "system" for turn in turns):
            turns = _folded(turns)
            repairs.append("dialogues with the system's turn folded into the user's, as the chat template has none")
        if not self.takes_tool and any(turn.role == "tool" for turn in turns):
            turns = [Turn("user", turn.content) if turn.role == "tool" else turn for turn in turns]
            repairs.append("dialogues with tool turns given as the user's, as the chat template has none")
        return turns, tools, repairs

    def _write(self, turns: Sequence[Turn], tools: Any = None, ask: bool = False) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return self.tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=ask)
        except _REFUSALS as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:80]
            raise Malformed(f"the chat template refuses it: {reason}") from None

    def _shows(self, turns: list[Turn], tools: Any = None) -> bool:
        try:
            return _PROBE in self._write(turns, tools)
        except Malformed:
            return False


def _shared(one: str, other: str) -> int:
    """How many first characters two texts share."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _functions(tools: str) -> list[dict[str, Any]] | None:
    """Tools as chat templates take them; None where they are no JSON of functions."""
    try:
        tree = json.loads(tools) if tools else None
    except (ValueError, RecursionError):
        return None
    tree = [tree] if isinstance(tree, dict) else tree
    if not isinstance(tree, list) or not tree or not all(isinstance(tool, dict) for tool in tree):
        return None
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tree]


def _folded(turns: list[Turn]) -> list[Turn]:
    """System turns written at the head of the user's turn that follows them."""
    folded, pending = [], []
    for turn in turns:
        if turn.role == "system":
            pending.append(turn.content)
        elif turn.role == "user":
            folded.append(Turn("user", "\n\n".join([*pending, turn.content])))
            pending = []
        else:
            folded.append(turn)
    # no user speaks after it: it stands as the user's words
    return [Turn("user", "\n\n".join(pending)), *folded] if pending else folded


def _joined(turns: list[Turn]) -> list[Turn]:
    """Consecutive turns of one role as one, for templates in which user and assistant must alternate."""
    groups = groupby(turns, key=lambda turn: turn.role)
    return [Turn(role, "\n\n".join(turn.content for turn in group)) for role, group in groups]
