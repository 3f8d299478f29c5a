"""``potstill evaluate`` of language models: what they make of the same held-out answers, and what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.data.instructions import open_examples
from potstill.errors import UserError
from potstill.evaluation.benchmark import progress_bar
from potstill.evaluation.language.evaluate import check_tokenizers, evaluate_language
from potstill.evaluation.report import draw_report, summary_lines
from potstill.families.language.load import load_language
from potstill.families.language.model import LanguageModel
from potstill.recipe import DataConfig, Recipe
from potstill.runs import check_run, open_run, write_atomically, write_json
from potstill.verbs.foreign import refuse_foreign
from potstill.verbs.given import config_of
from potstill.verbs.judged import part_to_judge
from potstill.verbs.language.setup import check_tokens
from potstill.verbs.provenance import machine
from potstill.verbs.say import say


def evaluate_texts(
    sources: dict[str, str], reference: str, data: Any, output: str | Path, *, options: dict[str, Any], device: str
) -> Path:
    """Measure language models; arguments as for ``evaluate``, the models named and the device chosen.

    Texts are cut into tokens, and prompts written, as the first model's tokenizer does; the others' must be the same.
    """
    check_run(output, resume=False)
    cut, part = part_to_judge(config_of(data), options.pop("split"), sources)
    given = {f"evaluation.{key}": value for key, value in options.items() if value is not None}
    recipe = Recipe.read(None, {"task": "language", "evaluation.split": part, **given})
    recipe.data = cut
    refuse_foreign(recipe)
    models = {name: load_language(source, device=device).freeze() for name, source in sources.items()}
    check_tokenizers(models)
    recipe.data = _fit_length(cut, models)
    examples = open_examples(recipe.data, next(iter(models.values())).tokenizer, part)
    if not len(examples):
        raise UserError(
            f"{cut.paths[0]}: the {part} part holds no example (split {cut.split}); write --split 0:0:1 to judge all."
        )
    for model in models.values():
        check_tokens(model, examples)
    folder = open_run(output, resume=False)
    say(*examples.account.lines())
    with progress_bar("Evaluating", "texts") as progress:
        metrics, generations = evaluate_language(models, examples, reference, recipe.evaluation, progress)
    metrics["account"] = {**metrics["account"], "data": examples.account.to_dict()}
    metrics["provenance"] = {
        "models": {name: {"source": m.source.location, "fingerprint": m.fingerprint} for name, m in models.items()},
        "data": {"paths": cut.paths, "fingerprint": examples.fingerprint},
        **machine(),
    }
    write_atomically(folder / "recipe.yaml", recipe.absolute().to_yaml())
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "generations.json", generations)
    path = draw_report(folder)
    say(*summary_lines(metrics), f"Report   {path}")
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
