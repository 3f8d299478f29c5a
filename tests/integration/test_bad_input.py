"""Every kind of bad input leaves with code 2 and one sentence that names the place and the remedy; no traceback.

A case is the files it needs, the command, and the words its sentence must hold. In the command, ``{tmp}`` is the
case's own folder, ``{good}`` a sound CSV file, ``{teacher}`` a tiny Chronos-2 folder.
"""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from potstill.cli import main

STEPS = 200
TINY = (
    "--context-length 32 --prediction-length 16 --max-steps 1 --student num_layers=1,d_model=32"
    " --set evaluation.baselines=[] --set training.eval_windows=4 --set evaluation.max_windows=4"
)
DISTILL = "distill --teacher {teacher} --output {tmp}/run --data {good} " + TINY
ON = "distill --teacher {teacher} --output {tmp}/run " + TINY + " --data {tmp}/"
WITH = "distill --data {good} --output {tmp}/run " + TINY + " --teacher {tmp}/"
LABEL = (
    "label --teacher {teacher} --data {good} --context-length 32 --prediction-length 16"
    " --set student=num_layers=1,d_model=32 --output "
)
FORECAST = "forecast {teacher} {good} --prediction-length 4 --output {tmp}/"


def stamp(step: int) -> str:
    return f"2024-01-{step // 24 + 1:02d} {step % 24:02d}:00:00"


def csv(value: Callable[[int], object], rows: int = STEPS, when: Callable[[int], str] = stamp) -> str:
    """A CSV of one column ``y``."""
    return "date,y\n" + "".join(f"{when(i)},{value(i)}\n" for i in range(rows))


def wave(step: int) -> float:
    return step % 24 + 0.01 * (step * 7919 % 101)


@dataclass(frozen=True)
class Case:
    name: str
    command: str
    says: tuple[str, ...]
    files: dict[str, str | bytes] | None = None
    prepare: Callable[[Path, Path], object] | None = None


def copied(folder: Path, teacher: Path) -> Path:
    return Path(shutil.copytree(teacher, folder / "model"))


def truncated(folder: Path, teacher: Path) -> None:
    weights = copied(folder, teacher) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def cut_header(folder: Path, teacher: Path) -> None:
    weights = copied(folder, teacher) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:6])


def pickled(name: str) -> Callable[[Path, Path], None]:
    """A checkpoint whose weights are a pickle that would leave a mark if it were loaded."""

    class Mark:
        def __init__(self, path: Path):
            self.path = path

        def __reduce__(self):
            return (Path.touch, (self.path,))

    def prepare(folder: Path, teacher: Path) -> None:
        model = copied(folder, teacher)
        (model / "model.safetensors").unlink()
        (model / name).write_bytes(pickle.dumps(Mark(folder / "pickle was loaded")))

    return prepare


def config(**changes: object) -> Callable[[Path, Path], None]:
    def prepare(folder: Path, teacher: Path) -> None:
        path = copied(folder, teacher) / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return prepare


def broken_config(folder: Path, teacher: Path) -> None:
    (copied(folder, teacher) / "config.json").write_text('{"d_model": ')


def old_run(folder: Path, teacher: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "recipe.yaml").write_text("task: forecast\n")


