"""Parse lists of turns in the formats of ShareGPT and of chat APIs."""

from __future__ import annotations

import json
from typing import Any

from potstill.data.text.dialogue import Dialogue, Malformed, Turn

_ROLE_OF = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
}


def conversation(fields: dict[str, Any], key: str) -> Dialogue:
    """Parse the dialogue under ``key``: turns with ``from`` and ``value`` or with ``role`` and ``content``.

    Turns after the last answer are dropped: there is nothing to train on.

    Raises
    ------
    Malformed
        The record has no usable dialogue.
    """
    items = _loaded(fields[key])
    if not isinstance(items, list):
        raise Malformed(f"{key} is not a list of turns")
    turns = [_turn(item) for item in items]
    last = max((i for i, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    if last is None:
        raise Malformed("no assistant turn")
    turns = turns[: last + 1]
    if any(turn.role == "assistant" and not turn.content.strip() for turn in turns):
        raise Malformed("empty answer")
    return Dialogue(with_system(turns, fields), _tools(fields.get("tools")))


def with_system(turns: list[Turn], fields: dict[str, Any]) -> list[Turn]:
    """Add the record's field ``system`` as a first turn, unless the turns begin with a system turn."""
    system = fields.get("system")
    if system is None or system == "" or turns[0].role == "system":
        return turns
    if not isinstance(system, str):
        raise Malformed("system is not text")
    return [Turn("system", system), *turns] if system.strip() else turns


def _turn(item: Any) -> Turn:
    if not isinstance(item, dict):
        raise Malformed("a turn is not an object")
    name, content = (item.get("from"), item.get("value")) if "from" in item else (item.get("role"), item.get("content"))
    role = _ROLE_OF.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise Malformed("a turn's role is unknown")
    if not content and item.get("tool_calls"):
        content = _calls(item["tool_calls"])
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if not isinstance(content, str):
        raise Malformed("a turn's content is not text")
    return Turn(role, content)


def _part(part: Any) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("text"), str):
        raise Malformed("a turn contains more than text")
    return part["text"]


def _calls(calls: Any) -> str:
    """The tool calls of a turn without content as text: one JSON object per line."""
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise Malformed("tool_calls is not a list of calls")
    return "\n".join(json.dumps(call.get("function", call), ensure_ascii=False) for call in calls)


def _tools(tools: Any) -> str:
    if not tools:
        return ""
    text = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False, default=str)
    return "" if text.strip() in ("[]", "{}", "null") else text.strip()


def _loaded(value: Any) -> Any:
    """Decode turns that are JSON text, as in the cell of a table; None if it is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
