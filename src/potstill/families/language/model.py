"""A causal language model: ``AutoModelForCausalLM`` and its tokenizer.

The forward pass returns the hidden states of the answer tokens, and the logits are projected from them in chunks later
("late projection"), because the logits of a whole batch would take too much memory.

Shapes: B examples, T tokens, N answer tokens of the batch, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch

from potstill.errors import UserError
from potstill.families.attention import without_cudnn
from potstill.families.base import Model, ModelSource, evaluating
from potstill.families.language.layers import attention_of, blocks_of, recording
from potstill.families.language.projections import projections_of
from potstill.types import Logits, Output, Request, Tokens

LANGUAGE_FAMILY = "language"
#: overrides a checkpoint's own generation settings, which would make two models' outputs incomparable
GENERATION_DEFAULTS = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_new_tokens": None, "num_beams": 1}
#: names of the number of experts in transformers' configs
EXPERT_KEYS = ("num_local_experts", "num_experts", "n_routed_experts")
_PROBE_TOKENS = 4  # length of the input for which the late projection is compared with the model's own logits


class LanguageModel(Model):
    """A loaded causal language model; see :class:`Model`.

    Attributes
    ----------
    tokenizer
        A transformers tokenizer with a pad token (the end-of-text token if it had none).
    max_length
        Longest input in tokens.
    """

    family = LANGUAGE_FAMILY
    module: Any

    def __init__(self, module: Any, tokenizer: Any, source: ModelSource):
        self.module, self.tokenizer, self.source = module, tokenizer, source
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise UserError(
                    f"{source.location}: its tokenizer has neither a pad nor an end-of-text token; add one of them to"
                    " tokenizer_config.json.",
                    key="model.no_pad_token",
                )
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token_id >= self.vocabulary and tokenizer.eos_token_id is not None:
            tokenizer.pad_token = tokenizer.eos_token  # a pad token was added without resizing the embeddings
        config = module.config.get_text_config()
        self.max_length: int = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
        _, blocks = blocks_of(module)
        self.layers, self.width = len(blocks), getattr(config, "hidden_size", 0)
        self.heads = getattr(config, "num_attention_heads", 0)
        attentions = [attention_of(block) for block in blocks]
        projections = [projections_of(attention, module.config) for attention in attentions]
        self.head_width = projections[0].head_width if projections and projections[0] else 0
        signals = {"hidden": bool(blocks), "attention": None not in attentions, "qkv": None not in projections}
        self.signals = frozenset({"logits", *(name for name, has in signals.items() if has and blocks)})

    @property
    def vocabulary(self) -> int:
        """Number V of logits per token, the width of the output layer."""
        return self.module.get_output_embeddings().weight.shape[0]

    @property
    def active_parameters(self) -> int:
        """Number of weights that one token passes through: of each layer's experts only those that the router picks."""
        config = self.module.config.get_text_config()
        experts = next((getattr(config, key) for key in EXPERT_KEYS if getattr(config, key, None)), None)
        picked = getattr(config, "num_experts_per_tok", None)
        if not experts or not picked:
            return self.parameters
        held = sum(p.numel() for name, p in self.module.named_parameters() if ".experts." in name)
        return self.parameters - held + held * picked // experts

    def forward(self, tokens: Tokens, request: Request) -> Output:
        """Run one differentiable forward pass; each answer token's Logits come from the state of the token before it.

        ``hidden[i]`` is the residual stream after block i, before the final norm also for the last block, unlike the
        last entry of transformers' ``hidden_states``. ``qkv[i]`` are the outputs of the layer's projections. If
        attention maps are requested, all layers use eager attention.
        """
        self.check_request(request)
        with recording(self.module, request, self.source.name) as recorded, without_cudnn(tokens.input_ids.device):
            states = self.module.base_model(input_ids=tokens.input_ids, attention_mask=tokens.attention.long())
        device = tokens.input_ids.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        # the state at t − 1 predicts token t; nothing predicts the first token
        before = states.last_hidden_state[:, :-1][tokens.answer[:, 1:]]
        logits = Logits(before, self.module.get_output_embeddings(), precision)
        if not request.layers:
            return Output(logits)
        return Output(logits, recorded.hidden, recorded.attention, tokens.attention, qkv=recorded.qkv)

    def check(self) -> Self:
        """Raise UserError if the model is not causal, or changes its logits after the output layer."""
        ids = torch.arange(_PROBE_TOKENS, device=self.device)[None] % self.vocabulary
        with torch.no_grad(), evaluating(self.module):
            reference = self.module(input_ids=ids).logits[0, :-1].float()
            every = torch.ones_like(ids, dtype=torch.bool)
            late = self.forward(Tokens(ids, every, every, ids[:, 0]), Request()).logits
            assert isinstance(late, Logits)
            projected = late.head(late.states).float()
            changed = ids.clone()
            changed[0, -1] = ids[0, 0]
            unaffected = self.module(input_ids=changed).logits[0, :-1].float()
        if not torch.allclose(reference, unaffected, rtol=1e-4, atol=1e-4):
            raise UserError(
                f"{self.source.location}: {type(self.module).__name__} attends to later tokens; choose a causal"
                " language model.",
                key="model.not_causal",
            )
        if not torch.allclose(reference, projected, rtol=1e-3, atol=1e-3):
            raise UserError(
                f"{self.source.location}: {type(self.module).__name__} changes its logits after the output layer, which"
                " Potstill does not support; choose another model.",
                key="model.logits_changed",
            )
        return self

    def _sizes(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary, "max_context": self.max_length}

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[str], max_new_tokens: int = 128, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """Continue prompts.

        Parameters
        ----------
        prompts
            Text with the chat template already applied; no special tokens are added.
        max_new_tokens
            Longest continuation in tokens.
        temperature
            0: greedy decoding; above 0: sampling.
        seed
            Seed of the sampling.

        Returns
        -------
        list of str
            The continuations without the prompts and without special tokens.

        Raises
        ------
        UserError
            If a prompt is longer than the model reads.
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
            raise UserError(
                f"prompt: has {longest:,} tokens, but the model reads {self.max_length:,}; shorten it.",
                key="prompt.too_long",
            )
        room = min(max_new_tokens, self.max_length - longest)
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {}
        if sampling:
            torch.manual_seed(seed)
        with evaluating(self.module), without_cudnn(self.device):
            out = self.module.generate(
                input_ids=batch["input_ids"].to(self.device),
                attention_mask=batch["attention_mask"].to(self.device),
                max_new_tokens=room,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=self.ends or None,
                **GENERATION_DEFAULTS,
                **(sampling or {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}),
            )
        return tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)

    @property
    def ends(self) -> list[int]:
        """Tokens that end generation: those of the config, of the generation config and of the tokenizer."""
        tokens: list[int] = []
        for holder in (self.module.generation_config, self.module.config, self.tokenizer):
            ends = getattr(holder, "eos_token_id", None)
            tokens += ends if isinstance(ends, list) else [] if ends is None else [ends]
        return sorted({end for end in tokens if end < self.vocabulary})

    def save(self, folder: Path) -> None:
        """Write upstream's layout: config.json, model.safetensors and the tokenizer's files."""
        self.module.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
