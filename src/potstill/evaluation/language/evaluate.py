"""Evaluate language models, all on the same held-out answers and prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from potstill.console import ProgressCallback
from potstill.errors import UserError
from potstill.evaluation.language import metrics
from potstill.evaluation.language.cost import measure_language_costs
from potstill.evaluation.language.generations import MAX_NEW_TOKENS, PROMPT_COUNT, Generations, generate_answers
from potstill.evaluation.language.rouge import ROUGE_TOKENISATION, rouge_scorer
from potstill.evaluation.language.scoring import CROSS_ENTROPY, HeldOut, TokenScores, longest, sample, score_examples
from potstill.families.language.model import LanguageModel
from potstill.recipe import LanguageEvaluation

ROUGE = "rouge_l"


def evaluate_language(
    models: Mapping[str, LanguageModel],
    examples: HeldOut,
    reference: str | None,
    config: LanguageEvaluation,
    progress: ProgressCallback | None = None,
    *,
    prompts: int = PROMPT_COUNT,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Evaluate all models on the same examples.

    Parameters
    ----------
    models
        Language models with the same tokenizer, by name, such as ``teacher``, ``student``, ``control``.
    examples
        The held-out examples.
    reference
        The model that others are compared with, or None.
    config
        ``split`` names the part; ``max_windows`` is the maximum number of scored examples (a fixed random sample).
    progress
        Called after every batch; ``progress_bar`` returns one.
    prompts, max_new_tokens
        The number of generated answers per model, and their maximum length.

    Returns
    -------
    The content of metrics.json (without provenance), and that of generations.json. In the first,
    ``models.{name}.{split}`` has the metrics of ``metrics.summarise`` and ``rouge_l``, each with ``…_interval``;
    ``retention`` has the subject's ``agreement``, ``kl``, ``perplexity`` (the teacher's divided by the subject's) and
    ``rouge_l`` (the subject's divided by the teacher's); ``intervals.{"a/b"}.{metric}`` is the ratio of a's metric to
    b's.

    Raises
    ------
    UserError
        When there is no example, the reference is not among the models, tokenizers differ, an example is longer than a
        model's maximum, probabilities are not finite, or a package is missing.
    """
    rouge_scorer()  # a missing package is reported before hours of work
    _check(models, examples, reference)
    ids = sample(len(examples), config.max_windows)
    _check_length(models, examples, ids)
    subject = next((name for name in ("student", *models) if name in models and name != reference), next(iter(models)))
    total = len(ids) + len(models) * min(prompts, len(examples))

    def advance_from(before: int, what: str) -> Callable[[int], None]:
        return lambda done: progress(before + done, total, what) if progress is not None else None

    scores = score_examples(models, examples, ids, reference, advance_from(0, "answers"))
    _check_finite(scores)
    written = generate_answers(models, examples, prompts, max_new_tokens, advance_from(len(ids), "prompts"))
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
        if name == reference:  # its distance from itself is zero
            figures = {key: value for key, value in figures.items() if not key.startswith(("kl", "agreement"))}
        found[name] = figures | (metrics.with_interval(ROUGE, rouge[name]) if name in rouge else {})
    return found


def _retention(found: Mapping[str, Mapping[str, Any]], subject: str, reference: str | None) -> dict[str, float]:
    if reference is None or reference == subject:
        return {}
    own, teacher = found[subject], found[reference]
    kept = {"agreement": own["agreement"], "perplexity": teacher["perplexity"] / own["perplexity"], "kl": own["kl"]}
    if teacher.get(ROUGE):
        kept[ROUGE] = own[ROUGE] / teacher[ROUGE]
    return kept


def _account(examples: HeldOut, ids: np.ndarray, scores: TokenScores, written: Generations) -> dict[str, Any]:
    return {
        "answers": {"examples": len(ids), "of": len(examples), "tokens": int(scores.tokens.sum())},
        "prompts": {"answered": len(written.ids), "max_new_tokens": written.max_new_tokens, "decoding": "greedy"},
        ROUGE: f"F1 of the longest common subsequence; {ROUGE_TOKENISATION}",
        "intervals": "95 %, by a bootstrap over examples; ratios of two models are paired",
    }


def _check(models: Mapping[str, LanguageModel], examples: HeldOut, reference: str | None) -> None:
    if not len(examples):
        raise UserError(
            "evaluation: there is no held-out example; give more data or another data.split.",
            key="evaluation.no_example",
        )
    if reference is not None and reference not in models:
        raise UserError(
            f"reference: {reference!r} is not among the models; known: {', '.join(models)}.",
            key="evaluation.unknown_reference",
        )
    check_tokenizers(models)


def check_tokenizers(models: Mapping[str, LanguageModel]) -> None:
    """Raise UserError for models with different tokenizers: their metrics per token are not comparable."""
    (first, one), *others = models.items()
    for name, other in others:
        if other.tokenizer.get_vocab() != one.tokenizer.get_vocab():
            raise UserError(
                f"{name}: its tokenizer is not that of {first}, so their metrics per token are not comparable; evaluate"
                " them one by one.",
                key="evaluation.different_tokenizers",
            )


def _check_length(models: Mapping[str, LanguageModel], examples: HeldOut, ids: np.ndarray) -> None:
    most = longest(examples, ids)
    for name, model in models.items():
        if most > model.max_length:
            raise UserError(
                f"{name}: reads at most {model.max_length:,} tokens, but an example has {most:,}; set data.max_length:"
                f" {model.max_length}.",
                key="evaluation.example_too_long",
            )


def _check_finite(scores: Mapping[str, TokenScores]) -> None:
    for name, one in scores.items():
        bad = int((~np.isfinite(one.sums[CROSS_ENTROPY])).sum())
        if bad:
            raise UserError(
                f"{name}: its probabilities are NaN or infinite in {bad} of {len(one.tokens)} examples; the model is"
                " broken.",
                key="model.probabilities_not_finite",
            )
