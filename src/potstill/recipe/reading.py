"""Read a YAML file as plain values, override them, and turn a validation error into a usage error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from potstill.errors import UserError
from potstill.recipe.kinds import unknown_key
from potstill.recipe.notation import parse_source, parse_student
from potstill.recipe.problems import problem
from potstill.recipe.yaml import YamlProblem, parse_yaml
from potstill.remote.urls import check_url, is_url

if TYPE_CHECKING:
    from potstill.recipe.recipe import Recipe


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a file as a mapping; empty for an empty file. Raises UserError if it is not a recipe."""
    if path.exists() and not path.is_file() and not path.is_dir():  # reading a pipe or a device may not end
        raise UserError(f"{path}: is not a regular file; give the path of a YAML file.", key="recipe.not_a_file")
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such recipe file; give the path of a YAML file.", key="recipe.no_such_file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as text ({error}); a recipe is a YAML file.", key="recipe.not_text"
        ) from None
    except YamlProblem as problem:
        place = f" line {problem.line}" if problem.line else ""
        raise UserError(
            f"{path}{place}: not valid YAML ({problem.what}); fix the line or start from a file in recipes/.",
            key="recipe.not_yaml",
        ) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(
            f"{path}: expected keys such as teacher, data, training at the top; found a {type(tree).__name__}.",
            key="recipe.not_a_mapping",
        )
    return tree


# an empty path would mean the working directory
EMPTY_PATH = "a path is empty; name a file or a folder (an unset shell variable yields an empty argument)."


def absolute_path(path: str, key: str) -> str:
    """A local path as an absolute path, and a URL as it is; ``key`` names it in the error for an empty path."""
    if not path.strip():
        raise UserError(f"{key}: {EMPTY_PATH}", key="path.empty")
    if is_url(path):
        return check_url(path)
    # links are not resolved: a data set has the name of the given link
    return str(Path(os.path.expanduser(path)).absolute())


def absolute_source(source: str, key: str) -> str:
    """A model's source with an absolute path, if there is such a folder or file; its settings stay behind it."""
    location, _ = parse_source(source)
    if location == "embedded" or not Path(os.path.expanduser(location)).exists():
        return source
    return absolute_path(location, key) + source.removeprefix(location)


def put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set the value at a path of keys, creating missing sections."""
    for key in keys[:-1]:
        node = tree.setdefault(key, {})
        if isinstance(node, str) and key == "student":
            node = tree[key] = parse_student(node)
        if not isinstance(node, dict):
            raise UserError(
                f"--set {'.'.join(keys)}: {key!r} is a single value without keys below it; set {key} itself.",
                key="recipe.not_a_section",
            )
        tree = node
    tree[keys[-1]] = value


#: what to do about a missing key, where the command line has an option for it
OPTION_OF = {
    "student.grow.source": "give --grow STUDENT with --layers, --experts, --insert and --frozen, or leave these out",
}


def usage_error(error: ValidationError, base: type[Recipe], kind: type[Recipe], path: str | Path | None) -> UserError:
    """The first problem of a recipe of a kind: where it is and what was expected there."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what, key = problem(first), "recipe.invalid_value"
    if first["type"] == "missing":  # it is part of a section that other keys or options belong to
        what = f"is missing, and other keys or options need it; {OPTION_OF.get(where, 'write it')}"
    if first["type"] == "extra_forbidden":
        what, key = unknown_key(base, kind, first["loc"])
    elif "." in first["type"]:  # the key of an error that Potstill's own validators raise
        key = first["type"]
    if first["type"] != "extra_forbidden" and not isinstance(first["input"], dict):
        what += f" (given: {first['input']!r})"
    more = f" (This is the first of {len(error.errors())} problems.)" if len(error.errors()) > 1 else ""
    return UserError(f"{path or 'options'}: {where}{': ' if where else ''}{what}.{more}", key=key)
