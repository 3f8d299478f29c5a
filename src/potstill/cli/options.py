"""Arguments and options that several verbs share.

An option for a key of the recipe is derived from that key: its name is in ``recipe.options.KEYS``, its type and help
come from the field. A verb lists the options that it takes.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import typer
from pydantic.fields import FieldInfo

from potstill.cli.parse import names, recipe_of
from potstill.errors import UserError
from potstill.recipe import Recipe
from potstill.recipe.kinds import kinds, node_at
from potstill.recipe.options import KEYS

RecipePath = Annotated[
    str | None, typer.Argument(metavar="RECIPE.yaml", help="Recipe file; options override its keys.")
]
Model = Annotated[
    str,
    typer.Argument(
        help="A folder written by Potstill, a Hugging Face checkpoint, a hub id, a GGUF file, or 'embedded'."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="DOTTED.KEY=VALUE",
        help="Set any key of the recipe; the value is read as YAML. Can be repeated.",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where the model runs: in this process, or in workers of a Ray cluster; the result is the same."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Ray cluster to join, or 'auto'; without it a local one is started."),
]
Concurrency = Annotated[
    int | None, typer.Option(metavar="N", help="Workers of --engine ray; default: as many as the cluster can hold.")
]
GpusPerWorker = Annotated[
    float | None, typer.Option(metavar="X", help="GPUs of a worker; default: 1 if the cluster has GPUs.")
]
METAVARS = {
    "teacher": "[NAME=]ID_OR_FOLDER[:WEIGHT]",
    "student": "FAMILY[:key=value,…]",
    "data": "PATH...",
    "students": "[NAME=]MODEL...",
    "branch": "STUDENT|RECIPE.yaml",
    "by": "domain|frequency|cluster:N",
    "target": "COL,…",
    "known": "COL,…",
    "past": "COL,…",
    "groups": "table|COL",
    "time_column": "COL",
    "date_format": "%d/%m/%Y",
    "freq": "ALIAS",
    "id_column": "COL,…",
    "split": "NAME",
    "labels": "LABELS",
    "grow": "STUDENT",
    "layers": "LAYER,…",
}
#: keys of the data section that choose training windows
OF_TRAINING = (
    "stride",
    "balance",
    "synthetic",
    "augmented",
    "distinct_windows",
    "label_share",
    "train_windows",
    "device",
)
COMMA_SEPARATED = ("target", "known", "past", "id_column", "layers")  # other lists repeat the option

Command = Callable[..., None]


def with_recipe(
    *options: str,
    file: bool = True,
    keys: str = "",
    unused: Sequence[str] = (),
    task: Callable[[str | None, dict[str, Any]], str] | None = None,
) -> Callable[[Command], Command]:
    """Add options to a command, and call it with the recipe that results from them as ``recipe``.

    Parameters
    ----------
    options
        Names from ``KEYS``.
    file
        Whether the command takes a recipe file as its argument.
    keys
        Required prefix of the keys of ``--set``.
    unused
        Keys below ``keys`` that would have no effect, and are refused.
    task
        The recipe's task from the recipe file and all options, if the command decides it.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*, recipe_file: str | None = None, settings: list[str] | None, **values: Any) -> None:
            for text in settings or []:
                if not text.startswith(keys):
                    raise UserError(
                        f"--set {text}: this command accepts only keys that begin with {keys}; write {keys}KEY=VALUE.",
                        key="option.key_not_allowed",
                    )
                if text.partition("=")[0].removeprefix(keys).partition(".")[0] in unused:
                    raise UserError(
                        f"--set {text}: has no effect here, it is about the windows of a training; leave it out.",
                        key="option.key_not_allowed",
                    )
            given = {name: _value(name, values.pop(name)) for name in options}
            decided = {"task": task(recipe_file, {**values, **given})} if task else {}
            recipe = recipe_of(recipe_file, settings, **{**given, **decided})
            command(recipe=recipe, **values)

        own = _parameters(command)
        del own["recipe"]
        required = [parameter for parameter in own.values() if parameter.default is parameter.empty]
        place = [_parameter("recipe_file", RecipePath)] if file else []
        others = [parameter for parameter in own.values() if parameter.default is not parameter.empty]
        keyed = [_parameter(name, _annotation(name)) for name in options]
        _sign(run, [*required, *place, *keyed, _parameter("settings", Settings), *others])
        return run

    return decorate


def with_options(*options: str) -> Callable[[Command], Command]:
    """Turn the command's parameters with these names into options for the recipe's keys."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            command(**{name: _value(name, value) if name in options else value for name, value in values.items()})

        own = _parameters(command)
        _sign(run, [own[n].replace(annotation=_annotation(n)) if n in options else own[n] for n in own])
        return run

    return decorate


def field_of(kind: type[Recipe], key: str) -> FieldInfo | None:
    """The field at a dotted key of a kind of recipe; None if that kind does not have it."""
    *parts, name = key.split(".")
    node = node_at(kind, tuple(parts))
    return node.model_fields.get(name) if node is not None else None


def _annotation(name: str) -> Any:
    """``Annotated[type, typer.Option(…)]`` of an option."""
    fields = (field_of(kind, KEYS[name]) for kind in (*kinds(Recipe), Recipe))
    field = next(field for field in fields if field is not None and field.description)
    assert field.description  # the help of the option
    text = f"{field.description[0].upper()}{field.description[1:].rstrip('.')}."
    typed = _typed(field.annotation, name)
    flag = f"--{name.replace('_', '-')}"  # an explicit name, so that typer adds no --no-… flag
    return Annotated[typed | None, typer.Option(flag, metavar=METAVARS.get(name), help=text)]


def _typed(annotation: Any, name: str) -> Any:
    """The command line's type for a field: the field's own type if simple, else text that the recipe parses."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if bool in parts:  # a flag for `true`; its other values are set with --set
            return bool
        (annotation,) = (part for part in parts if part is not type(None))
        return _typed(annotation, name)
    if origin is list and name not in COMMA_SEPARATED:
        return list[str]
    if annotation in (int, float, bool) or origin is typing.Literal:
        return annotation
    return str


def _value(name: str, values: Any) -> Any:
    """The value of an option for the recipe; None if the option was not given."""
    if name in COMMA_SEPARATED:
        return names(values)
    return None if values is False or values == [] else values


def _parameters(command: Command) -> dict[str, inspect.Parameter]:
    hints = typing.get_type_hints(command, include_extras=True)
    return {
        name: parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command).parameters.items()
    }


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _sign(run: Any, parameters: list[inspect.Parameter]) -> None:
    """Set the signature, from which typer derives the options."""
    run.__signature__ = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
