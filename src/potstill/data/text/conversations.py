"""Lists of turns, as ShareGPT and chat APIs write them."""

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
    """The dialogue under ``key``: turns of ``from`` and ``value`` or of ``role`` and ``content``.

    What follows the last answer is left away: there is nothing in it to learn.
    """
    items = _loaded(fields[key])
    if not isinstance(items, list):
        raise Malformed(f"{key} is no list of turns")
    turns = [_turn(item) for item in items]
    last = max((i for i, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    if last is None:
        raise Malformed("no assistant turn")
    turns = turns[: last + 1]
    if any(turn.role == "assistant" and not turn.content.strip() for turn in turns):
        raise Malformed("empty answer")
    return Dialogue(with_system(turns, fields), _tools(fields.get("tools")))


def with_system(turns: list[Turn], fields: dict[str, Any]) -> list[Turn]:
    """The turns, behind what the record's field ``system`` says; a system's turn of their own comes first."""
    system = fields.get("system")
    if system is None or system == "" or turns[0].role == "system":
        return turns
    if not isinstance(system, str):
        raise Malformed("system is no text")
    return [Turn("system", system), *turns] if system.strip() else turns


def _turn(item: Any) -> Turn:
    if not isinstance(item, dict):
        raise Malformed("a turn is no object")
    name, content = (item.get("from"), item.get("value")) if "from" in item else (item.get("role"), item.get("content"))
    role = _ROLE_OF.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise Malformed("a turn's role is unknown")
    if not content and item.get("tool_calls"):
        content = _calls(item["tool_calls"])
    if isinstance(content, list):
        content = "".join(_part(part) for part in content)
    if not isinstance(content, str):
        raise Malformed("a turn's content is no text")
    return Turn(role, content)


def _part(part: Any) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("text"), str):
        raise Malformed("a turn holds more than text")
    return part["text"]


def _calls(calls: Any) -> str:
    """The calls of a turn without content, as an assistant would write them: one JSON object a line."""
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise Malformed("tool_calls is no list of calls")
    return "\n".join(json.dumps(call.get("function", call), ensure_ascii=False) for call in calls)


def _tools(tools: Any) -> str:
    if not tools:
        return ""
    text = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False, default=str)
    return "" if text.strip() in ("[]", "{}", "null") else text.strip()


def _loaded(value: Any) -> Any:
    """A cell of a table holds its turns as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
