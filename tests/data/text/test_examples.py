"""From files to batches: cache, report, padding, and usage errors if nothing is usable."""

import pickle
import stat

import numpy as np
import pytest
from usage_errors import usage_error

from potstill.data.text import open_examples, prompt_of
from potstill.recipe import TextData

ROWS = [{"instruction": f"Name colour {i}.", "input": "", "output": f"Blue {'🎉' * (i % 5)}{i}"} for i in range(40)]
WHOLE = "1:0:0"


def opened(path, tokenizer, part="train", **options):
    return open_examples(TextData(paths=[str(path)], **options), tokenizer, part)


def dropped(examples):
    return {entry["why"]: (entry["count"], entry["examples"]) for entry in examples.report.to_dict()["dropped"]}


@pytest.mark.parametrize("name", ["chat", "bare"])
def test_batches(request, write, name):
    tokenizer = request.getfixturevalue(name)
    examples = opened(write("a.json", ROWS), tokenizer, split=WHOLE)
    assert len(examples) == 40
    assert examples.stores_inputs is False
    batch = examples.batch([3, 0, 9])
    assert batch.ids.tolist() == [3, 0, 9]
    assert batch.attention.sum(1).tolist() == examples.lengths[[3, 0, 9]].tolist()
    assert batch.input_ids.shape == (3, examples.lengths[[3, 0, 9]].max())
    assert (batch.input_ids[~batch.attention] == tokenizer.pad_token_id).all()
    assert not batch.answer[~batch.attention].any()
    assert not batch.answer[:, 0].any()
    for row, i in enumerate((3, 0, 9)):
        prompt, answer = examples.prompts([i])[0], examples.answers([i])[0]
        assert prompt == prompt_of(tokenizer, ROWS[i]["instruction"])
        assert answer == ROWS[i]["output"]
        assert tokenizer.decode(batch.input_ids[row][batch.answer[row]]) == answer + tokenizer.eos_token
        first = int(np.flatnonzero(batch.answer[row])[0])
        assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == batch.input_ids[row, :first].tolist()
    assert len(examples[5]) == 1
    assert len(examples.batch([])) == 0
    with pytest.raises(IndexError, match="from 0 to 39"):
        examples.prompts([40])


def test_without_a_pad_token_rows_are_padded_with_end_of_sequence(tokenizer_with, write):
    padless = tokenizer_with(pad=None)
    assert padless.pad_token_id is None
    batch = opened(write("a.json", ROWS), padless, split=WHOLE).batch(range(5))
    assert (~batch.attention).any()
    assert (batch.input_ids[~batch.attention] == padless.eos_token_id).all()
    assert (batch.attention.sum(1) > 0).all()


