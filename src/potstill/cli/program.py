"""The program around the verbs: arguments as they are typed, signals, and how it leaves."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from types import FrameType
from typing import cast

import typer

from potstill.cli.app import app
from potstill.errors import UserError

# click's own class, wherever this release of typer keeps it
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
GREEDY = ("--data", "--teacher")  # take every value up to the next option, so that --data suite/*.csv works


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 the user can mend it, 1 a fault of ours, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    _prepare_libraries()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run(spread(given) or ["--help"])
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(code)


def spread(arguments: list[str]) -> list[str]:
    """``--data a b`` as ``--data a --data b``; a YAML file is never data, so a recipe may stand behind."""
    given: list[str] = []
    option, values = None, 0
    for argument in arguments:
        if argument.startswith("-"):
            option, values = (argument if argument in GREEDY else None), 0
        elif option and argument.lower().endswith((".yaml", ".yml")):
            option = None
        elif option:
            values += 1
            if values > 1:
                given.append(option)
        given.append(argument)
    return given


def _prepare_libraries() -> None:
    """What libraries read at their import: threads that wait asleep; Potstill's own warnings, on a line each; bars
    for those who watch."""
    # threads that spin while they wait keep the cores from any other job, and that job's from ours: a training beside
    # another one took 90 times as long. Without any spinning a small model runs at half its speed: some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"potstill\.")
        warnings.formatwarning = lambda message, *_args, **_options: f"potstill: {message}\n"


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="potstill", standalone_mode=False) or 0
        return (
            _say("interrupted; what is finished is kept, and a run goes on with --resume.", code)
            if code == 130
            else code
        )
    except UserError as error:
        return _say(str(error), 2)
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "potstill"
        return _say(f"{error.format_message().rstrip('.?')}; see {command} --help.", 2)
    except Exception as error:
        if os.environ.get("POTSTILL_TRACEBACK"):
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        return _say(f"internal error ({what}); run again with POTSTILL_TRACEBACK=1 to see where.", 1)


def _say(sentence: str, code: int) -> int:
    print("potstill:", " ".join(sentence.split()), file=sys.stderr)
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
