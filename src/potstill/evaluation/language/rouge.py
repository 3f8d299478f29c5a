"""ROUGE-L F1 by the package ``rouge-score``, with words that are found in any script.

The package's own tokenizer keeps a–z and 0–9 alone, so an answer in Chinese would have no words at all. Here a word is
a run of letters, marks and digits of any script, in lower case and in Unicode's form NFKC; in scripts that put no
spaces between words (Chinese characters, kana, Thai, Lao, Burmese, Khmer) each character is a word, with the marks that
belong to it. Text in a–z and 0–9 is cut as the package does it. Words are not stemmed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from potstill.errors import UserError

TOKENISED = "words of any script in lower case, unstemmed; single characters where a script has no spaces"
# first and last code points of the scripts that put no spaces between words
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
    """Cuts text into words; what ``rouge_score`` calls a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Words in order."""
        words: list[str] = []
        inside = joined = False  # whether the last letter was of a word; whether the next one belongs to that word
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
    """ROUGE-L F1 of each answer against its reference.

    Returns
    -------
    ``[n]`` float64 in [0, 1]; 0 where reference or answer holds no word.
    """
    scorer = rouge_scorer()
    pairs = zip(references, answers, strict=True)
    return np.array([scorer.score(reference, answer)["rougeL"].fmeasure for reference, answer in pairs])


def rouge_scorer() -> Any:
    """The package's scorer with our words.

    Raises
    ------
    UserError
        Where the package is not installed.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise UserError(
            f'ROUGE-L: needs rouge-score, which cannot be imported ({error}); run `pip install "potstill[lm]"`.'
        ) from None
    return RougeScorer(["rougeL"], tokenizer=Words())


def _spaceless(letter: str) -> bool:
    code = ord(letter)
    return any(first <= code <= last for first, last in _SPACELESS)
