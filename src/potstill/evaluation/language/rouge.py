"""ROUGE-L F1 from the package ``rouge-score``, with a tokenizer for all scripts.

The package's own tokenizer keeps only a–z and 0–9, so an answer in Chinese would have no words. Here a word is a
sequence of letters, marks and digits of any script, in lower case and Unicode form NFKC. In scripts without spaces
between words (Chinese characters, kana, Thai, Lao, Burmese, Khmer) each character is a word, together with its marks.
Text in a–z and 0–9 is tokenised as in the package. Words are not stemmed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from potstill.errors import UserError

ROUGE_TOKENISATION = "words of any script in lower case, unstemmed; single characters where a script has no spaces"
# first and last code points of the scripts without spaces between words
_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x30FF),  # iteration mark, kana
    (0x31F0, 0x31FF),  # small kana
    (0x3400, 0x4DBF),  # Chinese characters, and the next lines
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class Words:
    """Splits text into words: a tokenizer for ``rouge_score``."""

    def tokenize(self, text: str) -> list[str]:
        """Words in order."""
        words: list[str] = []
        inside = joined = False  # the last letter is part of a word; the next letter continues it
        for letter in unicodedata.normalize("NFKC", text).lower():
            kind = unicodedata.category(letter)[0]
            if kind not in "LMN":
                inside = joined = False
            elif kind == "M":
                if inside:
                    words[-1] += letter
            elif joined and not _spaceless(letter):
                words[-1] += letter
            else:
                words.append(letter)
                inside, joined = True, not _spaceless(letter)
        return words


def rouge_l(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """ROUGE-L F1 of each answer with its reference.

    Returns
    -------
    ``[n]`` float64 in [0, 1]; 0 where the reference or the answer has no word.
    """
    scorer = rouge_scorer()
    pairs = zip(references, answers, strict=True)
    return np.array([scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs])


def rouge_scorer() -> Any:
    """The package's scorer with our tokenizer.

    Raises
    ------
    UserError
        Where the package is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError(
            f'ROUGE-L: needs rouge-score, which cannot be imported ({error}); run `pip install "potstill[lm]"`.',
            key="evaluation.rouge_not_installed",
        ) from None
    return RougeScorer(["rougeL"], tokenizer=Words())


def _spaceless(letter: str) -> bool:
    code = ord(letter)
    return any(first <= code <= last for first, last in _SPACELESS)
