"""The program: what it imports, what it says and how it leaves."""

import errno
import os
import signal
import subprocess
import sys

import pytest

import potstill
from potstill.cli.program import _interrupted, spread
from potstill.errors import UserError

HEAVY = "[m for m in ('torch', 'transformers', 'pandas', 'plotly') if m in sys.modules]"


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


def test_no_arguments_print_the_help(leave, capsys: pytest.CaptureFixture):
    assert leave() == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("distill", "mix", "label", "evaluate", "forecast", "inspect", "report"))


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
        ["label", "--output", "x", "--engine", "cloud"],
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
def test_a_users_mistake_is_one_sentence_and_code_2(
    arguments: list[str], leave, calls: list, capsys: pytest.CaptureFixture
):
    assert leave(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("potstill: ")
    assert said.err.count("\n") == 1
    assert calls == []


def test_an_error_of_the_verbs_is_told_on_one_line(leave, fail_with, capsys: pytest.CaptureFixture):
    fail_with(UserError("a.csv row 3:\n two columns, expected three."))
    assert leave("report", "r") == 2
    assert capsys.readouterr().err == "potstill: a.csv row 3: two columns, expected three.\n"


def test_a_fault_of_ours_shows_its_traceback_only_on_request(
    leave, fail_with, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    fail_with(ZeroDivisionError("by zero"))
    monkeypatch.delenv("POTSTILL_TRACEBACK", raising=False)
    assert leave("report", "r") == 1
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert "internal error (ZeroDivisionError: by zero)" in stderr
    assert "POTSTILL_TRACEBACK=1" in stderr
    monkeypatch.setenv("POTSTILL_TRACEBACK", "1")
    assert leave("report", "r") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "name", "words"),
    [
        (errno.EACCES, "locked/x.csv", ["locked/x.csv: permission denied", "permissions"]),
        (errno.EROFS, "run/.recipe.yaml.x7", ["run: read-only file system"]),
        (errno.ENAMETOOLONG, "n" * 300, ["file name too long"]),
        (errno.ENOSPC, None, ["the disk is full"]),
        (errno.EFBIG, "run/a", ["run/a: the disk is full"]),
    ],
)
def test_errors_of_the_system_are_one_sentence(leave, fail_with, capsys, number, name, words):
    fail_with(OSError(number, os.strerror(number), name))
    assert leave("report", "r") == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert "internal error" not in stderr
    for word in words:
        assert word in stderr


def test_ctrl_c_leaves_with_130(leave, fail_with, capsys):
    fail_with(KeyboardInterrupt())
    assert leave("report", "r") == 130
    assert capsys.readouterr().err == "potstill: interrupted.\n"


def test_what_continues_an_interrupted_command():
    assert _interrupted(["distill", "--output", "r"]).endswith("--resume continues it.")
    assert _interrupted(["label"]).endswith("the same command continues it.")
    assert _interrupted(["evaluate"]) == "interrupted."


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "2>&- >&-"])
def test_closed_streams(closed: str):
    command = f"{sys.executable} -m potstill report nowhere {closed}"
    assert subprocess.run(command, shell=True, capture_output=True).returncode == 2


def test_a_name_that_the_streams_encoding_does_not_have():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "potstill", "report", "ü"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.startswith("potstill: ?")


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_signals_leave_with_130(which: signal.Signals):
    program = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it ignored
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
    assert spread(given.split()) == meant.split()


def test_a_wrong_choice_is_one_plain_sentence(leave, capsys: pytest.CaptureFixture):
    table = ("forecast", "embedded", "a.csv", "--prediction-length", "3", "--output", "o.csv")
    assert leave(*table, "--known-method", "sometimes") == 2
    assert capsys.readouterr().err == (
        "potstill: Invalid value for '--known-method': 'sometimes' is not one of 'auto', 'model', 'regression';"
        " see potstill forecast --help.\n"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["export", "m", "--output", "o", "--split", "suite"], "--split: is about --data, which is not given"),
        (["export", "m", "--output", "o", "--set", "data.columns=first"], "--columns: is about --data"),
        (["export", "m", "--output", "o", "--data", "a.csv", "--set", "data.stride=3"], "data.stride=3: has no effect"),
        (["evaluate", "m", "--output", "o", "--data", "a.csv", "--set", "data.device.pool=3"], "has no effect here"),
    ],
)
def test_options_without_effect_are_refused(leave, capsys, args, said):
    assert leave(*args) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--prediction-length", "x", "Invalid value for '--prediction-length': must be a whole number; see"),
        ("--prediction-length", "0", "Invalid value for '--prediction-length': must be at least 1; see"),
        ("--gpus-per-worker", "x", "Invalid value for '--gpus-per-worker': must be a number; see"),
    ],
)
def test_values_of_the_wrong_kind_are_named_in_plain_words(leave, capsys, option, value, said):
    assert leave("forecast", "m", "a.csv", "--output", "f.csv", "--prediction-length", "3", option, value) == 2
    assert said in capsys.readouterr().err
