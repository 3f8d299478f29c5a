"""``potstill evaluate`` of language models: what they make of the same held-out answers, and what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import console, say
from potstill.data.series.given import config_of
from potstill.data.text import check_data, open_examples
from potstill.errors import UserError
from potstill.evaluation.benchmark import progress_bar
from potstill.evaluation.language.evaluate import check_tokenizers, evaluate_language
from potstill.evaluation.language.rouge import rouge_scorer
from potstill.families.language.load import load_language
from potstill.families.language.model import LanguageModel
from potstill.recipe import DataConfig
from potstill.runs import open_run
from potstill.tasks.evaluation import judging, write_evaluation
from potstill.tasks.language.setup import check_tokens


def evaluate_texts(
    sources: dict[str, str], reference: str, data: Any, output: str | Path, *, options: dict[str, Any], device: str
) -> Path:
    """Measure language models; arguments as for ``evaluate``, the models named and the device chosen.

    Texts are cut into tokens, and prompts written, as the first model's tokenizer does; the others' must be the same.

    Raises
    ------
    UserError
        Settings for forecasters, data that cannot be read or hold no example of the part, models of different
        tokenizers, or a length that one of them does not read.
    """
    rouge_scorer()  # what is missing must not be missed after the models were loaded
    recipe = judging("language", config_of(data), options, sources)
    check_data(recipe.data)
    with console.status("Loading models, cutting texts into tokens"):
        models = {name: load_language(source, device=device).freeze() for name, source in sources.items()}
        check_tokenizers(models)
        recipe.data = _fit_length(recipe.data, models)
        examples = open_examples(recipe.data, next(iter(models.values())).tokenizer, recipe.evaluation.split)
    if not len(examples):
        raise UserError(
            f"{recipe.data.paths[0]}: the {recipe.evaluation.split} part holds no example (split {recipe.data.split});"
            " write --split 0:0:1 to judge all."
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


def _fit_length(data: DataConfig, models: dict[str, LanguageModel]) -> DataConfig:
    """A length that no model is asked to exceed; what is shortened is said, what was given is refused."""
    name, shortest = min(models.items(), key=lambda item: item[1].max_length)
    limit = shortest.max_length
    if data.max_length <= limit:
        return data
    if "max_length" in data.model_fields_set:
        raise UserError(
            f"data.max_length: {name} reads {limit:,} tokens, {data.max_length:,} asked for; write {limit}."
        )
    say(f"Length     examples are cut at {limit} tokens: {name} reads no more")
    return data.model_copy(update={"max_length": limit})
