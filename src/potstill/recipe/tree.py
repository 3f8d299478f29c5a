"""The one configuration tree: typed, validated, YAML in and YAML out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from potstill.errors import UserError
from potstill.recipe.notation import Dumper, parse_source, parse_student, parse_teachers
from potstill.recipe.reading import absolute_path, put, read_yaml, sentence
from potstill.recipe.sections import (
    LANGUAGE,
    DataConfig,
    EvaluationConfig,
    Node,
    ObjectiveConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)

RIVALS = {"training.max_steps": "training.epochs", "training.epochs": "training.max_steps"}


class Recipe(Node):
    """A whole run. ``Recipe.read(path)`` and ``recipe.write(path)`` are inverse."""

    task: Literal["forecast", "language"] = "forecast"
    teacher: list[TeacherConfig] = Field(default_factory=list)
    student: StudentConfig = Field(default_factory=StudentConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    objective: ObjectiveConfig = Field(default_factory=ObjectiveConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    imports: list[str] = Field(default_factory=list, description="Python files that define terms of your own")
    labels: str | None = Field(
        default=None,
        description="a label store made by `potstill label`; 'auto': the run labels its windows once, into RUN/labels;"
        " default: the teacher answers live",
    )
    control: bool = Field(default=False, description="also train a twin without the teacher for the same time")
    control_steps: int | None = Field(
        default=None, ge=1, description="the twin's steps; calibrated once when the run starts"
    )

    @field_validator("teacher", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return parse_teachers(value)

    @field_validator("student", mode="before")
    @classmethod
    def _short_student(cls, value: Any) -> Any:
        return parse_student(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _of_language(self) -> Recipe:
        """What language models have otherwise, where nobody set it; it stays as unset as any default."""
        if self.task != "language":
            return self
        values = {**LANGUAGE}
        if self.labels:  # the largest logits hold the mass at 1, and some two fifths of it at 2
            values["objective"] = {**LANGUAGE["objective"], "temperature": 1.0}
        for part, defaults in values.items():
            node = getattr(self, part)
            for key, value in defaults.items():
                if key not in node.model_fields_set:
                    setattr(node, key, value)
                    node.model_fields_set.discard(key)
        return self

    @classmethod
    def read(cls, path: str | Path | None, overrides: dict[str, Any] | None = None) -> Recipe:
        """Read a YAML file (or start from the defaults) and lay ``{"dotted.key": value}`` overrides over it.

        Raises
        ------
        UserError
            Naming the file, the key and what was expected.
        """
        return cls.lay_over(read_yaml(Path(path)) if path is not None else {}, overrides or {}, path)

    @classmethod
    def lay_over(cls, tree: dict[str, Any], overrides: dict[str, Any], path: str | Path | None = None) -> Recipe:
        """Validate a tree of plain values with dotted overrides laid over it; ``path`` names its file in messages.

        An override takes its rival out of the tree: ``training.epochs`` replaces the file's ``training.max_steps``.
        """
        for key, value in overrides.items():
            rival = RIVALS.get(key)
            if rival is not None and rival not in overrides and value is not None:
                put(tree, rival.split("."), None)
            put(tree, key.split("."), value)
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise UserError(sentence(error, cls, path)) from None

    def absolute(self) -> Recipe:
        """A copy that means the same from any working directory: local paths in it are absolute.

        Hub ids, ``embedded`` and ``auto`` stay as they are; a teacher's source is a path where a folder is there.
        """
        recipe = self.model_copy(deep=True)
        if recipe.data.paths:
            recipe.data.paths = [path if path == "embedded" else absolute_path(path) for path in recipe.data.paths]
        if recipe.imports:
            recipe.imports = [absolute_path(path) for path in recipe.imports]
        if recipe.labels not in (None, "auto"):
            recipe.labels = absolute_path(recipe.labels)
        for teacher in recipe.teacher:
            place, _ = parse_source(teacher.source)
            if place != "embedded" and Path(place).expanduser().exists():
                teacher.source = absolute_path(place) + teacher.source.removeprefix(place)
        return recipe

    def write(self, path: str | Path) -> None:
        """Write the resolved recipe as YAML; reading it back gives an equal recipe."""
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        """The recipe as YAML text."""
        return yaml.dump(self.model_dump(mode="json"), Dumper=Dumper, sort_keys=False, allow_unicode=True)
