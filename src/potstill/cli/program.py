"""The main program: arguments, signals, error messages and exit codes."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import cast

import typer

from potstill.cli.app import app
from potstill.errors import UserError
from potstill.ranks import fails_first
from potstill.runs import FULL

# click's class; its module differs between releases of typer
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
#: what typer says of a value, and the same in plain words
PLAIN = (
    (r"Value error, ", ""),
    (r"Input should be a valid integer\b[^;]*", "must be a whole number"),
    (r"Input should be a valid number\b[^;]*", "must be a number"),
    (r"Input should be greater than or equal to", "must be at least"),
    (r"Input should be less than or equal to", "must be at most"),
)
MULTI_VALUE_OPTIONS = (
    "--data",
    "--teacher",
    "--students",
)  # take all values up to the next option, so that --data suite/*.csv works

#: errors that are not Potstill's: of permissions, a read-only file system, a full disk, a name that is too long
OF_THE_SYSTEM = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, *FULL)
#: what continues an interrupted command
CONTINUED_WITH = {"distill": "--resume", "mix": "--resume", "label": "the same command"}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 2 usage error, 1 internal error, 130 interrupted."""
    typed = sys.argv[1:] if arguments is None else arguments
    _prepare_streams()
    _prepare_libraries()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run(spread(typed) or ["--help"])
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(code)


def spread(arguments: list[str]) -> list[str]:
    """``--data a b`` as ``--data a --data b``; a YAML file is never data, so a recipe may follow."""
    expanded: list[str] = []
    option, values = None, 0
    for argument in arguments:
        if argument.startswith("-"):
            option, values = (argument if argument in MULTI_VALUE_OPTIONS else None), 0
        elif option and argument.lower().endswith((".yaml", ".yml")):
            option = None
        elif option:
            values += 1
            if values > 1:
                expanded.append(option)
        expanded.append(argument)
    return expanded


def _prepare_streams() -> None:
    """Closed streams take what is printed; a name that a stream's encoding does not have is printed with ``?``."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 as long as the process lives
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _prepare_libraries() -> None:
    """Set what libraries read at import: waiting threads sleep, one line per warning of Potstill, progress bars only on
    a terminal."""
    # Threads that spin while they wait block the cores for other processes: two trainings on one machine took 90 times
    # as long. Without any spinning a small model runs at half its speed, so threads spin for some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # advice about settings that Potstill chooses
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"potstill\.")
        warnings.formatwarning = lambda message, *_args, **_options: f"potstill: {message}\n"


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="potstill", standalone_mode=False) or 0
        return _fail(_interrupted(arguments), code) if code == 130 else code
    except UserError as error:
        return _fail(str(error), 2)
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "potstill"
        message = error.format_message().rstrip(".?")
        for typers, ours in PLAIN:
            message = re.sub(typers, ours, message)
        return _fail(f"{message}; see {command} --help.", 2)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OF_THE_SYSTEM:
            return _fail(_place_of(error), 2)
        if os.environ.get("POTSTILL_TRACEBACK"):
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        return _fail(f"internal error ({what}); run again with POTSTILL_TRACEBACK=1 to see the traceback.", 1)


def _interrupted(arguments: list[str]) -> str:
    how = CONTINUED_WITH.get(next((argument for argument in arguments if not argument.startswith("-")), ""))
    return f"interrupted; finished work is kept: {how} continues it." if how else "interrupted."


def _place_of(error: OSError) -> str:
    """A sentence about a file or folder that cannot be read or written; a temporary file is in the named folder."""
    path = Path(os.fsdecode(error.filename)) if error.filename else None
    place = f"{path.parent if path.name.startswith('.') else path}: " if path else ""
    if error.errno in FULL:
        return f"{place}the disk is full, or its quota or a limit of file sizes reached; free some space and try again."
    return (
        f"{place}{(error.strerror or 'no access').lower()}; check the place and its permissions, or name another one."
    )


def _fail(sentence: str, code: int) -> int:
    if fails_first():
        print("potstill:", " ".join(sentence.split()), file=sys.stderr, flush=True)
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
