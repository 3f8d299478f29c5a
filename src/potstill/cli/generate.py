"""``potstill generate``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli import options as given


def generate(
    model: Annotated[str, typer.Argument(help="A folder made here, an upstream checkpoint, a GGUF file, or a hub id.")],
    prompt: Annotated[str, typer.Argument(help="What the model is to answer.")],
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0: the likeliest token each time; above: sampled.")] = 0.0,
    device: given.Device = None,
    seed: given.Seed = None,
) -> None:
    """Let a language model answer a prompt."""
    from potstill import verbs

    answer = verbs.generate(
        model, prompt, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed or 0, device=device
    )
    typer.echo(answer)
