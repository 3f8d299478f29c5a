"""What a record becomes: turns of a dialogue; and what those become: text with the answers marked in it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import NamedTuple

ROLES = ("system", "user", "assistant", "tool", "text")


class Malformed(Exception):
    """A record that cannot be used; the message says why in a few words that many records may share."""


class Turn(NamedTuple):
    """One turn: ``role`` is system, user, assistant (an answer), tool (what a call gave) or text (all of it counts).

    ``input`` is Alpaca's: what a user's instruction is about, where it stands apart.
    """

    role: str
    content: str
    input: str = ""

    @property
    def whole(self) -> str:
        """Content and input as one text, for forms that know no input."""
        return f"{self.content}\n\n{self.input}" if self.content and self.input else self.content or self.input


@dataclass
class Dialogue:
    """The turns of one example; ``tools`` describes what the assistant may call, mostly as JSON."""

    turns: list[Turn]
    tools: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it is plain text, without roles."""
        return self.turns[0].role == "text"

    @property
    def number(self) -> int:
        """64 bits of the content's sha256: equal dialogues have equal numbers, whatever the file or tokenizer."""
        content = json.dumps([self.turns, self.tools]).encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")

    def with_tools_in_system(self) -> list[Turn]:
        """The turns, the tools described at the end of the system's turn."""
        if not self.tools:
            return self.turns
        says = f"You have access to these tools:\n{self.tools}"
        if self.turns[0].role != "system":
            return [Turn("system", says), *self.turns]
        return [Turn("system", f"{self.turns[0].content}\n\n{says}"), *self.turns[1:]]


@dataclass
class Rendered:
    """A dialogue as a model reads it.

    Attributes
    ----------
    text
        All of it, special tokens written out; to be tokenised without adding any.
    spans
        Start and end of each answer in ``text``, its end-of-turn token included.
    prompt, answer
        What stands before the first answer, and that answer's content.
    repairs
        How the dialogue was bent to fit the form, for the report.
    """

    text: str
    spans: list[tuple[int, int]]
    prompt: str
    answer: str
    repairs: list[str] = field(default_factory=list)
