"""The command line: one thin command per verb. Options become recipe overrides; the verbs do the work.

Importing this module, ``--help`` and a misspelt option or recipe key load no torch: the verbs are imported last.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from types import FrameType
from typing import Annotated, Any, Literal, cast

import typer
import yaml

from potstill import __version__
from potstill.errors import UserError
from potstill.options import OPTIONS
from potstill.recipe import DataConfig, Recipe, parse_yaml

app = typer.Typer(
    help="Distil large pretrained forecasters into small, fast ones.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# click's own class, wherever this release of typer keeps it
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
GREEDY = ("--data", "--teacher")  # take every value up to the next option, so that --data suite/*.csv works
LEVELS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
BASELINES = "seasonal_naive,ridge,auto_theta"

RecipePath = Annotated[str | None, typer.Argument(metavar="RECIPE.yaml", help="Recipe to start from; options win.")]
Model = Annotated[str, typer.Argument(help="A folder made here, an upstream checkpoint, a hub id, or 'embedded'.")]
Models = Annotated[list[str], typer.Argument(help="Folders made here, upstream checkpoints, hub ids, or 'embedded'.")]
Teachers = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher", metavar="[NAME=]ID_OR_FOLDER[:WEIGHT]", help="Teacher(s); 'embedded' ships with Potstill."
    ),
]
DataPaths = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="PATH...", help="CSV or Parquet files or folders; 'embedded' is ETTh1."),
]
Target = Annotated[str | None, typer.Option(metavar="COL,…", help="Columns to forecast; default: every numeric one.")]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="8:1:1, ett, suite, by-file, or DATE1,DATE2.")]
MaxFiles = Annotated[int | None, typer.Option(help="Read at most so many files.")]
ContextLength = Annotated[int | None, typer.Option(help="Steps of history in a window.")]
PredictionLength = Annotated[int | None, typer.Option(help="Steps to forecast in a window.")]
Stride = Annotated[int | None, typer.Option(help="Steps between the origins of neighbouring windows.")]
Seed = Annotated[int | None, typer.Option(help="Same seed, same machine: same student.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="DOTTED.KEY=VALUE", help="Any key of the recipe; the value is read as YAML. Repeatable."
    ),
]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"potstill {__version__}")
        raise typer.Exit


@app.command()
def distill(
    output: Annotated[str, typer.Option(metavar="RUN", help="Folder of the run; must not hold one already.")],
    recipe: RecipePath = None,
    teacher: Teachers = None,
    data: DataPaths = None,
    student: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY[:key=value,…]", help="Replaces the recipe's student; without FAMILY the teacher's."
        ),
    ] = None,
    target: Target = None,
    split: Split = None,
    max_files: MaxFiles = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimiser steps; overrides --epochs.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training windows.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows in a batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    alpha: Annotated[float | None, typer.Option(help="1: the teacher alone; 0: the truth alone.")] = None,
    device: Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="Default: cuda where there is one.")] = None,
    context_length: ContextLength = None,
    prediction_length: PredictionLength = None,
    stride: Stride = None,
    labels: Annotated[str | None, typer.Option(metavar="LABELS", help="Folder made by `potstill label`.")] = None,
    settings: Settings = None,
    control: Annotated[bool, typer.Option("--control", help="Train a twin without teacher, too.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    seed: Seed = None,
) -> None:
    """Distil teachers into a student: a run folder with the student, its metrics and a report."""
    resolved = _recipe(
        recipe,
        settings,
        teacher=teacher,
        student=student,
        data=data,
        target=_names(target),
        split=split,
        max_files=max_files,
        max_steps=max_steps,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        alpha=alpha,
        device=device,
        context_length=context_length,
        prediction_length=prediction_length,
        stride=stride,
        labels=labels,
        control=control or None,
        seed=seed,
    )
    from potstill import verbs

    verbs.distill(resolved, output, resume=resume, dry_run=dry_run)


@app.command()
def label(
    output: Annotated[str, typer.Option(metavar="LABELS", help="Folder of the label store.")],
    recipe: RecipePath = None,
    teacher: Teachers = None,
    data: DataPaths = None,
    target: Target = None,
    split: Split = None,
    max_files: MaxFiles = None,
    context_length: ContextLength = None,
    prediction_length: PredictionLength = None,
    stride: Stride = None,
    settings: Settings = None,
    seed: Seed = None,
    engine: Annotated[
        Literal["local"], typer.Option(help="Where to compute; 'local' is the only one so far.")
    ] = "local",
) -> None:
    """Let a teacher label every training window once; give the same recipe to `distill --labels`."""
    resolved = _recipe(
        recipe,
        settings,
        teacher=teacher,
        data=data,
        target=_names(target),
        split=split,
        max_files=max_files,
        context_length=context_length,
        prediction_length=prediction_length,
        stride=stride,
        seed=seed,
    )
    from potstill import verbs

    verbs.label(resolved, output, engine=engine)


@app.command()
def evaluate(
    models: Models,
    output: Annotated[str, typer.Option(metavar="DIR", help="Folder for metrics.json and report.html.")],
    data: DataPaths = None,
    target: Target = None,
    split: Annotated[
        Literal["validation", "test"], typer.Option(help="Part of each series; how it is cut: --set data.split=….")
    ] = "test",
    max_files: MaxFiles = None,
    context_length: ContextLength = None,
    prediction_length: PredictionLength = None,
    stride: Annotated[int | None, typer.Option(help="Steps between origins; default: 5, wider when large.")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model that the others are held against.")
    ] = None,
    baselines: Annotated[str, typer.Option(metavar="NAME,…", help="Simple rivals; empty for none.")] = BASELINES,
    settings: Settings = None,
) -> None:
    """Measure models on data: accuracy, cost, baselines, and a report."""
    config = _data(
        settings,
        data=data,
        target=_names(target),
        max_files=max_files,
        context_length=context_length,
        prediction_length=prediction_length,
    )
    from potstill import verbs

    verbs.evaluate(models, config, output, split=split, stride=stride, reference=reference, baselines=_split(baselines))


@app.command()
def forecast(
    model: Model,
    data: Annotated[str, typer.Argument(help="CSV or Parquet file to continue.")],
    prediction_length: Annotated[int, typer.Option(min=1, help="Steps to forecast.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="FILE.parquet or FILE.csv.")],
    quantiles: Annotated[str, typer.Option(metavar="0.1,…,0.9", help="Levels between 0 and 1.")] = LEVELS,
) -> None:
    """Forecast the future of every series in a file."""
    levels = _levels(quantiles)
    from potstill import verbs

    verbs.forecast(model, data, prediction_length, output, quantiles=levels)


@app.command()
def inspect(model: Model) -> None:
    """Say what a model is: its family, sizes, lengths and levels."""
    from rich.console import Console
    from rich.table import Table

    from potstill import verbs

    table = Table("", "", show_header=False, title=model, title_justify="left")
    for key, value in _flat(verbs.inspect(model)):
        table.add_row(key, value)
    Console().print(table)


@app.command()
def report(run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run or an evaluation.")]) -> None:
    """(Re)draw RUN/report.html from what the run holds."""
    from potstill import verbs

    typer.echo(verbs.report(run))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 the user can mend it, 1 a fault of ours, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    _quieten_libraries()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run(_spread(given) or ["--help"])
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(code)


def _quieten_libraries() -> None:
    """Show Potstill's own warnings, on a line each; bars for those who watch. Libraries read this at their import."""
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


