"""The command line: what it asks of the verbs, what it says and how it leaves."""

import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

import potstill
from potstill.cli import _spread, main
from potstill.errors import UserError
from potstill.recipe import Recipe

HEAVY = "[m for m in ('torch', 'transformers', 'pandas', 'plotly') if m in sys.modules]"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list:
    """Verbs that only write down how they were called: [(verb, arguments, keywords)]."""
    seen: list = []
    fake = types.ModuleType("potstill.verbs")
    for verb in ("distill", "label", "evaluate", "forecast", "report"):
        setattr(fake, verb, lambda *a, _verb=verb, **k: seen.append((_verb, a, k)))
    fake.inspect = lambda model: {"family": "chronos2", "parameters": 1234567, "kept": {"layers": [0, 3]}}  # type: ignore
    _install(monkeypatch, fake)
    return seen


def _install(monkeypatch: pytest.MonkeyPatch, fake: types.ModuleType) -> None:
    monkeypatch.setitem(sys.modules, "potstill.verbs", fake)
    monkeypatch.setattr(potstill, "verbs", fake, raising=False)


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    fake = types.ModuleType("potstill.verbs")

    def report(run: str) -> None:
        raise error

    fake.report = report  # type: ignore
    _install(monkeypatch, fake)


def _leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return left.value.code  # type: ignore


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ["--help"]),
        (0, ["distill", "--help"]),
        (0, ["--version"]),
        (2, ["distill", "--otput", "x"]),
        (2, ["distill", "--output", "x", "--set", "training.lerning_rate=1"]),
    ],
)
def test_answers_without_importing_torch(code: int, arguments: list[str]):
    program = (
        "import sys\nfrom potstill.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as left: print(left.code, {HEAVY}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == f"{code} []"


def test_importing_the_package_imports_nothing_heavy():
    program = f"import sys, potstill; print({HEAVY}, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False"


def test_every_name_in_all_is_offered():
    assert set(potstill.__all__) <= set(dir(potstill))
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        _ = potstill.distil


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "potstill", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"potstill {potstill.__version__}"


def test_no_arguments_print_the_help(capsys: pytest.CaptureFixture):
    assert _leave() == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("distill", "label", "evaluate", "forecast", "inspect", "report"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["distill"],
        ["distill", "--output"],
        ["distill", "--output", "x", "--epochs", "many"],
        ["distill", "--output", "x", "--alpha", "1.5"],
        ["distill", "--output", "x", "--set", "alpha"],
        ["distill", "--output", "x", "--set", "objective.alpha=[1"],
        ["distill", "--output", "x", "--set", "objective.alpha.beta=1"],
        ["distill", "--output", "x", "--student", "mixer:num_layers"],
        ["distill", "absent.yaml", "--output", "x"],
        ["label", "--output", "x", "--engine", "ray"],
        ["evaluate", "--data", "a.csv", "--output", "x"],
        ["evaluate", "m", "--output", "x", "--set", "training.seed=1"],
        ["forecast", "m", "d", "--prediction-length", "0", "--output", "f.csv"],
        ["forecast", "m", "d", "--prediction-length", "3", "--output", "f.csv", "--quantiles", "0.1,1"],
        ["forecast", "m", "d", "--prediction-length", "3", "--output", "f.csv", "--quantiles", "0.5,0.5"],
        ["forecast", "m", "d", "--prediction-length", "3", "--output", "f.csv", "--quantiles", ","],
        ["inspekt", "m"],
        ["--nope"],
    ],
)
def test_a_users_mistake_is_one_sentence_and_code_2(arguments: list[str], calls: list, capsys: pytest.CaptureFixture):
    assert _leave(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("potstill: ")
    assert said.err.count("\n") == 1
    assert calls == []


def test_an_error_of_the_verbs_is_told_on_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    _fail_with(monkeypatch, UserError("a.csv row 3:\n two columns, expected three."))
    assert _leave("report", "r") == 2
    assert capsys.readouterr().err == "potstill: a.csv row 3: two columns, expected three.\n"


def test_a_fault_of_ours_shows_its_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    _fail_with(monkeypatch, ZeroDivisionError("by zero"))
    monkeypatch.delenv("POTSTILL_TRACEBACK", raising=False)
    assert _leave("report", "r") == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "internal error (ZeroDivisionError: by zero)" in told
    assert "POTSTILL_TRACEBACK=1" in told
    monkeypatch.setenv("POTSTILL_TRACEBACK", "1")
    assert _leave("report", "r") == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_leaves_with_130(monkeypatch: pytest.MonkeyPatch):
    _fail_with(monkeypatch, KeyboardInterrupt())
    assert _leave("report", "r") == 130


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_signals_leave_with_130(which: signal.Signals):
    program = """
import sys, time, types
import potstill
verbs = sys.modules["potstill.verbs"] = potstill.verbs = types.ModuleType("potstill.verbs")
def report(run):
    print("ready", flush=True)
    time.sleep(60)
verbs.report = report
from potstill.cli import main
main(["report", "r"])
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.kill(process.pid, which)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.startswith(b"potstill: interrupted")
    assert err.count(b"\n") == 1


def test_distill_lays_options_over_the_recipe(tmp_path: Path, calls: list):
    path = tmp_path / "r.yaml"
    path.write_text("teacher: embedded\ndata: {split: 8:1:1, stride: 4}\ntraining: {clip: 2.0}\n")
    options = "--teacher base=org/model:2 --teacher embedded --data a.csv b.csv --output run --student"
    more = (
        "--target OT,HUFL --max-steps 7 --alpha 0.5 --device cpu --set training.clip=1e-1 --seed 3 --control --resume"
    )
    assert _leave("distill", str(path), *options.split(), "d_model=64,start=teacher", *more.split()) == 0
    ((verb, (recipe, output), flags),) = calls
    assert (verb, output, flags) == ("distill", "run", {"resume": True, "dry_run": False})
    assert [(t.name, t.source, t.weight) for t in recipe.teacher] == [("base", "org/model", 2), (None, "embedded", 1)]
    assert (recipe.student.start, recipe.student.overrides) == ("teacher", {"d_model": 64})
    assert (recipe.data.paths, recipe.data.target) == (["a.csv", "b.csv"], ["OT", "HUFL"])
    assert (recipe.data.split, recipe.data.stride) == ("8:1:1", 4)
    assert (recipe.training.max_steps, recipe.training.clip, recipe.training.seed) == (7, 0.1, 3)
    assert (recipe.objective.alpha, recipe.training.device, recipe.control) == (0.5, "cpu", True)


@pytest.mark.parametrize(
    ("option", "value", "where"),
    [
        ("--split", "ett", "data.split"),
        ("--max-files", "5", "data.max_files"),
        ("--context-length", "96", "data.context_length"),
        ("--prediction-length", "24", "data.prediction_length"),
        ("--stride", "3", "data.stride"),
        ("--epochs", "0.5", "training.epochs"),
        ("--batch-size", "8", "training.batch_size"),
        ("--learning-rate", "0.01", "training.learning_rate"),
        ("--labels", "folder", "labels"),
    ],
)
def test_each_option_reaches_its_key(option: str, value: str, where: str, calls: list):
    assert _leave("distill", "--output", "run", option, value) == 0
    node = calls[0][1][0]
    for key in where.split("."):
        node = getattr(node, key)
    assert str(node) == value
    assert calls[0][1][0] != Recipe()


def test_label_evaluate_forecast_inspect_and_report_reach_their_verbs(calls: list, capsys: pytest.CaptureFixture):
    assert _leave("label", "--teacher", "embedded", "--data", "a.csv", "--output", "labels", "--engine", "local") == 0
    assert calls[-1][1][1:] == ("labels",)
    assert calls[-1][2] == {"engine": "local"}
    assert (
        _leave("evaluate", "m1", "m2", "--data", "a.csv", "--output", "d", "--stride", "7", "--baselines", "ridge") == 0
    )
    models, data, output = calls[-1][1]
    assert (models, data.paths, output) == (["m1", "m2"], ["a.csv"], "d")
    assert calls[-1][2] == {"split": "test", "stride": 7, "reference": None, "baselines": ["ridge"]}
    assert (
        _leave("forecast", "m", "a.csv", "--prediction-length", "3", "--output", "f.csv", "--quantiles", "0.9,0.1") == 0
    )
    assert calls[-1] == ("forecast", ("m", "a.csv", 3, "f.csv"), {"quantiles": [0.1, 0.9]})
    assert _leave("report", "run") == 0
    assert calls[-1] == ("report", ("run",), {})
    capsys.readouterr()
    assert _leave("inspect", "m") == 0
    shown = capsys.readouterr().out
    assert "1,234,567" in shown
    assert "kept.layers" in shown


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--data a b --output x", "--data a --data b --output x"),
        ("--data a --data b", "--data a --data b"),
        ("--teacher a b=c:2 --data d e f", "--teacher a --teacher b=c:2 --data d --data e --data f"),
        ("--data a recipe.yaml", "--data a recipe.yaml"),
        ("m1 m2 --output x y", "m1 m2 --output x y"),
        ("--data=a b", "--data=a b"),
    ],
)
def test_options_that_take_several_values(given: str, meant: str):
    assert _spread(given.split()) == meant.split()
