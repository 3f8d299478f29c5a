"""Files of instructions in, tokenised examples out: files → records → dialogues → a tokenizer's form → tokens.

A file's records are found (``sources``, ``records``, ``tables``) and understood as dialogues (``formats``); a dialogue
is written the way the tokenizer's model reads it (``forms``), tokenised once (``encode``, ``build``) and memory-mapped
from then on (``corpus``). ``open_examples`` is the way in.
"""

from potstill.data.text.dialogue import Turn
from potstill.data.text.examples import Examples, check_data, open_examples
from potstill.data.text.templates import prompt_of

__all__ = ["Examples", "Turn", "check_data", "open_examples", "prompt_of"]
