"""The tokenizer of the tiny checkpoint, its prompt, and the labels of the CTC head."""

from __future__ import annotations

from functools import cache
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from .grammar import sentences

END, PAD, UNKNOWN, AUDIO = "<|end_of_text|>", "<|pad|>", "<|unk|>", "<|audio|>"
END_ID, PAD_ID, UNKNOWN_ID, AUDIO_ID = range(4)
SIZE = 1024
CTC_ALPHABET = [
    0,
    *map(ord, " 'abcdefghijklmnopqrstuvwxyz"),
]  # labels in use: the others of the head stay silent
TRAINING_SENTENCES = 40_000
INSTRUCTION = "can you transcribe the speech into a written format?"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\n ' }}"
    "{% elif message['role'] == 'user' %}{{ 'USER: ' + message['content'] + '\n ' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


@cache
def domain_words(seed: int) -> frozenset[str]:
    """Every word the training sentences hold; a clip with another one is not trained on."""
    return frozenset(
        word for text in islice(sentences(seed, test=False), TRAINING_SENTENCES) for word in text.split()
    )


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-pair encoding over printable ASCII, trained on the domain's own sentences and the prompt."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    printable = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[END, PAD, UNKNOWN, AUDIO],
        initial_alphabet=printable,
        show_progress=False,
    )
    texts = [f" {sentence}" for sentence in islice(sentences(seed, test=False), TRAINING_SENTENCES)]
    prompts = ["USER: ", INSTRUCTION, "\n ASSISTANT:"] * 2000
    tokenizer.train_from_iterator([*texts, *prompts], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        additional_special_tokens=[AUDIO],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def load_or_train(folder: Path, seed: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder, trained first if the folder has none."""
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(seed).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def prompt_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[int]]:
    """Token ids before and after the audio tokens, as the chat template renders them."""
    message = [{"role": "user", "content": AUDIO + INSTRUCTION}]
    rendered = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(rendered, add_special_tokens=False).input_ids
    place = ids.index(AUDIO_ID)
    return ids[:place], ids[place + 1 :]


def text_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[list[int]]:
    """Token ids of each word; the answer begins with a space."""
    return [tokenizer(f" {word}", add_special_tokens=False).input_ids for word in text.split()]


def ctc_labels(text: str) -> list[int]:
    """CTC label of each character: its code, 0 is blank."""
    return [ord(character) for character in text]


def ctc_classes(text: str) -> list[int]:
    """Place of each character in `CTC_ALPHABET`."""
    return [CTC_ALPHABET.index(ord(character)) for character in text]


def ctc_text(labels: list[int]) -> str:
    """Text of frame-wise best labels: repeats merged, blanks dropped."""
    kept = [label for label, before in zip(labels, [0, *labels[:-1]], strict=True) if label != before]
    return " ".join("".join(chr(label) for label in kept if label).split())