def test_parts_share_one_corpus(chat, write):
    path = write("a.jsonl", ROWS + ROWS[:7])
    parts = {part: opened(path, chat, part) for part in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == 47
    assert all(len(part) for part in parts.values())
    prompts = [set(part.prompts(range(len(part)))) for part in parts.values()]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 40
    assert len({part.fingerprint for part in parts.values()}) == 3
    assert f"train: {len(parts['train'])} of 47 examples" in parts["train"].report.notes


def test_three_examples_are_one_per_part(chat, write):
    path = write("a.json", ROWS[:3])
    assert [len(opened(path, chat, part)) for part in ("train", "validation", "test")] == [1, 1, 1]
    assert len(opened(write("b.json", ROWS[:2]), chat, "validation")) == 0


def test_a_corpus_is_built_again_only_if_its_inputs_change(chat, bare, write, monkeypatch):
    from potstill.data.text import cache

    path = write("a.json", ROWS)
    first = opened(path, chat)
    monkeypatch.setattr(cache, "Builder", None)  # building would fail
    again = opened(path, chat)
    assert again.fingerprint == first.fingerprint
    assert (again[0].input_ids == first[0].input_ids).all()
    assert opened(path, chat, split="7:2:1").fingerprint != first.fingerprint
    monkeypatch.undo()
    chat(["padding", "leaves the tokenizer as it was"], padding=True, truncation=True, max_length=3)
    assert opened(path, chat).fingerprint == first.fingerprint
    others = [opened(path, bare), opened(path, chat, max_length=64), opened(path, chat, format="alpaca")]
    others.append(opened(write("a.json", ROWS[1:]), chat))
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_an_incomplete_corpus_is_built_again(chat, write, tmp_path):
    data = TextData(paths=[str(write("a.json", ROWS))])
    first = open_examples(data, chat, "train", tmp_path / "cache")
    ids = first.corpus.folder / "ids.npy"
    assert stat.S_IMODE(ids.stat().st_mode) == 0o644
    assert isinstance(first.corpus.ids, np.memmap)
    ids.write_bytes(ids.read_bytes()[:-400])
    again = open_examples(data, chat, "train", tmp_path / "cache")
    assert (again.lengths == first.lengths).all()
    (tmp_path / "file").write_text("x")
    with usage_error("cache.not_writable", "file", "POTSTILL_CACHE"):
        open_examples(data, chat, "train", tmp_path / "file")


def test_pickled_examples_contain_the_folder_not_the_tokens(chat, write):
    examples = opened(write("a.json", ROWS), chat)
    pickled = pickle.dumps(examples)
    assert len(pickled) < 4000
    assert (pickle.loads(pickled)[1].input_ids == examples[1].input_ids).all()


def test_bad_records_are_counted_and_named(chat, write):
    good = '{"question": "Q", "answer": "A"}'
    lines = [good, "no json", '{"question": "Q"}', '{"question": "Q", "answer": ""}', good]
    examples = opened(write("a.jsonl", "\ufeff" + "\n".join(lines)), chat, split=WHOLE)
    assert len(examples) == 2
    assert dropped(examples) == {
        "not valid JSON": (1, ["a line 2"]),
        "answer is missing": (1, ["a line 3"]),
        "empty answer": (1, ["a line 4"]),
    }
    assert examples.report.used["examples"] == 2
    assert examples.report.used["tokens"] == examples.lengths.sum()


def test_long_answers_are_cut_and_long_prompts_are_left_out(chat, write):
    rows = [
        {"question": "short?", "answer": "x " * 200},
        {"question": "x " * 200, "answer": "never reached"},
        {"question": "short?", "answer": "short."},
    ]
    examples = opened(write("a.json", rows), chat, split=WHOLE, max_length=64)
    assert examples.lengths.tolist()[0] == 64
    assert examples.lengths.max() == 64
    assert len(examples) == 2
    assert examples[0].answer[0, -1]
    assert dropped(examples) == {"prompt longer than max_length": (1, ["a record 2"])}
    cut = examples.report.to_dict()["repaired"]
    assert cut == [{"how": "answers cut at max_length = 64", "count": 1, "examples": ["a record 1"]}]


def test_one_answer_token_within_max_length_is_enough(chat, write):
    path = write("a.json", ROWS[:1])
    prompt = len(chat(prompt_of(chat, ROWS[0]["instruction"]))["input_ids"])
    assert opened(path, chat, max_length=prompt + 1)[0].answer.sum() == 1
    with usage_error("data.no_usable_records", "a.json", "prompt longer than max_length (1 records)"):
        opened(path, chat, max_length=prompt)


def test_an_unusable_file_among_others_is_left_out(chat, write, tmp_path):
    write("good.json", ROWS)
    write("broken.json", "[{]")
    write("empty.jsonl", "")
    write("strange.csv", "a,b\n1,2\n")
    examples = opened(tmp_path / "files", chat, split=WHOLE)
    assert len(examples) == 40
    assert sorted(name for _, names in dropped(examples).values() for name in names) == ["broken", "empty", "strange"]
    assert examples.report.used["files"] == 1
    with usage_error("data.unreadable_json", "broken.json line 1:", "2 more file(s)"):
        opened(tmp_path / "files", chat, exclude=["good"])


@pytest.mark.parametrize(
    ("content", "key", "fact"),
    [
        ("[]", "data.no_records", "a.json"),
        ([{"instruction": "Q", "output": ""}], "data.no_usable_records", "empty answer (1 records)"),
        ([{"a": 1}], "data.unknown_layout", "keys a;"),
    ],
)
def test_nothing_usable_is_a_usage_error(chat, write, content, key, fact):
    with usage_error(key, "a.json", fact):
        opened(write("a.json", content), chat)


def test_a_forced_format(chat, write):
    path = write("a.json", [{"text": "T", "question": "Q", "answer": "A"}])
    assert opened(path, chat).answers([0]) == ["A"]
    assert opened(path, chat, format="text").prompts([0]) == ["T"]
    with usage_error("data.no_usable_records", "a.json", "instruction is missing"):
        opened(path, chat, format="alpaca")


def test_changes_for_the_chat_template_are_reported(tokenizer_with, write):
    strict = (
        "{% for m in messages %}{{ raise_exception('no system') if m.role == 'system' }}{{ m.content }}{% endfor %}"
    )
    rows = [{**row, "system": "Be brief."} for row in ROWS[:4]]
    text = "\n".join(opened(write("a.json", rows), tokenizer_with(strict)).report.lines())
    assert "4 dialogues with the system turn folded into a user turn" in text
    assert "no chat template; Alpaca" in "\n".join(opened(write("a.json", rows), tokenizer_with()).report.lines())


def test_a_split_for_series_is_an_error_before_files_are_read(chat):
    with usage_error("split.unreadable", "data.split", "'ett'"):
        open_examples(TextData(paths=["nowhere"], split="ett"), chat, "train")


@pytest.mark.parametrize(
    ("name", "format", "count"),
    [
        ("alpaca_en_demo.json", "alpaca", 999),
        ("glaive_toolcall_en_demo.json", "sharegpt", 300),
        ("synthetic_conversations_1k.jsonl", "messages", 1000),
    ],
)
def test_real_files(chat, shared_data, name, format, count):
    path = shared_data / "text" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    examples = opened(path, chat, split=WHOLE, max_length=4096)
    assert f"read as {format}" in examples.report.notes
    assert len(examples) + sum(n for n, _ in dropped(examples).values()) == count
    assert len(examples) > 0.98 * count
