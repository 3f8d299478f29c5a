"""Prompt format for tokenizers without a chat template: Alpaca's prompts (Taori et al., 2023), and plain text."""

from __future__ import annotations

from typing import Any

from potstill.data.text.dialogue import Dialogue, Rendered

PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)
PREAMBLE_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
)
_OPENING = 80  # first characters of a text that serve as its prompt, at most half of it


class PlainForm:
    """Instruction, Input and Response under headings, repeated by later turns; each answer ends with end-of-sequence.

    A system turn replaces the preamble; a tool's result becomes an input.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.begin, self.end = edges(tokenizer)

    def render(self, dialogue: Dialogue) -> Rendered:
        """Render the dialogue with Alpaca's headings."""
        turns = dialogue.with_tools_in_system()
        system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
        paired = any(turn.input for turn in turns)
        text = self.begin + (f"{system}\n\n" if system else PREAMBLE_WITH_INPUT if paired else PREAMBLE)
        spans, answers = [], []
        for turn in turns:
            if turn.role == "user":
                text += f"### Instruction:\n{turn.content}\n\n"
                text += f"### Input:\n{turn.input}\n\n" if turn.input else ""
            elif turn.role == "tool":
                text += f"### Input:\n{turn.content}\n\n"
            elif turn.role == "assistant":
                text += "### Response:\n"
                spans.append((len(text), len(text) + len(turn.content) + len(self.end)))
                text += f"{turn.content}{self.end}\n\n"
                answers.append(turn.content)
        return Rendered(text[: spans[-1][1]], spans, text[: spans[0][0]], answers[0])


def render_text(dialogue: Dialogue, tokenizer: Any) -> Rendered:
    """Render plain text between begin and end tokens; its prompt is its opening, cut between words."""
    begin, end = edges(tokenizer)
    content = dialogue.turns[0].content
    cut = max(1, min(_OPENING, len(content) // 2))
    cut = max(content.rfind(" ", 1, cut + 1), 0) or cut
    spans = [(len(begin), len(begin) + len(content) + len(end))]
    return Rendered(begin + content + end, spans, begin + content[:cut], content[cut:])


def edges(tokenizer: Any) -> tuple[str, str]:
    """Text before and after every example: the token that the tokenizer puts first, if any, and end-of-sequence."""
    first = tokenizer("")["input_ids"][:1]
    begins = tokenizer.bos_token is not None and first == [tokenizer.bos_token_id]
    return str(tokenizer.bos_token) if begins else "", str(tokenizer.eos_token or "")
