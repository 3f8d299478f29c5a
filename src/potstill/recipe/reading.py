"""From a YAML file to plain values with overrides laid over them, and from a validation error to one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from potstill.errors import UserError
from potstill.recipe.notation import parse_student, parse_yaml


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of a file; none where it is empty. Raises UserError where it is no recipe."""
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); a recipe is a YAML file.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{place}: not valid YAML; mend the line or start from a file in recipes/.") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(
            f"{path}: expected keys such as teacher, data, training at the top; found a {type(tree).__name__}."
        )
    return tree


def absolute_path(path: str) -> str:
    """A local path that means the same from any working directory."""
    # not resolved: a data set goes by the name of the link that was given
    return str(Path(path).expanduser().absolute())


def put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set a value at the end of a way of keys, making what is not there."""
    for key in keys[:-1]:
        node = tree.setdefault(key, {})
        if isinstance(node, str) and key == "student":
            node = tree[key] = parse_student(node)
        if not isinstance(node, dict):
            raise UserError(f"--set {'.'.join(keys)}: {key!r} holds a plain value and has no keys below it.")
        tree = node
    tree[keys[-1]] = value


def sentence(error: ValidationError, recipe: type[BaseModel], path: str | Path | None) -> str:
    """What is wrong first, where, and what was expected there."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "recipe"
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _known_keys(recipe, first["loc"][:-1])
        what = f"no such key{'; known: ' + ', '.join(known) if known else ''}"
    elif not isinstance(first["input"], dict):
        what += f" (given: {first['input']!r})"
    more = f" ({len(error.errors()) - 1} more problem(s) follow.)" if len(error.errors()) > 1 else ""
    return f"{path or 'options'}: {where}: {what}.{more}"


def _known_keys(recipe: type[BaseModel], parts: tuple[Any, ...]) -> list[str]:
    node: Any = recipe
    for part in parts:
        if isinstance(part, int):
            continue
        annotation = node.model_fields[part].annotation if part in node.model_fields else None
        inner = getattr(annotation, "__args__", (annotation,))
        node = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if node is None:
            return []
    return list(node.model_fields)
