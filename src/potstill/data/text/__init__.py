"""Text data: files → records → dialogues → rendered text → tokenised examples.

A file's records are read (``files``, ``readers``, ``json_records``, ``tables``) and parsed into dialogues (``layouts``,
``parsers``). A dialogue is rendered with the tokenizer's chat template (``templates``), tokenised once (``encode``,
``build``) and memory-mapped (``corpus``). The entry point is ``open_examples``.
"""

from potstill.data.text.dialogue import Turn
from potstill.data.text.examples import Examples, check_data, open_examples
from potstill.data.text.templates import prompt_of

__all__ = ["Examples", "Turn", "check_data", "open_examples", "prompt_of"]
