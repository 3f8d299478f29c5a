"""A causal language model: ``AutoModelForCausalLM`` and its tokenizer, with logits that are projected late.

Shapes: B examples, T tokens, N answer tokens of the batch, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from potstill.errors import UserError
from potstill.families.base import Model, Source, evaluating
from potstill.types import Logits, Output, Tokens

FAMILY = "language"
#: switched off: a checkpoint's own taste would make two models' answers incomparable
PLAIN = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_new_tokens": None, "num_beams": 1}
_PROBE = 4  # tokens on which the late projection is checked against the model's own logits


class LanguageModel(Model):
    """A loaded causal language model; see :class:`Model`.

    Attributes
    ----------
    tokenizer
        A transformers tokenizer, which has a pad token (the end-of-text token, where it had none).
    max_length
        Most tokens that the model reads.
    """

    family = FAMILY
    module: Any

    def __init__(self, module: Any, tokenizer: Any, source: Source):
        self.module, self.tokenizer, self.source = module, tokenizer, source
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise UserError(
                    f"{source.location}: its tokenizer has neither a pad nor an end-of-text token; add one of them to"
                    " tokenizer_config.json."
                )
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token_id >= self.vocabulary and tokenizer.eos_token_id is not None:
            tokenizer.pad_token = tokenizer.eos_token  # a pad token was added, and the embeddings not made longer
        config = module.config.get_text_config()
        self.max_length: int = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length

    @property
    def vocabulary(self) -> int:
        """Width of the output layer, V."""
        return self.module.get_output_embeddings().weight.shape[0]

    def forward(self, tokens: Tokens, horizon: int | None = None) -> Output:
        """One differentiable pass: the Logits of the answer tokens, from the states of the tokens before them."""
        states = self.module.base_model(input_ids=tokens.input_ids, attention_mask=tokens.attention.long())
        device = tokens.input_ids.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        # token t is predicted at t − 1; nothing predicts the first one
        before = states.last_hidden_state[:, :-1][tokens.answer[:, 1:]]
        return Output(Logits(before, self.module.get_output_embeddings(), precision))

    def check(self) -> LanguageModel:
        """Raise UserError where its logits are more than its output layer's product, or it looks at what follows."""
        ids = torch.arange(_PROBE, device=self.device)[None] % self.vocabulary
        with torch.no_grad(), evaluating(self.module):
            own = self.module(input_ids=ids).logits[0, :-1].float()
            every = torch.ones_like(ids, dtype=torch.bool)
            late = self.forward(Tokens(ids, every, every, ids[:, 0])).logits
            assert isinstance(late, Logits)
            ours = late.head(late.states).float()
            other = ids.clone()
            other[0, -1] = ids[0, 0]
            before = self.module(input_ids=other).logits[0, :-1].float()
        if not torch.allclose(own, before, rtol=1e-4, atol=1e-4):
            raise UserError(
                f"{self.source.location}: {type(self.module).__name__} looks at the tokens that follow; choose a causal"
                " language model."
            )
        if not torch.allclose(own, ours, rtol=1e-3, atol=1e-3):
            raise UserError(
                f"{self.source.location}: {type(self.module).__name__} changes its logits after the output layer, which"
                " Potstill does not follow; choose another model."
            )
        return self

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[str], max_new_tokens: int = 128, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Continue prompts.

        Parameters
        ----------
        prompts
            As the model reads them, chat template applied: no special tokens are added.
        max_new_tokens
            Longest continuation.
        temperature
            0: the likeliest token each time; above: sampled.
        seed
            Of the sampling.

        Returns
        -------
        list of str
            The continuations alone, special tokens left out.
        """
        if not prompts:
            return []
        tokenizer = self.tokenizer
        side, tokenizer.padding_side = tokenizer.padding_side, "left"
        try:
            batch = tokenizer(list(prompts), add_special_tokens=False, padding=True, return_tensors="pt")
        finally:
            tokenizer.padding_side = side
        longest = batch["input_ids"].shape[1]
        if longest >= self.max_length:
            raise UserError(f"prompt: {longest:,} tokens, the model reads {self.max_length:,}; shorten it.")
        room = min(max_new_tokens, self.max_length - longest)
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {}
        if sampling:
            torch.manual_seed(seed)
        with evaluating(self.module):
            out = self.module.generate(
                input_ids=batch["input_ids"].to(self.device),
                attention_mask=batch["attention_mask"].to(self.device),
                max_new_tokens=room,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=self.ends or None,
                **PLAIN,
                **(sampling or {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}),
            )
        return tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)

    @property
    def ends(self) -> list[int]:
        """Tokens that end an answer: the model's own, its generation config's and the tokenizer's."""
        found: list[int] = []
        for holder in (self.module.generation_config, self.module.config, self.tokenizer):
            ends = getattr(holder, "eos_token_id", None)
            found += ends if isinstance(ends, list) else [] if ends is None else [ends]
        return sorted({end for end in found if end < self.vocabulary})

    def save(self, folder: Path) -> None:
        """Upstream's layout: config.json, model.safetensors and the tokenizer's files."""
        self.module.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
