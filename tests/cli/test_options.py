"""Options are made from the recipe's keys: each verb has the ones it had, with the field's type and help."""

from __future__ import annotations

import typing

import pytest
import typer

from potstill.cli.app import app
from potstill.cli.options import field_of
from potstill.recipe import ForecastRecipe, LanguageRecipe, Recipe
from potstill.recipe.kinds import kinds
from potstill.recipe.options import GROW_OPTIONS, OPTIONS

OF_RECIPE = (
    "--task --teacher --data --target --known --past --groups --time-column --date-format --freq --id-column --decimal"
    " --split --max-files --max-steps --epochs --batch-size"
    " --device --context-length --prediction-length --stride --seed --set"
)
EXPECTED = {
    "distill": f"{OF_RECIPE} --output --student --learning-rate --alpha --labels --control --resume --dry-run",
    "mix": f"{OF_RECIPE.removeprefix('--task ')} --output --students --branch --by --grow --layers --experts --top-k"
    " --insert --frozen"
    " --learning-rate --alpha --labels --control --resume --dry-run",
    "label": f"{OF_RECIPE} --output --engine --ray-address --concurrency --gpus-per-worker",
    "evaluate": "--data --target --known --past --groups --time-column --date-format --freq --id-column --decimal"
    " --max-files --context-length --prediction-length"
    " --set --output --split --stride --max-windows --reference --baselines --calibrate --fev --device",
    "export": "--data --target --known --past --id-column --time-column --date-format --freq --decimal --max-files"
    " --split --context-length --prediction-length --set --output --format --quantize --groups --allow-loss",
    "forecast": "--prediction-length --output --quantiles --mean --non-negative --strict --layout --future --target"
    " --known --known-method --calibrate --past --groups --id-column --time-column --date-format --freq --decimal"
    " --device --engine --ray-address --concurrency --gpus-per-worker",
    "generate": "--max-new-tokens --temperature --device --seed",
}
COMMANDS: typing.Any = typer.main.get_command(app)


@pytest.mark.parametrize("verb", EXPECTED)
def test_a_verb_has_these_options(verb: str):
    found = [flag for option in COMMANDS.commands[verb].params for flag in option.opts if flag.startswith("--")]
    assert sorted(found) == sorted(EXPECTED[verb].split())
    assert not any(option.secondary_opts for option in COMMANDS.commands[verb].params)


@pytest.mark.parametrize(("verb", "keys"), [("distill", OPTIONS), ("mix", GROW_OPTIONS)])
def test_every_option_tells_what_its_key_is(verb: str, keys: dict[str, str]):
    options = {option.name: option for option in COMMANDS.commands[verb].params}
    for name, key in keys.items():
        fields = [field_of(kind, key) for kind in (*kinds(Recipe), Recipe)]
        descriptions = [field.description.lower() for field in fields if field is not None and field.description]
        assert any(options[name].help.lower().startswith(description) for description in descriptions), name


def test_a_key_is_found_in_the_kinds_that_have_it():
    assert field_of(ForecastRecipe, "data.stride").default == 1
    assert field_of(LanguageRecipe, "data.stride") is None
    assert field_of(LanguageRecipe, "data.weight.more") is None
