"""The kinds of recipe: one subclass of Recipe for each pair of task and training algorithm.

The classes alone determine which keys belong to which task or algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from potstill.recipe.recipe import Recipe

R = TypeVar("R", bound="Recipe")
TASK_KEY = ("task",)
ALGORITHM_KEY = ("training", "algorithm")


def kinds(base: type[R]) -> Iterator[type[R]]:
    """All kinds among the subclasses of a class; the class itself if it has none."""
    below = base.__subclasses__()
    if not below:
        yield base
    for kind in below:
        yield from kinds(kind)


def pair(kind: type[Recipe]) -> tuple[str, str]:
    """Task and algorithm of a kind; for a base class the defaults."""
    return _default(kind, TASK_KEY), _default(kind, ALGORITHM_KEY)


def choose(base: type[R], tree: Mapping[str, Any]) -> type[R]:
    """The kind that a tree of plain values selects by its task and algorithm.

    Raises
    ------
    ValidationError
        For an unknown task or algorithm; the message lists the known ones.
    """
    known = {pair(kind): kind for kind in kinds(base)}
    if len(known) == 1:
        return next(iter(known.values()))
    task, algorithm = (_value_at(base, tree, key) for key in (TASK_KEY, ALGORITHM_KEY))
    _require(TASK_KEY, task, [task for task, _ in known])
    _require(ALGORITHM_KEY, algorithm, [algorithm for of, algorithm in known if of == task])
    return known[task, algorithm]


def node_at(kind: type[BaseModel], parts: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The class of the section at a path of keys; None if there is no section."""
    node: Any = kind
    for part in (part for part in parts if not isinstance(part, int)):
        annotation = node.model_fields[part].annotation if part in node.model_fields else None
        inner = getattr(annotation, "__args__", (annotation,))
        node = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if node is None:
            return None
    return node


def unknown_key(base: type[Recipe], kind: type[Recipe], place: tuple[int | str, ...]) -> tuple[str, str]:
    """The message and the error key for a recipe key that a kind does not have.

    The message names the kind that has the key and what to do, or lists the known keys.
    """
    *parts, key = place
    owners = [pair(other) for other in kinds(base) if key in _keys(other, tuple(parts))]
    task, algorithm = pair(kind)
    algorithm_of_key = next((other for of, other in owners if of == task), None)
    if algorithm_of_key is not None:
        other_one = f"training.algorithm: {algorithm_of_key}"
        what = f"belongs to {other_one}; write that, or leave it out of a recipe with training.algorithm: {algorithm}"
        return what, "recipe.key_of_another_kind"
    if owners:
        models = next(other.models for other in kinds(base) if pair(other) == owners[0])
        return f"is for {models}; leave it out of a recipe with task: {task}", "recipe.key_of_another_kind"
    known = ", ".join(_keys(kind, tuple(parts)))
    return f"no such key{'; known: ' if known else ''}{known}", "recipe.unknown_key"


def _keys(kind: type[BaseModel], parts: tuple[int | str, ...]) -> list[str]:
    node = node_at(kind, parts)
    return list(node.model_fields) if node else []


def _default(kind: type[BaseModel], key: tuple[str, ...]) -> str:
    node = node_at(kind, key[:-1])
    assert node is not None
    return node.model_fields[key[-1]].default


def _value_at(base: type[BaseModel], tree: Mapping[str, Any], key: tuple[str, ...]) -> Any:
    """The value at a path of keys through mappings and sections, or its default."""
    node: Any = tree
    for part in key:
        if isinstance(node, BaseModel):
            node = dict(node)
        if not isinstance(node, Mapping) or part not in node:
            return _default(base, key)
        node = node[part]
    return node


def _require(place: tuple[str, ...], value: Any, known: list[str]) -> None:
    if value not in known:
        expected = " or ".join(repr(name) for name in dict.fromkeys(known))
        raise ValidationError.from_exception_data(
            "Recipe", [{"type": "literal_error", "loc": place, "input": value, "ctx": {"expected": expected}}]
        )
