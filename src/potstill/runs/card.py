"""The model card of a student: description, training data and teachers, accuracy, licence.

It contains no times, so that the same seed yields a byte-identical folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OWN_LICENCE = "apache-2.0"  # of models trained on the ground truth alone
UNKNOWN_LICENCE = "other"  # of models derived from a teacher whose licence is unknown


@dataclass(frozen=True)
class CardTeacher:
    """A teacher that the student was distilled from or initialised from."""

    name: str
    location: str
    licence: str | None
    fingerprint: str
    revision: str | None = None


@dataclass(frozen=True)
class CardFacts:
    """The content of a card, for any task.

    Attributes
    ----------
    title
        The first heading.
    description
        What the model is and how to use it: paragraphs of Markdown.
    accuracy
        Paragraphs of Markdown below the heading ``accuracy_heading``.
    teachers
        The models that this one derives from; empty if it was trained on the ground truth alone.
    derived
        Whether it derives from a teacher, even if that teacher is not loaded (stored labels).
    paths, split, data_fingerprint
        The data of the run.
    source_kind
        What ``teachers`` are: ``teacher``, or ``expert`` for the parts of a mixture.
    """

    title: str
    library: str
    pipeline: str
    description: Sequence[str]
    accuracy: Sequence[str]
    paths: Sequence[str]
    split: str
    data_fingerprint: str
    seed: int
    versions: Mapping[str, str]
    teachers: Sequence[CardTeacher] = ()
    derived: bool = False
    accuracy_heading: str = "Accuracy"
    tags: Sequence[str] = field(default=("distillation", "potstill"))
    source_kind: str = "teacher"

    @property
    def licences(self) -> list[str]:
        """The stated licences of the teachers."""
        return sorted({teacher.licence for teacher in self.teachers if teacher.licence})

    @property
    def licence(self) -> str:
        """The licence of the model."""
        if not self.derived:
            return OWN_LICENCE
        stated = all(teacher.licence for teacher in self.teachers)
        return self.licences[0] if stated and len(self.licences) == 1 else UNKNOWN_LICENCE


def render_card(facts: CardFacts) -> str:
    """The text of README.md, with the metadata that model hubs read."""
    from huggingface_hub import ModelCard, ModelCardData

    head = ModelCardData(
        license=facts.licence,
        library_name=facts.library,
        pipeline_tag=facts.pipeline,
        tags=list(facts.tags),
        base_model=[teacher.location for teacher in facts.teachers if _is_on_hub(teacher.location)] or None,
    )
    paragraphs = [
        f"# {facts.title}",
        *facts.description,
        f"## {facts.accuracy_heading}",
        *facts.accuracy,
        "## Provenance",
        "\n".join(_provenance(facts)),
    ]
    if facts.licences:
        paragraphs.append(_licence_sentence(facts))
    return str(ModelCard(f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(paragraphs) + "\n"))


def _licence_sentence(facts: CardFacts) -> str:
    licences = ", ".join(facts.licences)
    if facts.source_kind == "expert":
        return f"The experts' licences ({licences}) apply to them and to the mixture."
    return f"The teacher's licence ({licences}) applies to what was distilled from it."


def file_name(location: str) -> str:
    """The last part of an absolute path, so that a card does not reveal local folders; a hub id unchanged."""
    return Path(location).name if Path(location).is_absolute() else location


def _provenance(facts: CardFacts) -> list[str]:
    files = ", ".join(map(file_name, facts.paths))
    return [
        f"- data: {files} (split {facts.split}, fingerprint `{facts.data_fingerprint[:16]}`)",
        *(
            f"- {facts.source_kind} {teacher.name}: {file_name(teacher.location)}"
            f"{f' @ {teacher.revision}' if teacher.revision else ''}, licence {teacher.licence or 'not stated'},"
            f" fingerprint `{teacher.fingerprint[:16]}`"
            for teacher in facts.teachers
        ),
        f"- seed {facts.seed}; " + ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
    ]


def _is_on_hub(location: str) -> bool:
    return "/" in location and not Path(location).exists()
