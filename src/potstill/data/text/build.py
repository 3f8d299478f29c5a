"""Build a corpus: files are read, rendered and tokenised one after the other and appended to flat arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.files import DataSource
from potstill.data.text.alpaca import PlainForm
from potstill.data.text.arrays import GrowingArray
from potstill.data.text.corpus import CORPUS_ARRAYS
from potstill.data.text.dialogue import Dialogue, Malformed, Rendered
from potstill.data.text.encode import Encoded, encode
from potstill.data.text.parsers import dialogues
from potstill.data.text.readers import read_records
from potstill.data.text.templates import form_of, render
from potstill.errors import UserError
from potstill.recipe import TextData

_BATCH = 256  # dialogues tokenised at a time


class Builder:
    """Writes the files of a corpus into an empty folder with ``build``."""

    def __init__(self, folder: Path, tokenizer: Any, data: TextData) -> None:
        self.folder, self.tokenizer, self.data = folder, tokenizer, data
        self.form = form_of(tokenizer)
        self.report = DataReport()
        self.arrays = {name: GrowingArray(folder / f"{name}.npy", dtype) for name, dtype in CORPUS_ARRAYS.items()}

    def build(self, sources: Sequence[DataSource], fingerprint: str) -> None:
        """Read every file and write arrays and index.

        Raises
        ------
        UserError
            No file has a usable example (the first file's error; else the file is left out and reported).
        """
        self._note_form()
        errors: list[UserError] = []
        try:
            self.arrays["offsets"].append(np.zeros(1))
            self.arrays["text_offsets"].append(np.zeros(1))
            for source in sources:
                try:
                    self._add_file(source)
                except UserError as error:
                    errors.append(error)
                    self.report.add_dropped(source.name, str(error), kind="files")
        finally:
            for array in self.arrays.values():
                array.close()
        if not self.arrays["numbers"].size:
            more = f" ({len(errors) - 1} more file(s) cannot be used either.)" if len(errors) > 1 else ""
            raise UserError(f"{errors[0]}{more}", key=errors[0].key)
        index = {"fingerprint": fingerprint, "account": self.report.to_dict()}
        (self.folder / "index.json").write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")

    def _add_file(self, source: DataSource) -> None:
        report = DataReport()
        before = self.arrays["numbers"].size
        parsed = dialogues(read_records(source.path), self.data.format, str(source.path), report, source.name)
        try:
            while batch := list(islice(parsed, _BATCH)):
                self._add_batch(batch, report, source.name)
            if self.arrays["numbers"].size == before:
                raise _no_examples(source, report)
            report.add_used(files=1)
        finally:
            self.report.add(report)

    def _add_batch(self, batch: Sequence[tuple[str, Dialogue]], report: DataReport, name: str) -> None:
        rendered = list(self._rendered(batch, report, name))
        for (place, dialogue, text), tokens in zip(
            rendered, encode([text for _, _, text in rendered], self.tokenizer), strict=True
        ):
            if not tokens.answer.any():
                report.add_dropped(f"{name} {place}", "the answer has no tokens", kind="records")
            elif not tokens.answer[: self.data.max_length].any():
                report.add_dropped(f"{name} {place}", "prompt longer than max_length", kind="records")
            else:
                self._append(tokens, text, dialogue.number)
                cut = int(tokens.answer[self.data.max_length :].any())
                report.add_repaired(f"answers cut at max_length = {self.data.max_length}", f"{name} {place}", cut)
                kept = tokens.answer[: self.data.max_length]
                report.add_used(examples=1, tokens=len(kept), answer_tokens=kept.sum())
                for repair in text.repairs:
                    report.add_repaired(repair, name)

    def _rendered(
        self, batch: Sequence[tuple[str, Dialogue]], report: DataReport, name: str
    ) -> Iterator[tuple[str, Dialogue, Rendered]]:
        for place, dialogue in batch:
            try:
                yield place, dialogue, render(self.form, self.tokenizer, dialogue)
            except Malformed as error:
                report.add_dropped(f"{name} {place}", str(error), kind="records")

    def _append(self, tokens: Encoded, text: Rendered, number: int) -> None:
        arrays, length = self.arrays, self.data.max_length
        arrays["ids"].append(tokens.ids[:length])
        arrays["answer"].append(tokens.answer[:length])
        arrays["offsets"].append(np.array([arrays["ids"].size]))
        arrays["numbers"].append(np.array([number], np.uint64))
        for part in (text.prompt, text.answer):
            arrays["texts"].append(np.frombuffer(part.encode(), np.uint8))
            arrays["text_offsets"].append(np.array([arrays["texts"].size]))

    def _note_form(self) -> None:
        if isinstance(self.form, PlainForm) and getattr(self.tokenizer, "chat_template", None):
            self.report.add_note("the tokenizer's chat template cannot render a dialogue; Alpaca's prompts are used")
        elif isinstance(self.form, PlainForm):
            self.report.add_note("the tokenizer has no chat template; Alpaca's prompts are used")
        if not self.tokenizer.eos_token:
            self.report.add_note("the tokenizer has no end-of-sequence token; a student will not learn where to stop")


def _no_examples(source: DataSource, report: DataReport) -> UserError:
    reasons = "; ".join(report.reasons()[:3])
    if not reasons:
        return UserError(f"{source.path}: contains no records; leave the file out or add data.", key="data.no_records")
    return UserError(
        f"{source.path}: no record can be used: {reasons}; fix them or choose another data.format or data.max_length.",
        key="data.no_usable_records",
    )
