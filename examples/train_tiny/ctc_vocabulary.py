"""The word pieces of the CTC sibling: byte-pair encoding with the blank in first place, as in the 5.0 checkpoints."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.models.parakeet.tokenization_parakeet import ParakeetTokenizer

from .grammar import sentences
from .vocabulary import TRAINING_SENTENCES

BLANK, BLANK_ID = "<pad>", 0
# At 80 ms a frame, letters would not fit fast speech (15 a second for 12.5 frames). 512 pieces make 4 a second in the median
# clip and 9 in the fastest hundredth.
PIECES = 512


def train_pieces(seed: int) -> ParakeetTokenizer:
    """Byte-pair encoding over lower-case words, trained on the domain's own sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[BLANK],
        initial_alphabet=list("Ġ'abcdefghijklmnopqrstuvwxyz"),
        show_progress=False,
    )
    texts = (f" {sentence}" for sentence in islice(sentences(seed, test=False), TRAINING_SENTENCES))
    tokenizer.train_from_iterator(texts, trainer)
    return ParakeetTokenizer(tokenizer_object=tokenizer, pad_token=BLANK, clean_up_tokenization_spaces=False)


def load_or_train_pieces(folder: Path, seed: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder, trained first if the folder has none."""
    if not (folder / "tokenizer.json").exists():
        train_pieces(seed).save_pretrained(folder)
    return ParakeetTokenizer.from_pretrained(folder)


def spoken_text(tokenizer: PreTrainedTokenizerFast, labels: list[int]) -> str:
    """Text of frame-wise best labels: the tokenizer merges repeats and drops blanks."""
    return tokenizer.decode(labels, skip_special_tokens=True).strip()
