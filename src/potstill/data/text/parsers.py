"""Parse records into dialogues, with one function per layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

from potstill.data.data_report import DataReport
from potstill.data.text.conversations import conversation, with_system
from potstill.data.text.dialogue import Dialogue, Malformed, Turn
from potstill.data.text.io import Record
from potstill.data.text.layouts import KNOWN_LAYOUTS, QUESTION_ANSWER_KEYS, detect
from potstill.errors import UserError

_PROBED = 100  # records that decide a file's layout
_SHOWN = 8  # keys listed in a message


def dialogues(
    records: Iterable[Record], layout: str, file: str, report: DataReport, name: str
) -> Iterator[tuple[str, Dialogue]]:
    """The usable dialogues of a file and their places; unusable records are counted in ``report``.

    Parameters
    ----------
    layout
        ``data.format``; ``auto`` takes the layout that fits most of the file's first records.
    file, name
        The file's path for messages, and its name in the report.

    Raises
    ------
    UserError
        No layout fits.
    """
    records = iter(records)
    head = list(islice(records, _PROBED))
    if layout == "auto":
        readable = [record.fields for record in head if not record.fault]
        layout = detect(readable) or ""
        if readable and not layout:
            keys = ", ".join(list(dict.fromkeys(str(key) for fields in readable for key in fields))[:_SHOWN])
            raise UserError(
                f"{file}: unknown layout with the keys {keys or '(none)'}; expected {KNOWN_LAYOUTS}.",
                key="data.unknown_layout",
            )
    for record in chain(head, records):
        try:
            if record.fault:
                raise Malformed(record.fault)
            layout = layout or detect([record.fields]) or ""  # the first records may all be faulty
            if not layout:
                raise Malformed("unknown layout")
            yield record.place, _valid(_READERS[layout](record.fields))
        except Malformed as error:
            report.add_dropped(f"{name} {record.place}", str(error), kind="records")
    if layout:
        report.add_note(f"read as {layout}")


def _valid(dialogue: Dialogue) -> Dialogue:
    try:
        for turn in dialogue.turns:
            turn.content.encode()
            turn.input.encode()
        dialogue.tools.encode()
    except UnicodeEncodeError:
        raise Malformed("half of a surrogate pair") from None
    return dialogue


def _text(fields: dict[str, Any], key: str, needed: bool = True) -> str:
    value = fields.get(key)
    if value is None and not needed:
        return ""
    if value is None:
        raise Malformed(f"{key} is missing")
    if not isinstance(value, str):
        raise Malformed(f"{key} is not text")
    return value


def _pair(fields: dict[str, Any], question: str, answer: str, more: str | None = None) -> list[Turn]:
    user = Turn("user", _text(fields, question), _text(fields, more, needed=False) if more else "")
    reply = _text(fields, answer)
    if not reply.strip():
        raise Malformed("empty answer")
    if not user.whole.strip():
        raise Malformed("empty question")
    return with_system([user if user.input.strip() else Turn("user", user.content), Turn("assistant", reply)], fields)


def _alpaca(fields: dict[str, Any]) -> Dialogue:
    return Dialogue(_pair(fields, "instruction", "output", "input"))


def _question_answer(fields: dict[str, Any]) -> Dialogue:
    keys = next((pair for pair in QUESTION_ANSWER_KEYS if pair[0] in fields and pair[1] in fields), None)
    # without a complete pair, the message names the missing key of the first pair that has one
    return Dialogue(
        _pair(
            fields,
            *(
                keys
                or next((p for p in QUESTION_ANSWER_KEYS if p[0] in fields or p[1] in fields), QUESTION_ANSWER_KEYS[0])
            ),
        )
    )


def _plain(fields: dict[str, Any]) -> Dialogue:
    text = _text(fields, "text")
    if not text.strip():
        raise Malformed("empty text")
    return Dialogue([Turn("text", text)])


def _conversation(key: str) -> Callable[[dict[str, Any]], Dialogue]:
    def read(fields: dict[str, Any]) -> Dialogue:
        if fields.get(key) is None:
            raise Malformed(f"{key} is missing")
        return conversation(fields, key)

    return read


_READERS: dict[str, Callable[[dict[str, Any]], Dialogue]] = {
    "messages": _conversation("messages"),
    "sharegpt": _conversation("conversations"),
    "alpaca": _alpaca,
    "question_answer": _question_answer,
    "text": _plain,
}