def _spread(arguments: list[str]) -> list[str]:
    """``--data a b`` as ``--data a --data b``; a YAML file is never data, so a recipe may stand behind."""
    spread: list[str] = []
    option, values = None, 0
    for argument in arguments:
        if argument.startswith("-"):
            option, values = (argument if argument in GREEDY else None), 0
        elif option and argument.lower().endswith((".yaml", ".yml")):
            option = None
        elif option:
            values += 1
            if values > 1:
                spread.append(option)
        spread.append(argument)
    return spread


def _recipe(path: str | None, settings: list[str] | None, **options: Any) -> Recipe:
    given = {OPTIONS[name]: value for name, value in options.items() if value is not None}
    return Recipe.read(path, {**given, **dict(_setting(text) for text in settings or [])})


def _data(settings: list[str] | None, **options: Any) -> DataConfig:
    for text in settings or []:
        if not text.startswith("data."):
            raise UserError(f"--set {text}: evaluating reads the data keys alone; write data.KEY=VALUE.")
    return _recipe(None, settings, **options).data


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected DOTTED.KEY=VALUE, for example training.clip=0.5.")
    try:
        return key, parse_yaml(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value is not valid YAML; quote it.") from None


def _levels(text: str) -> list[float]:
    try:
        levels = [float(part) for part in _split(text)]
    except ValueError:
        levels = []
    if not levels or not all(0 < level < 1 for level in levels) or len(set(levels)) < len(levels):
        raise UserError(f"--quantiles {text}: expected different numbers between 0 and 1, such as 0.1,0.5,0.9.")
    return sorted(levels)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else _split(text)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            rows.append((f"{prefix}{key}", shown))
    return rows