CASES = [
    # files
    Case("empty file", ON + "a.csv", ("a.csv", "empty"), {"a.csv": ""}),
    Case("blank lines only", ON + "a.csv", ("a.csv", "empty"), {"a.csv": "\n\n \n"}),
    Case("header only", ON + "a.csv", ("a.csv", "no rows"), {"a.csv": "date,y\n"}),
    Case("every row ragged", ON + "a.csv", ("a.csv", "line 2", "3", "2"), {"a.csv": "date,y\n" + "1,2,3\n" * 99}),
    Case("text columns only", ON + "a.csv", ("a.csv", "numeric"), {"a.csv": csv(lambda i: "abc"[i % 3])}),
    Case("all NaN", ON + "a.csv", ("a.csv", "every value is missing in 'y'"), {"a.csv": csv(lambda i: "NaN")}),
    Case("all infinite", ON + "a.csv", ("a.csv", "no values"), {"a.csv": csv(lambda i: "inf")}),
    Case("constant", ON + "a.csv", ("a.csv", "constant"), {"a.csv": csv(lambda i: 5)}),
    Case("too short", ON + "a.csv", ("a", "short"), {"a.csv": csv(wave, rows=12)}),
    Case("unreadable time", ON + "a.csv", ("a.csv", "line"), {"a.csv": csv(wave, when=lambda i: f"day{i}~")}),
    Case(
        "one unreadable time",
        ON + "a.csv",
        ("a.csv", "line 52"),
        {"a.csv": csv(wave, when=lambda i: "soon" if i == 50 else stamp(i))},
    ),
    Case(
        "mixed zones",
        ON + "a.csv",
        ("a.csv", "zone"),
        {"a.csv": csv(wave, when=lambda i: stamp(i) + ("+01:00" if i % 2 else ""))},
    ),
    Case("bytes that are no text", ON + "a.csv", ("a.csv", "no text"), {"a.csv": bytes(range(256)) * 9}),
    Case("picture named csv", ON + "a.csv", ("a.csv", "no text"), {"a.csv": b"\x89PNG\r\n\x1a\n" + b"\0\1\2" * 99}),
    Case("truncated gzip", ON + "a.csv.gz", ("a.csv.gz", "gzip"), {"a.csv.gz": b"\x1f\x8b\x08\0abc"}),
    Case("truncated parquet", ON + "a.parquet", ("a.parquet", "Parquet"), {"a.parquet": b"PAR1abc"}),
    Case("unknown ending", ON + "a.xlsx", ("a.xlsx", ".csv"), {"a.xlsx": "x"}),
    Case("directory without data", ON + "deep", ("deep", ".csv"), {"deep/readme.md": "x"}),
    Case("missing path", ON + "absent.csv", ("absent.csv", "--data")),
    Case("an empty path", "distill --teacher {teacher} --output {tmp}/run --data ''", ("data.paths", "empty")),
    Case("an empty path among others", DISTILL + " --data ' '", ("data.paths", "empty")),
    Case(
        "an empty path in a recipe",
        "distill {tmp}/r.yaml --output {tmp}/run",
        ("data.paths", "empty"),
        {"r.yaml": "data: {paths: ['']}"},
    ),
    Case("label an empty path", "label --teacher {teacher} --output {tmp}/labels --data ''", ("data.paths", "empty")),
    Case("evaluate an empty path", "evaluate {teacher} --output {tmp}/out --data ''", ("data.paths", "empty")),
    Case("forecast an empty path", "forecast {teacher} '' --prediction-length 4 --output {tmp}/f.csv", ("empty",)),
    Case("texts at an empty path", "distill --task language --teacher x --output {tmp}/run --data ''", ("empty",)),
    Case("no data given", "distill --teacher {teacher} --output {tmp}/run", ("--data",)),
    # columns, splits, lengths
    Case("absent target", DISTILL + " --target OT", ("OT", "y")),
    Case("target of text", ON + "a.csv --target s", ("s", "a.csv"), {"a.csv": "s,y\n" + "x,1\nz,2\n" * 99}),
    Case("unknown split", DISTILL + " --split banana", ("banana", "8:1:1")),
    Case("negative split", DISTILL + " --split 8:-1:1", ("8:-1:1",)),
    Case("dates in wrong order", DISTILL + " --split 2024-01-08,2024-01-03", ("2024-01-08",)),
    Case("dates outside", DISTILL + " --split 1999-01-01,1999-02-01", ("1999",)),
    Case("context longer than all", DISTILL + " --prediction-length 30 --split 1:0.1:0.1", ("good",)),
    Case("stride of zero", DISTILL + " --stride 0", ("data.stride",)),
    # models
    Case("absent teacher", WITH + "absent", ("absent",)),
    Case("no teacher given", "distill --data {good} --output {tmp}/run", ("--teacher",)),
    Case("a teacher without a name", "distill --teacher '' --data {good} --output {tmp}/run", ("empty",)),
    Case("labels at an empty path", DISTILL + " --labels ''", ("labels", "empty")),
    Case(
        "forecast with a model without a name",
        "forecast '' {good} --prediction-length 4 --output {tmp}/f.csv",
        ("empty",),
    ),
    Case("folder without model", WITH + "bare", ("bare", "config.json"), {"bare/readme.md": "x"}),
    Case("truncated safetensors", WITH + "model", ("model.safetensors",), prepare=truncated),
    Case("safetensors cut in its header", WITH + "model", ("model.safetensors",), prepare=cut_header),
    Case("pickle named model.bin", WITH + "model", ("model", "safetensors"), prepare=pickled("model.bin")),
    Case("pickled upstream weights", WITH + "model", ("model", "safetensors"), prepare=pickled("pytorch_model.bin")),
    Case("config that is no JSON", WITH + "model", ("config.json",), prepare=broken_config),
    Case(
        "unknown architecture",
        WITH + "model",
        ("model", "Evil", "chronos2"),
        prepare=config(architectures=["Evil"], chronos_config={}, auto_map={"AutoModel": "evil.Evil"}),
    ),
    Case("weights of another shape", WITH + "model", ("model",), prepare=config(d_ff=48)),
    Case("beyond the teacher's horizon", DISTILL + " --prediction-length 48", ("48", "32", "--prediction-length")),
    Case("unknown student setting", DISTILL + " --student d_modle=32", ("d_modle", "d_model")),
    Case("negative width", DISTILL + " --student d_model=-4", ("d_model",)),
    Case("unknown student family", DISTILL + " --student gpt17", ("gpt17", "chronos2")),
    Case("unknown preset", DISTILL + " --student chronos2:preset=9x9", ("9x9", "3x384")),
    Case(
        "more experts per token than experts", DISTILL + " --student experts=2,expert_top_k=3", ("top_k=3", "2 experts")
    ),
    Case(
        "experts in an absent layer",
        DISTILL + " --student num_layers=2,experts=2,expert_layers=[2]",
        ("[2]", "2 layers"),
    ),
    Case("nothing to grow", "mix --teacher {teacher} --data {good} --output {tmp}/run", ("--grow",)),
    Case(
        "growing an absent student",
        "mix --grow {tmp}/absent --teacher {teacher} --data {good} --output {tmp}/run",
        ("absent",),
    ),
    # options and recipes
    Case("alpha of 1.5", DISTILL + " --alpha 1.5", ("objective.alpha", "1.5")),
    Case(
        "shares beyond one",
        DISTILL + " --set data.synthetic=0.8 --set data.augmented=0.8",
        ("data: synthetic + augmented",),
    ),
    Case(
        "teacher's weight without end", "distill --data {good} --output {tmp}/run --teacher {teacher}:inf", ("weight",)
    ),
    Case(
        "a setting that the model lacks",
        "distill --data {good} --output {tmp}/run --teacher {teacher}:patch_size=8",
        ("patch_size", "it has no settings"),
    ),
    Case("teacher's weight of zero", "distill --data {good} --output {tmp}/run --teacher {teacher}:0", ("weight",)),
    Case("misspelt key", DISTILL + " --set training.lerning_rate=1", ("lerning_rate", "learning_rate")),
    Case("unknown term", DISTILL + " --set objective.soft=quantile_macth", ("quantile_macth", "quantile_match")),
    Case(
        "unknown option of a term", DISTILL + " --set objective.terms.soft_median.bias=1", ("soft_median", "arguments")
    ),
    Case("absent imports", DISTILL + " --set imports=[{tmp}/mine.py]", ("mine.py", "imports")),
    Case("unknown baseline", DISTILL + " --set evaluation.baselines=[oracle]", ("oracle", "ridge")),
    Case(
        "recipe that is no YAML", "distill {tmp}/r.yaml --output {tmp}/run", ("r.yaml", "line"), {"r.yaml": "a: [1\nb"}
    ),
    Case("absent recipe", "distill {tmp}/r.yaml --output {tmp}/run", ("r.yaml",)),
    Case("steps and epochs", DISTILL + " --epochs 2", ("max_steps", "epochs")),
    Case("no such device", DISTILL + " --device cuda", ("cuda", "CPU")),
    # runs, labels
    Case("existing run", DISTILL, ("run", "--resume"), prepare=old_run),
    Case("output is a file", DISTILL, ("run", "file"), {"run": "x"}),
    Case("output below a file", DISTILL.replace("/run", "/run/deep"), ("run/deep", "--output"), {"run": "x"}),
    Case("nothing to resume", DISTILL + " --resume", ("run", "resume")),
    Case("absent labels", DISTILL + " --labels {tmp}/labels", ("labels", "potstill label")),
    Case(
        "labels into a full folder",
        LABEL + "{tmp}",
        ("--output",),
        {"x": "x"},
    ),
    # evaluate, forecast, inspect, report
    Case("evaluate an absent model", "evaluate {tmp}/absent --data {good} --output {tmp}/out", ("absent",)),
    Case("evaluate without data", "evaluate {teacher} --output {tmp}/out", ("--data",)),
    Case("forecast to an unknown format", FORECAST + "f.txt", ("f.txt", ".csv")),
    Case("forecast into an absent folder", FORECAST + "deep/er/f.csv", ("deep/er",)),
    Case(
        "forecast an absent file",
        "forecast {teacher} {tmp}/a.csv --prediction-length 4 --output {tmp}/f.csv",
        ("a.csv",),
    ),
    Case("quantiles beyond one", FORECAST + "f.csv --quantiles 0.1,1.5", ("--quantiles", "1.5")),
    Case("forecast on an absent device", FORECAST + "f.csv --device cuda", ("--device", "CPU")),
    Case("forecast an absent column", FORECAST + "f.csv --target OT", ("OT", "y")),
    Case(
        "evaluate on an absent device", "evaluate {teacher} --data {good} --output {tmp}/out --device cuda", ("cuda",)
    ),
    Case("inspect an absent model", "inspect {tmp}/absent", ("absent",)),
    Case("report on an absent run", "report {tmp}/absent", ("absent",)),
    Case("report on a folder that is no run", "report {tmp}", ("metrics.json",)),
]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "good.csv"
    path.write_text(csv(wave))
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(
    case: Case,
    tmp_path: Path,
    good: Path,
    tiny_teacher: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("POTSTILL_TRACEBACK", raising=False)
    for name, content in (case.files or {}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    if case.prepare:
        case.prepare(tmp_path, tiny_teacher)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    command = [part.format(tmp=tmp_path, good=good, teacher=tiny_teacher) for part in shlex.split(case.command)]
    with pytest.raises(SystemExit) as left:
        main(command)

    said = capfd.readouterr().err
    assert left.value.code == 2, said
    assert said.startswith("potstill: ")
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    for word in case.says:
        assert word in said
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "pickle was loaded").exists()


def test_there_are_at_least_thirty_kinds():
    assert len(CASES) >= 30
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_process_of_its_own_says_as_little(tmp_path: Path, tiny_teacher: Path):
    """Libraries hold their tongue too where the command line is what imports them."""
    command = DISTILL.format(tmp=tmp_path, good=tmp_path / "absent.csv", teacher=tiny_teacher)
    quiet = ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS", "POTSTILL_TRACEBACK")
    environment = {key: value for key, value in os.environ.items() if key not in quiet}
    done = subprocess.run(
        [sys.executable, "-m", "potstill", *command.split()],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("potstill: ")
    assert done.stderr.count("\n") == 1
    assert "absent.csv" in done.stderr
