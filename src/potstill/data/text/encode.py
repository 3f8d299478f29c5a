"""Tokenise rendered dialogues and mark the tokens of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from potstill.data.text.dialogue import Rendered


class Encoded(NamedTuple):
    """``ids [T]`` int32 and ``answer [T]`` bool."""

    ids: np.ndarray
    answer: np.ndarray


def encode(batch: Sequence[Rendered], tokenizer: Any) -> list[Encoded]:
    """Tokenise each text and mark the tokens of its answers.

    A text is tokenised in one piece. If a token would span the border between prompt and answer, prompt and answers are
    tokenised separately, because generation starts from the tokens of the prompt alone.
    """
    texts = [rendered.text for rendered in batch]
    if not getattr(tokenizer, "is_fast", False):
        return [_without_first(_in_pieces(rendered, tokenizer)) for rendered in batch]
    tokens = _tokenised(texts, tokenizer, return_offsets_mapping=True)
    encoded = []
    for rendered, ids, offsets in zip(batch, tokens["input_ids"], tokens["offset_mapping"], strict=True):
        ends = np.array([end for _, end in offsets], np.int64)
        borders = [border for span in rendered.spans for border in span]
        if np.isin(borders, np.append(ends, 0)).all():
            # compare the ends: start offsets are unreliable (trimmed spaces, parts of one character)
            answer = np.zeros(len(ids), bool)
            for start, end in rendered.spans:
                answer |= (ends > start) & (ends <= end)
            encoded.append(_without_first(Encoded(np.array(ids, np.int32), answer)))
        else:
            encoded.append(_without_first(_in_pieces(rendered, tokenizer)))
    return encoded


def _in_pieces(rendered: Rendered, tokenizer: Any) -> Encoded:
    pieces, is_answer, place = [], [], 0
    for start, end in rendered.spans:
        pieces += [rendered.text[place:start], rendered.text[start:end]]
        is_answer += [False, True]
        place = end
    pieces.append(rendered.text[place:])
    is_answer.append(False)
    ids = [np.array(i, np.int32) for i in _tokenised(pieces, tokenizer)["input_ids"]]
    return Encoded(np.concatenate(ids), np.repeat(is_answer, [len(i) for i in ids]))


def _without_first(encoded: Encoded) -> Encoded:
    """Unmark the first token of a row: no token predicts it, so it has no loss."""
    encoded.answer[:1] = False
    return encoded


def _tokenised(texts: list[str], tokenizer: Any, **options: Any) -> Any:
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False, **options)
