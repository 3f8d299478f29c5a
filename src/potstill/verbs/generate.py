"""``potstill generate``: the answer of a language model to a prompt."""

from __future__ import annotations

from potstill.data.text import prompt_of
from potstill.errors import UserError
from potstill.families.devices import available_device
from potstill.families.load import load_language
from potstill.recipe.base import MAX_WHOLE


def generate(
    model: str,
    prompt: str,
    *,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    device: str | None = None,
) -> str:
    """Generate the answer to a prompt, formatted by the model's chat template or, without one, Alpaca's.

    Parameters
    ----------
    model
        A folder written by Potstill, a Hugging Face checkpoint, a GGUF file, or a hub id.
    prompt
        The user's message.
    max_new_tokens
        Maximum length of the answer.
    temperature
        0: always the most likely token; from 0.001 to 1000: sampled.
    seed
        Seed of the sampling.
    device
        Such as ``cpu`` or ``cuda:1``; default: a GPU if there is one.

    Raises
    ------
    UserError
        For an empty prompt, a number out of range, or a model that cannot be loaded.
    """
    if not prompt.strip():
        raise UserError("prompt: is empty; write a question or an instruction.", key="prompt.empty")
    if max_new_tokens < 1:
        raise UserError(f"--max-new-tokens {max_new_tokens}: must be at least 1.", key="option.out_of_range")
    if temperature != 0 and not 0.001 <= temperature <= 1000:
        raise UserError(
            f"--temperature {temperature}: must be 0 (always the most likely token), or from 0.001 to 1000.",
            key="option.out_of_range",
        )
    if not 0 <= seed <= MAX_WHOLE:
        raise UserError(f"--seed {seed}: must be a whole number from 0 to {MAX_WHOLE:,}.", key="option.out_of_range")
    loaded = load_language(model, device=available_device(device)).freeze()
    return loaded.generate([prompt_of(loaded.tokenizer, prompt)], max_new_tokens, temperature, seed)[0]
