"""``potstill generate``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli.options import with_options


@with_options("device", "seed")
def generate(
    model: Annotated[
        str, typer.Argument(help="A folder written by Potstill, a Hugging Face checkpoint, a GGUF file, or a hub id.")
    ],
    prompt: Annotated[str, typer.Argument(help="The user's message.")],
    max_new_tokens: Annotated[int, typer.Option(help="Maximum length of the answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0: always the most likely token; above 0: sampled.")] = 0.0,
    device: str | None = None,
    seed: int | None = None,
) -> None:
    """Generate a language model's answer to a prompt."""
    from potstill import verbs

    answer = verbs.generate(
        model, prompt, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed or 0, device=device
    )
    typer.echo(answer)
