"""Evaluate language models beside one another, all on the same held-out answers and prompts, in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from potstill.errors import UserError
from potstill.evaluation.benchmark import Progress
from potstill.evaluation.language import metrics
from potstill.evaluation.language.cost import measure_language_costs
from potstill.evaluation.language.generations import NEW_TOKENS, PROMPTS, Generations, generate_answers
from potstill.evaluation.language.rouge import TOKENISED, rouge_scorer
from potstill.evaluation.language.scoring import CROSS_ENTROPY, HeldOut, TokenScores, longest, sample, score_examples
from potstill.families.language.model import LanguageModel
from potstill.recipe import EvaluationConfig

ROUGE = "rouge_l"


def evaluate_language(
    models: Mapping[str, LanguageModel],
    examples: HeldOut,
    reference: str | None,
    config: EvaluationConfig,
    progress: Progress | None = None,
    *,
    prompts: int = PROMPTS,
    max_new_tokens: int = NEW_TOKENS,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure all models on the same examples.

    Parameters
    ----------
    models
        Language models of one tokenizer, by name, such as ``teacher``, ``student``, ``control``.
    examples
        The held-out part.
    reference
        The model that others are held against, or None.
    config
        ``split`` names the part; ``max_windows`` is the most examples that are scored (a fixed random sample of more).
    progress
        Called after every batch; ``progress_bar`` makes one.
    prompts, max_new_tokens
        Answers that are generated, and their longest length.

    Returns
    -------
    The tree for metrics.json (but for provenance), and the tree for generations.json. In the first,
    ``models.{name}.{split}`` holds the figures of ``metrics.summarise`` and ``rouge_l``, each with ``…_interval``;
    ``retention`` the subject's ``agreement``, ``kl``, ``perplexity`` (teacher's over its own) and ``rouge_l`` (its own
    over the teacher's); ``intervals.{"a/b"}.{metric}`` the ratio of a's metric to b's.

    Raises
    ------
    UserError
        No examples, a reference that is not among the models, models of different tokenizers, examples longer than a
        model reads, a model whose answers are not finite, or a missing package.
    """
    rouge_scorer()  # what is missing shows before hours of work
    _check(models, examples, reference)
    ids = sample(len(examples), config.max_windows)
    _check_length(models, examples, ids)
    subject = next((name for name in ("student", *models) if name in models and name != reference), next(iter(models)))
    total = len(ids) + len(models) * min(prompts, len(examples))

    def tell(before: int, what: str) -> Callable[[int], None]:
        return lambda done: progress(before + done, total, what) if progress is not None else None

    scores = score_examples(models, examples, ids, reference, tell(0, "answers"))
    _check_finite(scores)
    written = generate_answers(models, examples, prompts, max_new_tokens, tell(len(ids), "prompts"))
    weights = metrics.example_weights(len(ids))
    found = _figures(scores, written, reference, weights)
    pairs = metrics.intervals(scores, subject, reference, weights)
    for other in models:
        if other != subject and (ratio := written.ratio(subject, other)) is not None:
            pairs[f"{subject}/{other}"][ROUGE] = ratio.to_dict()
    if progress is not None:
        progress(total, total, "costs")
    tree = {
        "task": "language",
        "reference": reference,
        "subject": subject,
        "models": {name: {config.split: figures} for name, figures in found.items()},
        "retention": _retention(found, subject, reference),
        "intervals": pairs,
        "account": _account(examples, ids, scores[subject], written),
        "cost": measure_language_costs(models, reference=reference),
    }
    return tree, written.to_dict(subject)


def _figures(
    scores: Mapping[str, TokenScores], written: Generations, reference: str | None, weights: np.ndarray
) -> dict[str, dict[str, Any]]:
    rouge = written.intervals()
    found = {}
    for name, one in scores.items():
        figures = metrics.summarise(one, weights)
        if name == reference:  # what it is to itself says nothing
            figures = {key: value for key, value in figures.items() if not key.startswith(("kl", "agreement"))}
        found[name] = figures | (metrics.with_interval(ROUGE, rouge[name]) if name in rouge else {})
    return found


def _retention(found: Mapping[str, Mapping[str, Any]], subject: str, reference: str | None) -> dict[str, float]:
    if reference is None or reference == subject:
        return {}
    own, taught = found[subject], found[reference]
    kept = {"agreement": own["agreement"], "perplexity": taught["perplexity"] / own["perplexity"], "kl": own["kl"]}
    if taught.get(ROUGE):
        kept[ROUGE] = own[ROUGE] / taught[ROUGE]
    return kept


def _account(examples: HeldOut, ids: np.ndarray, scores: TokenScores, written: Generations) -> dict[str, Any]:
    return {
        "answers": {"examples": len(ids), "of": len(examples), "tokens": int(scores.tokens.sum())},
        "prompts": {"answered": len(written.ids), "max_new_tokens": written.max_new_tokens, "decoding": "greedy"},
        ROUGE: f"F1 of the longest common subsequence; {TOKENISED}",
        "intervals": "95 %, by a bootstrap over examples; ratios of two models are paired",
    }


def _check(models: Mapping[str, LanguageModel], examples: HeldOut, reference: str | None) -> None:
    if not len(examples):
        raise UserError("evaluation: there is no held-out example; give more data or another data.split.")
    if reference is not None and reference not in models:
        raise UserError(f"reference: {reference!r} is not among the models; known: {', '.join(models)}.")
    check_tokenizers(models)


def check_tokenizers(models: Mapping[str, LanguageModel]) -> None:
    """Raise UserError for models of different tokenizers: what is counted per token would not be of the same tokens."""
    (first, one), *others = models.items()
    for name, other in others:
        if other.tokenizer.get_vocab() != one.tokenizer.get_vocab():
            raise UserError(
                f"{name}: its tokenizer is not that of {first}, so their figures per token cannot be compared; evaluate"
                " them one by one."
            )


def _check_length(models: Mapping[str, LanguageModel], examples: HeldOut, ids: np.ndarray) -> None:
    most = longest(examples, ids)
    for name, model in models.items():
        if most > model.max_length:
            raise UserError(
                f"{name}: reads {model.max_length:,} tokens, an example has {most:,}; write data.max_length:"
                f" {model.max_length}."
            )


def _check_finite(scores: Mapping[str, TokenScores]) -> None:
    for name, one in scores.items():
        bad = int((~np.isfinite(one.sums[CROSS_ENTROPY])).sum())
        if bad:
            raise UserError(
                f"{name}: its probabilities are not finite in {bad} of {len(one.tokens)} examples; the model is broken."
            )
