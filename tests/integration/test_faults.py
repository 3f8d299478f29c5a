"""Faults that were found by trying: each leaves with code 2 and one sentence, or is said; none waits for ever.

In a command, ``{tmp}`` is the case's own folder, ``{good}`` a sound CSV file, ``{linear}`` an untrained linear student,
``{language}`` a tiny language model.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_gpt2 import save_gpt2
from usage_errors import usage_error

from potstill.cli import main
from potstill.families.small.linear import LinearFamily
from potstill.families.small.mixer import MixerFamily
from potstill.runs import writing_into

SECONDS = 30  # a command that takes longer waits for something that does not come
HUGE = "99999999999999999999"
DRY = "distill --teacher embedded --data {good} --context-length 32 --prediction-length 8 --output {tmp}/x --dry-run "
RECIPE = "distill {tmp}/r.yaml --output {tmp}/x --dry-run"
FORECAST = "forecast {linear} {good} --prediction-length 4 --output {tmp}/o.csv "
OF_MODEL = "forecast {tmp}/m {good} --prediction-length 4 --output {tmp}/o.csv"
OF_FILE = "forecast {linear} {tmp}/x.csv --prediction-length 4 --output {tmp}/o.csv"
TEXTS = (
    "distill --task language --teacher {language} --student n_layer=1 --output {tmp}/x --dry-run"
    " --set data.max_length=250 --data {tmp}/"
)
GENERATE = "generate {language} x --max-new-tokens 2 "
ALPACA = '{"instruction": "a", "output": "b"}'

Prepare = Callable[[Path, Path], object]


@dataclass(frozen=True)
class Fault:
    name: str
    command: str
    says: tuple[str, ...]
    prepare: Prepare | None = None


def table(values: Callable[[int], str], header: str = "date,a,b", rows: int = 120, freq: str = "h") -> str:
    stamps = pd.date_range("2023-01-01", periods=rows, freq=freq)
    return f"{header}\n" + "".join(f"{stamp},{values(i)}\n" for i, stamp in enumerate(stamps))


def pair(i: int) -> str:
    return f"{20 + 5 * np.sin(i / 3):.3f},{i % 7}"


def written(name: str, text: str) -> Prepare:
    return lambda folder, model: (folder / name).write_text(text)


def config(**changes: object) -> Prepare:
    def prepare(folder: Path, model: Path) -> None:
        path = Path(shutil.copytree(model, folder / "m")) / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return prepare


def piped(name: str) -> Prepare:
    """A model one of whose files is a pipe that nobody writes into."""

    def prepare(folder: Path, model: Path) -> None:
        path = Path(shutil.copytree(model, folder / "m")) / name
        path.unlink()
        os.mkfifo(path)

    return prepare


def pipe(name: str) -> Prepare:
    return lambda folder, model: os.mkfifo(folder / name)


def weights(value: float) -> Prepare:
    def prepare(folder: Path, model: Path) -> None:
        path = Path(shutil.copytree(model, folder / "m")) / "model.safetensors"
        tensors = load_file(path)
        tensors["trend"][0, 0] = value
        save_file(tensors, path)

    return prepare


def stray_quote(folder: Path, model: Path) -> None:
    lines = table(pair).splitlines()
    stamp = lines[61].split(",")[0]
    lines[61] = f'{stamp},"23.251,4'
    (folder / "x.csv").write_text("\n".join(lines) + "\n")


def hidden_file(folder: Path, model: Path) -> None:
    (folder / "x").mkdir()
    (folder / "x" / ".recipe.yaml.abc").touch()


def imported(folder: Path, model: Path) -> None:
    (folder / "t.txt").write_text("x=1\n")
    (folder / "r.yaml").write_text(f"imports: [{folder}/t.txt]\nteacher: embedded\ndata: {{paths: [embedded]}}\n")


BOMB = "a: &a {x: 1}\nb0: &b0 {<<: [*a, *a]}\n" + "".join(
    f"b{k}: &b{k} {{<<: [{', '.join([f'*b{k - 1}'] * 10)}]}}\n" for k in range(1, 12)
)

FAULTS = [
    # numbers that are too large or not finite
    Fault("epochs without end", DRY + "--epochs inf", ("training.epochs", "finite")),
    Fault("epochs that are no number", DRY + "--epochs nan", ("training.epochs", "finite")),
    Fault("epochs beyond all", DRY + "--epochs 1e300", ("training.epochs", "1,000,000")),
    Fault("stride beyond all", DRY + f"--stride {HUGE}", ("data.stride", "4,294,967,295")),
    Fault("batch beyond all", DRY + f"--batch-size {HUGE}", ("training.batch_size", "4,294,967,295")),
    Fault("steps beyond all", DRY + f"--max-steps {HUGE}", ("training.max_steps", "4,294,967,295")),
    Fault("context beyond all", DRY + f"--context-length {HUGE}", ("data.context_length", "4,294,967,295")),
    Fault("seed beyond all", DRY + f"--seed {HUGE}", ("training.seed", "4,294,967,295")),
    Fault("seed below zero", DRY + "--seed -1", ("training.seed", "0")),
    Fault("a layer beyond all", DRY + f"--set student.layers=[{HUGE}]", ("student.layers", "4,294,967,295")),
    Fault("horizon beyond all", FORECAST + "--prediction-length 99999999999", ("--prediction-length", "100,000")),
    Fault("horizon of zero", FORECAST + "--prediction-length 0", ("--prediction-length", "1")),
    Fault("temperature next to zero", GENERATE + "--temperature 1e-300", ("--temperature", "0.001")),
    Fault("temperature beyond all", GENERATE + "--temperature 1e300", ("--temperature", "1000")),
    Fault("temperature that is no number", GENERATE + "--temperature nan", ("--temperature", "0.001")),
    Fault("seed of an answer", GENERATE + f"--temperature 1 --seed {HUGE}", ("--seed", "4,294,967,295")),
    # YAML
    Fault("a tag in a setting", DRY + "--set 'training.seed=!!int abc'", ("training.seed", "!!int")),
    Fault("a tag that makes an object", DRY + "--set 'imports=!!python/name:os.system x'", ("imports", "!!python")),
    Fault("a tag in a recipe", RECIPE, ("r.yaml line 1", "!!int"), written("r.yaml", "training: {seed: !!int abc}\n")),
    Fault("brackets without end", RECIPE, ("r.yaml line 1", "32"), written("r.yaml", "data: " + "[" * 999)),
    Fault("a bomb of merges", RECIPE, ("r.yaml line 1", "anchors"), written("r.yaml", BOMB)),
    Fault("imports of a text file", RECIPE, ("imports", "t.txt", ".py"), imported),
    Fault("a recipe that is a pipe", RECIPE, ("r.yaml", "regular file"), pipe("r.yaml")),
    # paths
    Fault("a home that does not exist", FORECAST.replace("{good}", "'~nosuchuser/x.csv'"), ("~nosuchuser/x.csv",)),
    Fault("a model in it", FORECAST.replace("{linear}", "'~nosuchuser/m'"), ("~nosuchuser/m", "no such folder")),
    Fault("a teacher in it", DRY.replace("embedded", "'~nosuchuser/m'"), ("~nosuchuser/m", "no such folder")),
    Fault("inspect in it", "inspect '~nosuchuser/m'", ("~nosuchuser/m", "no such folder")),
    Fault("inspect the root", "inspect /", ("/", "config.json")),
    Fault("inspect the current folder", "inspect .", (".", "config.json")),
    Fault("inspect the folder above", "inspect ..", ("..", "config.json")),
    Fault("an output that is a folder", FORECAST, ("o.csv", "folder"), lambda tmp, model: (tmp / "o.csv").mkdir()),
    Fault("data that are a pipe", OF_FILE, ("x.csv", "pipe"), pipe("x.csv")),
    Fault("texts that are a pipe", TEXTS + "x.json", ("x.json", "pipe"), pipe("x.json")),
    Fault("resuming what never began", DRY.replace("--dry-run", "--resume"), ("x", "--resume"), hidden_file),
    # models
    Fault("weights that are a pipe", OF_MODEL, ("model.safetensors", "pipe"), piped("model.safetensors")),
    Fault("a config that is a pipe", OF_MODEL, ("config.json", "pipe"), piped("config.json")),
    Fault("a weight that is NaN", OF_MODEL, ("m", "trend", "NaN"), weights(np.nan)),
    Fault("a weight that is infinite", OF_MODEL, ("m", "trend", "infinite"), weights(np.inf)),
    Fault("a window of zero", OF_MODEL, ("config.json", "window=0"), config(window=0)),
    Fault("an even window", OF_MODEL, ("config.json", "window=24"), config(window=24)),
    Fault("a window of text", OF_MODEL, ("config.json", "window='x'"), config(window="x")),
    Fault("a huge window", OF_MODEL, ("config.json", "window"), config(window=10**12)),
    Fault("levels out of order", OF_MODEL, ("m:", "linear"), config(levels=[0.9, 0.8, *[0.7] * 7])),
    Fault("a spread of zero", OF_MODEL, ("config.json", "spread"), config(spread=0)),
    # tables and texts
    Fault("a stray quote", OF_FILE, ("x.csv line 62", "quote"), stray_quote),
    Fault("two arrays", TEXTS + "x.json", ("x.json line 1", "array"), written("x.json", f"[{ALPACA}][{ALPACA}]")),
    Fault("an array a line", TEXTS + "x.jsonl", ("x.jsonl line 2", "array"), written("x.jsonl", "[1]\n[2]\n")),
    Fault("text after an array", TEXTS + "x.jsonl", ("x.jsonl line 2",), written("x.jsonl", f"[{ALPACA}]\n{ALPACA}\n")),
    Fault("deep JSON", TEXTS + "x.json", ("x.json",), written("x.json", "[" * 99_999)),
]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "good.csv"
    path.write_text(table(pair, rows=200))
    return path


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("faults") / "linear"
    family = LinearFamily()
    family.build(family.design(None, {}, 64, 16), dropout=0.0).save(folder)
    return folder


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("faults") / "language", positions=256)


@pytest.fixture
def potstill(
    tmp_path: Path, good: Path, linear: Path, language: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], int]]:
    """Runs a command in the case's own folder and gives its exit code; stops it when it waits too long."""
    monkeypatch.delenv("POTSTILL_TRACEBACK", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def late(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"the command waits for more than {SECONDS} seconds")

    def run(command: str) -> int:
        parts = [
            part.format(tmp=tmp_path, good=good, linear=linear, language=language) for part in shlex.split(command)
        ]
        with pytest.raises(SystemExit) as left:
            main(parts)
        return int(left.value.code or 0)

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield run
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_one_sentence(
    fault: Fault, potstill: Callable[[str], int], tmp_path: Path, linear: Path, capfd: pytest.CaptureFixture[str]
):
    if fault.prepare:
        fault.prepare(tmp_path, linear)
    code = potstill(fault.command)
    said = capfd.readouterr().err
    assert code == 2, said
    assert said.startswith("potstill: ")
    assert said.count("\n") == 1, said
    for word in fault.says:
        assert word in said
    assert not (tmp_path / "o.csv").is_file()


def test_columns_of_one_name_are_numbered(potstill: Callable[[str], int], tmp_path: Path, capfd):
    (tmp_path / "x.csv").write_text(table(lambda i: f"{i % 5},{10 + i % 3},{20 + i % 4}", "date,a,a,a.1"))
    assert potstill(OF_FILE) == 0
    found = pd.read_csv(tmp_path / "o.csv").groupby("unique_id")["q0.5"].median()
    assert list(found.index) == ["a", "a.1", "a.2"]
    assert 0 <= found["a"] <= 4
    assert 10 <= found["a.2"] <= 12
    assert 20 <= found["a.1"] <= 23
    assert "the column name 'a' is used twice" in capfd.readouterr().err


def test_steps_of_a_microsecond(potstill: Callable[[str], int], tmp_path: Path):
    (tmp_path / "x.csv").write_text(table(lambda i: pair(i).split(",")[0], "date,a", freq="us"))
    assert potstill(OF_FILE) == 0
    stamps = pd.read_csv(tmp_path / "o.csv", parse_dates=["date"])["date"]
    assert list(stamps) == list(pd.date_range("2023-01-01 00:00:00.000120", periods=4, freq="us"))


def test_small_changes_on_a_large_offset_are_kept(potstill: Callable[[str], int], tmp_path: Path):
    (tmp_path / "x.csv").write_text(table(lambda i: f"{1e9 + i % 5:.1f},{1e15 + i % 5:.1f}"))
    assert potstill(OF_FILE) == 0
    found = pd.read_csv(tmp_path / "o.csv").groupby("unique_id")
    for name, offset in (("a", 1e9), ("b", 1e15)):
        one = found.get_group(name)
        assert one["q0.5"].sub(offset).between(-1, 5).all()
        assert (one["q0.9"] - one["q0.1"]).gt(0.5).all()


def test_a_folder_names_the_files_that_it_leaves_out(potstill: Callable[[str], int], tmp_path: Path, capfd):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "good.csv").write_text(table(pair))
    (folder / "empty.csv").touch()
    (folder / "text.csv").write_text("a,b\nx,y\n")
    (folder / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\1\2" * 9)
    os.mkfifo(folder / "pipe.csv")
    (folder / "link.csv").symlink_to("nowhere.csv")
    (Path(os.fsdecode(os.fsencode(folder) + b"/b\xff.csv"))).write_text(table(pair))
    assert potstill("forecast {linear} {tmp}/folder --prediction-length 4 --output {tmp}/o.csv") == 0
    said = capfd.readouterr().err
    for name in ("empty.csv", "text.csv", "picture.csv", "pipe.csv", "link.csv", r"b\xff.csv"):
        assert f"folder/{name}" in said
    assert said.count("left out: 1 files") == 6
    assert "2 series in, 2 out" in said


def test_money_is_read_and_said(potstill: Callable[[str], int], tmp_path: Path, capfd):
    (tmp_path / "x.csv").write_text(table(lambda i: f'"${1000 + i % 7 * 13:,}.50"', "date,price", freq="D"))
    assert potstill(OF_FILE) == 0
    assert pd.read_csv(tmp_path / "o.csv")["q0.5"].between(1000, 1080).all()
    assert "'$1,000.50' (line 2) is read as 1000.5" in capfd.readouterr().err


def test_a_number_that_cannot_be_read_is_said(potstill: Callable[[str], int], tmp_path: Path, capfd):
    (tmp_path / "x.csv").write_text(table(lambda i: "twelve" if i == 40 else str(i % 7), "date,price"))
    assert potstill(OF_FILE) == 0
    said = capfd.readouterr().err
    assert "1 unreadable cells taken as missing" in said
    assert "line 42: 'twelve'" in said


@pytest.mark.parametrize(
    "changes",
    [{"patch_size": 0}, {"num_layers": -1}, {"d_ff": 10**9}, {"levels": []}, {"spread": "wide"}, {"spread": -1.0}],
    ids=str,
)
def test_no_config_of_a_mixer_is_believed(changes: dict[str, object], tmp_path: Path, capfd, potstill):
    family = MixerFamily()
    family.build(family.design(None, {"patch_size": 16, "d_model": 8}, 64, 16), dropout=0.0).save(tmp_path / "mixer")
    config(**changes)(tmp_path, tmp_path / "mixer")
    assert potstill(OF_MODEL) == 2
    assert capfd.readouterr().err.count("\n") == 1


FULL = [
    OSError(errno.ENOSPC, "No space left on device", "optimizer.pt"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),  # what torch.save says
    ValueError("I/O error: No space left on device (os error 28)"),  # what safetensors says
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: str(error)[:20])
def test_a_full_disk_is_a_usage_error(error: Exception, tmp_path: Path):
    with usage_error("output.disk_full", str(tmp_path), "--resume"), writing_into(tmp_path):
        raise error


def test_other_errors_of_a_run_stay_as_they_are(tmp_path: Path):
    with pytest.raises(ValueError, match="another"), writing_into(tmp_path):
        raise ValueError("another")


def test_a_run_whose_folder_is_removed_says_so(
    potstill: Callable[[str], int], tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
):
    """The folder goes after the first step, when the log is written."""
    from potstill.training.callbacks import RunLog

    write = RunLog._write

    def remove_then_write(log: RunLog, line: dict[str, object]) -> None:
        shutil.rmtree(tmp_path / "x")
        write(log, line)

    monkeypatch.setattr(RunLog, "_write", remove_then_write)
    command = DRY.replace("--dry-run", "--student linear --max-steps 2 --batch-size 4 --device cpu")
    assert potstill(command + "--set training.eval_windows=2 --set evaluation.max_windows=2") == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}/x: the folder was removed" in last
