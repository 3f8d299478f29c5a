"""Tiny byte-level tokenizers, trained on a few sentences, that can encode any text; and files of records."""

import gzip
import json
from pathlib import Path

import pytest

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SENTENCES = [
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "### Instruction:\nName a colour.\n\n### Response:\nBlue, like the sky above the still.\n\n",
    "user\nassistant\nsystem\nQuestion and answer: the still boils, the spirit rises, the copper cools it down.",
]


def make_tokenizer(template=None, pad="<|pad|>", bos=None):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|im_end|>", "<|im_start|>", *filter(None, [pad, bos])]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES, trainer)
    if bos:
        single = f"{bos} $A"
        backend.post_processor = processors.TemplateProcessing(
            single=single, special_tokens=[(bos, backend.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token=pad,
        bos_token=bos,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer_with():
    """Makes a tokenizer from a chat template, a pad token and a begin token."""
    return make_tokenizer


@pytest.fixture(scope="session")
def chat():
    """A tokenizer with the ChatML template."""
    return make_tokenizer(CHATML)


@pytest.fixture(scope="session")
def bare():
    """A tokenizer without a chat template."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def sentencepiece_like():
    """A tokenizer like that of Llama 2: spaces are marks, unknown characters are bytes, a begin token comes first."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    backend.train_from_iterator(SENTENCES, trainer)
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture
def write(tmp_path):
    """Writes a file: bytes and text unchanged, lists as JSON or JSON Lines, gzip-compressed if the name ends in .gz."""

    def write(name: str, content) -> Path:
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, (str, bytes)):
            lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in content)
            content = lines if ".jsonl" in name.lower() else json.dumps(content, ensure_ascii=False)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") and isinstance(content, str) else data)
        return path

    return write
