"""``potstill evaluate`` for language models: their loss on held-out answers, and the answers they generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import console, progress_bar, say
from potstill.data.series.from_argument import config_of
from potstill.data.text import check_data, open_examples
from potstill.errors import UserError
from potstill.evaluation.language.evaluate import check_tokenizers, evaluate_language
from potstill.evaluation.language.rouge import rouge_scorer
from potstill.families.language.model import LanguageModel
from potstill.families.load import load_language
from potstill.recipe import TextData
from potstill.runs import open_run
from potstill.tasks.evaluation import evaluation_recipe, write_evaluation
from potstill.tasks.language.task import check_tokens


def evaluate_texts(
    sources: dict[str, str], reference: str, data: Any, output: str | Path, *, options: dict[str, Any], device: str
) -> Path:
    """Evaluate language models; arguments as for ``evaluate``, with models by name and a resolved device.

    The first model's tokenizer is used for all texts; the others must be equal to it.

    Raises
    ------
    UserError
        For settings for forecasters, data that cannot be read or have no example in the part, models with different
        tokenizers, or a length that a model cannot read.
    """
    rouge_scorer()  # report a missing package before loading models
    recipe = evaluation_recipe("language", config_of(data), options, sources)
    check_data(recipe.data)
    with console.status("Loading models, tokenising texts"):
        models = {name: load_language(source, device=device).freeze() for name, source in sources.items()}
        check_tokenizers(models)
        recipe.data = fit_length(recipe.data, models)
        examples = open_examples(recipe.data, next(iter(models.values())).tokenizer, recipe.evaluation.split)
    if not len(examples):
        raise UserError(
            f"{recipe.data.paths[0]}: the {recipe.evaluation.split} part holds no example (split {recipe.data.split});"
            " write --split 0:0:1 to evaluate on all of them.",
            key="data.empty_part",
        )
    for model in models.values():
        check_tokens(model, examples)
    folder = open_run(output, resume=False)
    say(*examples.report.lines())
    with progress_bar("Evaluating", "texts") as progress:
        metrics, generations = evaluate_language(models, examples, reference, recipe.evaluation, progress)
    metrics["account"] = {**metrics["account"], "data": examples.report.to_dict()}
    write_evaluation(folder, recipe, metrics, models, examples.fingerprint, {"generations.json": generations})
    return folder


def fit_length(data: TextData, models: dict[str, LanguageModel]) -> TextData:
    """The data section with a length that all models read; prints a shortened default, rejects an explicit length."""
    name, shortest = min(models.items(), key=lambda item: item[1].max_length)
    limit = shortest.max_length
    if data.max_length <= limit:
        return data
    if "max_length" in data.model_fields_set:
        raise UserError(
            f"data.max_length: {data.max_length:,} tokens, but {name} reads at most {limit:,}; write {limit}.",
            key="data.too_long_for_model",
        )
    say(f"Length     examples are truncated to {limit} tokens: {name} reads no more")
    return data.model_copy(update={"max_length": limit})
