"""Records into dialogues: each layout is detected by its keys, and each unusable record has a reason."""

import json

import pytest
from usage_errors import usage_error

from potstill.data.data_report import DataReport
from potstill.data.text.dialogue import Dialogue, Turn
from potstill.data.text.io import Record
from potstill.data.text.parsers import dialogues

USER, ANSWER = Turn("user", "Q"), Turn("assistant", "A")


def read(*records, layout="auto"):
    report = DataReport()
    placed = [Record(f"line {i}", fields) for i, fields in enumerate(records, 1)]
    return [d for _, d in dialogues(placed, layout, "file.jsonl", report, "file")], report


@pytest.mark.parametrize(
    ("fields", "layout", "turns"),
    [
        ({"instruction": "Q", "output": "A"}, "alpaca", [USER, ANSWER]),
        ({"instruction": "Q", "input": "", "output": "A", "system": None}, "alpaca", [USER, ANSWER]),
        ({"instruction": "Q", "input": "I", "output": "A"}, "alpaca", [Turn("user", "Q", "I"), ANSWER]),
        ({"instruction": "Q", "output": "A", "system": "S"}, "alpaca", [Turn("system", "S"), USER, ANSWER]),
        ({"question": "Q", "answer": "A"}, "question_answer", [USER, ANSWER]),
        ({"prompt": "Q", "completion": "A"}, "question_answer", [USER, ANSWER]),
        ({"prompt": "Q", "response": "A"}, "question_answer", [USER, ANSWER]),
        ({"text": " as it is\n"}, "text", [Turn("text", " as it is\n")]),
        (
            {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}], "prompt": "Q"},
            "messages",
            [USER, ANSWER],
        ),
        (
            {"messages": json.dumps([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}])},
            "messages",
            [USER, ANSWER],
        ),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"},
            "sharegpt",
            [Turn("system", "S"), USER, ANSWER],
        ),
        (
            {"conversations": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
            "sharegpt",
            [USER, ANSWER],
        ),
    ],
)
def test_layouts_are_detected_by_their_keys(fields, layout, turns):
    parsed, report = read(fields)
    assert [d.turns for d in parsed] == [turns]
    assert f"read as {layout}" in report.notes
    assert read(fields, layout=layout)[0] == parsed


def test_tools_and_their_results():
    conversation = [
        {"from": "human", "value": "Q"},
        {"from": "function_call", "value": '{"name": "f"}'},
        {"from": "observation", "value": "42"},
        {"from": "gpt", "value": "A"},
        {"from": "human", "value": "thanks"},
    ]
    tools = '[{"name": "f"}]'
    expected = Dialogue([USER, Turn("assistant", '{"name": "f"}'), Turn("tool", "42"), ANSWER], tools)
    assert read({"conversations": conversation, "tools": tools})[0] == [expected]
    assert read({"conversations": conversation, "tools": json.loads(tools)})[0] == [expected]
    assert read({"conversations": conversation, "tools": "[]"})[0][0].tools == ""


def test_messages_of_a_chat_api():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "Q"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "A"},
    ]
    assert read({"messages": messages, "system": "not asked"})[0][0].turns == [
        Turn("system", "S"),
        USER,
        Turn("assistant", '{"name": "f", "arguments": "{}"}'),
        Turn("tool", "42"),
        ANSWER,
    ]


def conversation(*turns):
    return {"conversations": [{"from": who, "value": what} for who, what in turns]}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"instruction": "Q"}, "output is missing"),
        ({"instruction": "Q", "output": None}, "output is missing"),
        ({"instruction": "Q", "output": 3}, "output is not text"),
        ({"instruction": "Q", "output": " \n"}, "empty answer"),
        ({"instruction": "", "input": " ", "output": "A"}, "empty question"),
        ({"instruction": "Q", "input": ["I"], "output": "A"}, "input is not text"),
        ({"instruction": "Q", "output": "A", "system": 3}, "system is not text"),
        ({"instruction": "Q", "output": "half \ud83d"}, "half of a surrogate pair"),
        ({"prompt": "Q"}, "completion is missing"),
        ({"question": "Q", "answer": ""}, "empty answer"),
        ({"text": "  "}, "empty text"),
        ({"messages": None}, "messages is missing"),
        ({"messages": "no list"}, "messages is not a list of turns"),
        ({"messages": []}, "no assistant turn"),
        ({"messages": ["Q", "A"]}, "a turn is not an object"),
        ({"messages": [{"role": "assistant", "content": 3}]}, "a turn's content is not text"),
        ({"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}, "a turn contains more than text"),
        ({"messages": [{"role": "assistant", "tool_calls": "f"}]}, "tool_calls is not a list of calls"),
        (conversation(("human", "Q")), "no assistant turn"),
        (conversation(("human", "Q"), ("gpt", "")), "empty answer"),
        (conversation(("narrator", "Q"), ("gpt", "A")), "a turn's role is unknown"),
    ],
)
def test_why_a_record_is_left_out(fields, why):
    layout = {"instruction": "alpaca", "text": "text", "messages": "messages", "conversations": "sharegpt"}
    parsed, report = read(fields, layout=layout.get(next(iter(fields)), "question_answer"))
    assert parsed == []
    assert report.to_dict()["dropped"] == [{"kind": "records", "why": why, "count": 1, "examples": ["file line 1"]}]


def test_the_layout_of_most_first_records_is_used():
    parsed, report = read({"text": "stray"}, *[{"instruction": "Q", "output": "A"}] * 2, {"a": 1})
    assert len(parsed) == 2
    assert "instruction is missing (2 records)" in report.reasons()


def test_an_unknown_layout_is_a_usage_error():
    with usage_error("data.unknown_layout", "file.jsonl", "a, b", "messages"):
        read({"a": 1}, {"b": 2})


def test_a_file_that_begins_with_unreadable_records():
    report = DataReport()
    records = [Record(f"line {i}", {}, "not valid JSON") for i in range(150)]
    records += [Record("line 150", {"x": 1}), Record("line 151", {"text": "a"})]
    assert len(list(dialogues(records, "auto", "f", report, "f"))) == 1
    assert report.reasons() == ["not valid JSON (150 records)", "unknown layout (1 records)"]


def test_equal_content_has_one_number():
    one, two = (read({"instruction": "Q", "output": "A"})[0][0], read({"question": "Q", "answer": "A"})[0][0])
    assert one.number == two.number
    assert one.number != read({"question": "A", "answer": "Q"})[0][0].number
