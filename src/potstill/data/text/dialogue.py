"""A dialogue as a list of turns, and its rendered text with the position of the answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import NamedTuple

ROLES = ("system", "user", "assistant", "tool", "text")


class Malformed(Exception):
    """A record that cannot be used; the message is a short reason that is the same for many records."""


class Turn(NamedTuple):
    """One turn: ``role`` is system, user, assistant (an answer), tool (the result of a call) or text (all of it is
    trained on).

    ``input`` is Alpaca's field for the material that a user's instruction refers to.
    """

    role: str
    content: str
    input: str = ""

    @property
    def whole(self) -> str:
        """Content and input as one text, for chat templates, which have no input."""
        return f"{self.content}\n\n{self.input}" if self.content and self.input else self.content or self.input


@dataclass
class Dialogue:
    """The turns of one example; ``tools`` describes what the assistant may call, usually as JSON."""

    turns: list[Turn]
    tools: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it is plain text, without roles."""
        return self.turns[0].role == "text"

    @property
    def number(self) -> int:
        """64 bits of the content's sha256: equal dialogues have equal numbers in any file and with any tokenizer."""
        content = json.dumps([self.turns, self.tools]).encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")

    def with_tools_in_system(self) -> list[Turn]:
        """The turns, with the tools described at the end of the system turn."""
        if not self.tools:
            return self.turns
        description = f"You have access to these tools:\n{self.tools}"
        if self.turns[0].role != "system":
            return [Turn("system", description), *self.turns]
        return [Turn("system", f"{self.turns[0].content}\n\n{description}"), *self.turns[1:]]


@dataclass
class Rendered:
    """A dialogue as the text that a model reads.

    Attributes
    ----------
    text
        The whole text including special tokens; tokenise it with ``add_special_tokens=False``.
    spans
        Start and end of each answer in ``text``, its end-of-turn token included.
    prompt, answer
        The text before the first answer, and that answer's content.
    repairs
        How the dialogue was changed to fit the chat template, for the report.
    """

    text: str
    spans: list[tuple[int, int]]
    prompt: str
    answer: str
    repairs: list[str] = field(default_factory=list)
