"""``potstill generate``: what a language model answers to a prompt."""

from __future__ import annotations

from potstill.data.text import prompt_of
from potstill.errors import UserError
from potstill.families.language.load import load_language
from potstill.tasks.forecasting import available


def generate(
    model: str,
    prompt: str,
    *,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    device: str | None = None,
) -> str:
    """Answer a prompt in the form that the model was trained on: its chat template, or Alpaca's.

    Parameters
    ----------
    model
        A folder made here, an upstream checkpoint, a GGUF file, or a hub id.
    prompt
        What the user says.
    max_new_tokens
        Longest answer.
    temperature
        0: the likeliest token each time; above: sampled.
    seed
        Of the sampling.
    device
        ``cpu`` or ``cuda``; default: cuda where there is one.

    Raises
    ------
    UserError
        For an empty prompt, a number out of range, or a model that cannot be loaded.
    """
    if not prompt.strip():
        raise UserError("prompt: is empty; write what the model is to answer.")
    if max_new_tokens < 1:
        raise UserError(f"--max-new-tokens {max_new_tokens}: must be at least 1.")
    if not 0 <= temperature < float("inf"):
        raise UserError(f"--temperature {temperature}: must be 0 or above.")
    loaded = load_language(model, device=available(device)).freeze()
    return loaded.generate([prompt_of(loaded.tokenizer, prompt)], max_new_tokens, temperature, seed)[0]
