"""Training packs: clips drawn from the corpus, joined, varied and laid out for the packed network.

Owns sampling, augmentation on log-mel spectra, and the targets of each row (letters per frame, CTC labels, audio tokens,
text tokens). Knows nothing of the network's weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from lithophone.granite import features

from .corpus import Clip, read_shard
from .model import BLOCK, GUARD_FRAMES, QUERIES, WINDOW
from .vocabulary import AUDIO_ID, END_ID, PAD_ID, ctc_classes, ctc_labels, prompt_ids, text_ids

FRAMES = 1600  # of one pack: 32 s at 20 ms
WINDOWS = 120  # projector windows of one pack, unused ones read zeros
HEARD_TOKENS = 544  # of the language model's sequence: 4,000 packs needed 527 at most, 450 in the median
SIMULATED_TOKENS = 704
MAX_ROWS = 9
SIMULATED_ROWS = 36
LONGEST_PAUSES = 167  # frames of the pauses around one clip that must fit beside it
LONGEST_ROW = 450  # frames: 9 s, a little more than a window of the server
MEL = features.MEL_BANDS
IGNORE = -100
DOMAIN_SOURCES = {
    "espeak": 0.36,
    "flite": 0.28,
    "rhvoice": 0.17,
    "pico": 0.09,
    "an4": 0.09,
    "speechocean": 0.01,
}  # share of each in a mixture
SILENCE = -10.0  # log10 power of digital silence

Words = list[tuple[float, float]]


@dataclass
class Row:
    """One training example inside a pack."""

    start: int
    length: int
    text: str
    ctc: list[int]
    tokens: list[int]
    slots: list[int] | None


@dataclass
class Pack:
    """Rows side by side: features [frames, 160], their mask, and a letter for every frame where known."""

    features: Tensor
    mask: Tensor
    letters: Tensor
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Utterance:
    """A varied clip: log-mel every 10 ms and the times of its words in seconds."""

    mel: np.ndarray
    text: str
    words: Words | None  # None if no word is known; an unknown word among known ones has NaN for times


@dataclass(frozen=True)
class RowShape:
    """Room for a row in frames of 20 ms: `pauses` of it are kept for the pauses around one clip.

    Rows take whole blocks of `block` frames, of which the last `guard` stay empty.
    """

    room: int
    pauses: int
    block: int
    guard: int


class Corpus:
    """All shards of a folder, the alignments found for them, and the clips by source."""

    def __init__(self, folder: Path, alignments: Path, vocabulary: frozenset[str]) -> None:
        self.clips: list[tuple[np.ndarray, Clip]] = []
        self.by_source: dict[str, list[int]] = {}
        self.words: dict[int, Words] = {}
        for shard in sorted(folder.glob("*.mel")):
            mel, clips = read_shard(shard)
            for clip in clips:
                if clip.frames < 25 or not clip.text or not set(clip.text.split()) <= vocabulary:
                    continue
                self.by_source.setdefault(clip.source, []).append(len(self.clips))
                self.clips.append((mel, clip))
        for index, (_, clip) in enumerate(self.clips):
            if clip.words:
                self.words[index] = [tuple(word) for word in clip.words]
        for path in sorted(alignments.glob("words-*.pt")):
            self.words.update(torch.load(path))

    def shares(self, wanted: Mapping[str, float]) -> dict[str, float]:
        """How often to draw each of the sources there are, of those wanted; human speech may be missing."""
        present = {name: share for name, share in wanted.items() if name in self.by_source}
        return {name: share / sum(present.values()) for name, share in present.items()}

    def mel(self, index: int) -> np.ndarray:
        """The log-mel spectrum of one clip."""
        mel, clip = self.clips[index]
        return mel[clip.offset : clip.offset + clip.frames].astype(np.float32)


def _warp_matrix(factor: float) -> np.ndarray:
    """Moves energy along the mel axis as a vocal tract `1 / factor` as long would."""
    top = 2595.0 * math.log10(1.0 + 8000 / 700.0)
    centres = (np.arange(MEL) + 1) * top / (MEL + 1)
    hertz = np.minimum(700 * (10 ** (centres / 2595) - 1) * factor, 7950)
    place = np.clip(2595 * np.log10(1 + hertz / 700) * (MEL + 1) / top - 1, 0, MEL - 1)
    low = np.minimum(place.astype(int), MEL - 2)
    share = place - low
    matrix = np.zeros((MEL, MEL), np.float32)
    matrix[low, np.arange(MEL)] = 1 - share
    matrix[low + 1, np.arange(MEL)] += share
    return matrix


WARPS = [torch.from_numpy(_warp_matrix(factor)) for factor in np.linspace(0.86, 1.17, 32)]


def varied(corpus: Corpus, index: int, rng: np.random.Generator) -> Utterance:
    """One clip with its vocal tract, speed and loudness varied."""
    mel, clip = corpus.mel(index), corpus.clips[index][1]
    words = corpus.words.get(index)
    if rng.random() < 0.6:
        mel = (torch.from_numpy(mel) @ WARPS[rng.integers(len(WARPS))]).numpy()
    if rng.random() < 0.4:
        factor = rng.uniform(0.87, 1.15)
        place = np.arange(int(len(mel) * factor)) / factor
        low = np.minimum(place.astype(int), len(mel) - 2)
        share = (place - low).astype(np.float32)[:, None].clip(0, 1)
        mel = mel[low] * (1 - share) + mel[low + 1] * share
        mel = mel.astype(np.float32)
        words = words and [(start * factor, end * factor) for start, end in words]
    mel = np.maximum(mel + np.float32(rng.uniform(-0.7, 0.5)), np.float32(SILENCE))
    return Utterance(mel, clip.text, words)


def _pause(mel: np.ndarray, seconds: float) -> np.ndarray:
    """The quiet of a clip, `seconds` long."""
    quiet = np.quantile(mel[:: max(1, len(mel) // 40)], 0.05, axis=0)
    return np.repeat(quiet[None], int(seconds * 100), 0).astype(np.float32)


def joined(parts: list[Utterance], rng: np.random.Generator, shape: RowShape) -> Utterance:
    """Utterances with pauses before, between and after; the outer ones are shorter where that saves a block."""
    first = min(rng.uniform(0.0, 1.0) if rng.random() < 0.35 else rng.exponential(0.12), 1.0)
    between = [rng.uniform(0.05, 0.6) for _ in parts[1:]]
    last = rng.uniform(0.4, 2.0) if rng.random() < 0.15 else rng.uniform(0.02, 0.3)
    spoken = sum(len(part.mel) for part in parts) / 2 + sum(between) * 50
    over = (spoken + (first + last) * 50 + shape.guard) % shape.block / 50
    kept = 1 - (over + 0.02) / (first + last)
    if kept > 0:
        first, last = first * kept, last * kept
    chunks: list[np.ndarray] = []
    words: Words = []
    for part, pause in zip(parts, [first, *between], strict=True):
        chunks.append(_pause(part.mel, pause))
        offset = sum(map(len, chunks)) / 100
        chunks.append(part.mel)
        unknown = [(math.nan, math.nan)] * len(part.text.split())
        words += [(offset + start, offset + end) for start, end in part.words or unknown]
    chunks.append(_pause(parts[-1].mel, last))
    known = any(part.words is not None for part in parts)
    return Utterance(np.concatenate(chunks), " ".join(part.text for part in parts), words if known else None)


FLUTTER = torch.from_numpy(
    np.log10(np.random.default_rng(5).gamma(3.0, 1 / 3.0, (20_000, MEL)) + 1e-3).astype(np.float32)
)


def _power_sum(one: np.ndarray, other: Tensor) -> np.ndarray:
    """log10 of the sum of two powers given as log10."""
    scale = math.log(10)
    return (torch.logaddexp(torch.from_numpy(one) * scale, other * scale) / scale).numpy()


def _noise(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stationary coloured noise, 12 to 45 dB below the loud parts."""
    loud = np.quantile(mel[::7, ::5], 0.95)
    tilt = np.linspace(rng.uniform(-0.6, 0.8), rng.uniform(-0.8, 0.5), MEL)
    bumps = np.interp(np.arange(MEL), np.linspace(0, MEL, 6), rng.normal(0, 0.3, 6))
    level = torch.from_numpy((loud - rng.uniform(1.2, 4.5) + tilt + bumps).astype(np.float32))
    begin = rng.integers(0, len(FLUTTER) - len(mel))
    return _power_sum(mel, FLUTTER[begin : begin + len(mel)] + level)


def _reverb(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exponentially decaying echoes of the power."""
    decay = 10 ** (-6 * 0.01 / rng.uniform(0.15, 0.5))
    taps = torch.tensor([1.0, *(rng.uniform(0.05, 0.3) * decay ** np.arange(1, 30))], dtype=torch.float32)
    power = torch.pow(10.0, torch.from_numpy(mel)).T[:, None]
    smeared = torch.nn.functional.conv1d(torch.nn.functional.pad(power, (29, 0)), taps.flip(0)[None, None])
    return smeared[:, 0].clamp(min=1e-10).log10().T.contiguous().numpy()


def _masks(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bands and moments that cannot be heard (SpecAugment, Park et al. 2019): what is missing follows from the words around."""
    mel = mel.copy()
    fill = mel.mean()
    for _ in range(rng.integers(0, 3)):
        width = rng.integers(1, 13)
        low = rng.integers(0, MEL - width)
        mel[:, low : low + width] = fill
    for _ in range(len(mel) // 120):
        width = rng.integers(1, 13)
        low = rng.integers(0, len(mel) - width)
        mel[low : low + width] = fill
    return mel


def degraded(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Room, channel and noise, each by chance."""
    if rng.random() < 0.08:
        mel = _reverb(mel, rng)
    if rng.random() < 0.5:
        curve = np.interp(np.arange(MEL), np.linspace(0, MEL, 4), rng.normal(0, 0.3, 4))
        mel = mel + curve.astype(np.float32)
    if rng.random() < 0.4:
        mel = _noise(mel, rng)
    if rng.random() < 0.08:
        mel = mel.copy()
        mel[:, rng.integers(55, 76) :] -= rng.uniform(1, 4)
    if rng.random() < 0.6:
        mel = _masks(mel, rng)
    return mel.astype(np.float32)


def normalised(mel: np.ndarray) -> Tensor:
    """Features of one row, [frames, 160], as the product normalises them."""
    tensor = torch.from_numpy(mel).clamp(min=SILENCE)
    scaled = torch.maximum(tensor, tensor.max() - features.LOG_MEL_RANGE) / 4 + 1
    frames = len(scaled) // 2
    return scaled[: frames * 2].reshape(frames, 160)


def frame_letters(text: str, words: Words, frames: int) -> np.ndarray:
    """A label for every frame: the letters of a word share its time evenly, pauses are blank."""
    labels = np.zeros(frames, dtype=np.int64)
    for word, (start, end) in zip(text.split(), words, strict=True):
        first, last = int(start * 50), min(max(int(end * 50), int(start * 50) + 1), frames)
        place = np.arange(first, last)
        letters = np.array(ctc_labels(word))
        labels[first:last] = letters[((place - first) * len(letters)) // max(1, last - first)]
        if first > 0:
            labels[min(first, frames) - 1] = 32
    return labels


def audio_slots(pieces: list[list[int]], words: Words, frames: int) -> list[int] | None:
    """The token each audio slot should stand for: at most three in the window where they are spoken, else padding."""
    windows: list[list[int]] = [[] for _ in range(math.ceil(frames / WINDOW))]
    current, unknown = 0, False
    for ids, (start, end) in zip(pieces, words, strict=True):
        if math.isnan(start):
            unknown = True
            continue
        if unknown:  # nothing is said of the windows since the last known word
            for skipped in range(current + 1 if any(windows) else 0, int(start * 50 / WINDOW)):
                windows[skipped] = [IGNORE] * QUERIES
            unknown = False
        for number, token in enumerate(ids):
            moment = start + (end - start) * (number + 0.6) / len(ids)
            current = max(current, int(moment * 50 / WINDOW))
            while current < len(windows) and len(windows[current]) == QUERIES:
                current += 1
            if current >= len(windows):
                return None
            windows[current].append(token)
    if unknown:
        windows[current + 1 :] = [[IGNORE] * QUERIES for _ in windows[current + 1 :]]
    return [token for window in windows for token in (*window, *[PAD_ID] * (QUERIES - len(window)))]


def drawn(
    corpus: Corpus, shares: Mapping[str, float], rng: np.random.Generator, wanted: float, shape: RowShape
) -> Utterance | None:
    """Clips joined until `wanted` frames of 20 ms are full."""
    parts: list[Utterance] = []
    frames, tries, source = 0.0, 0, ""
    while (not parts or frames < wanted) and tries < 6:
        if not source or rng.random() < 0.7:
            place = np.searchsorted(np.cumsum(list(shares.values())), rng.random())
            source = list(shares)[min(int(place), len(shares) - 1)]
        indices = corpus.by_source[source]
        part = varied(corpus, indices[rng.integers(len(indices))], rng)
        if frames + len(part.mel) / 2 + (shape.pauses if not parts else 32) > shape.room:
            tries += 1
            continue
        parts.append(part)
        frames += len(part.mel) / 2 + 20
    if not parts:
        return None
    whole = joined(parts, rng, shape)
    return Utterance(whole.mel[: shape.room * 2], whole.text, whole.words)


class PackMaker:
    """Draws packs. The same generator state gives the same pack."""

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
        self.corpus = corpus
        self._tokenizer = tokenizer
        self._pieces: dict[str, list[int]] = {}
        self.before, self.after = prompt_ids(tokenizer)

    def pieces(self, text: str) -> list[list[int]]:
        """Token ids of each word of a text."""
        for word in text.split():
            if word not in self._pieces:
                self._pieces[word] = text_ids(self._tokenizer, word)[0]
        return [self._pieces[word] for word in text.split()]

    def pack(self, shares: Mapping[str, float], rng: np.random.Generator, *, joined: float) -> Pack:
        """One random pack of the sources in their shares; `joined` is the share of rows that hold several clips."""
        pack = Pack(torch.zeros(FRAMES, 160), torch.zeros(FRAMES), torch.full((FRAMES,), IGNORE))
        used = 0
        while len(pack.rows) < MAX_ROWS and FRAMES - used >= BLOCK:
            room = min(FRAMES - used - GUARD_FRAMES, LONGEST_ROW)
            wanted = rng.uniform(150, LONGEST_ROW) if rng.random() < joined else 0.0
            shape = RowShape(room, LONGEST_PAUSES, BLOCK, GUARD_FRAMES)
            utterance = drawn(self.corpus, shares, rng, min(wanted, room), shape)
            if utterance is None:
                break
            used = self._place(pack, utterance, used, rng)
        return pack

    def _place(self, pack: Pack, utterance: Utterance, start: int, rng: np.random.Generator) -> int:
        rows = normalised(degraded(utterance.mel, rng))
        length = len(rows)
        pack.features[start : start + length] = rows
        pack.mask[start : start + length] = 1
        pieces, slots = self.pieces(utterance.text), None
        if utterance.words is not None:
            if not any(math.isnan(begin) for begin, _ in utterance.words):
                letters = frame_letters(utterance.text, utterance.words, length)
                pack.letters[start : start + length] = torch.from_numpy(letters)
            slots = audio_slots(pieces, utterance.words, length)
        tokens = [token for ids in pieces for token in ids]
        labels = ctc_classes(utterance.text)
        if len(labels) * 1.15 < length:
            pack.rows.append(Row(start, length, utterance.text, labels, tokens, slots))
        return start + math.ceil((length + GUARD_FRAMES) / BLOCK) * BLOCK


@dataclass
class TokenPack:
    """Layout of the language model's sequence: `source` indexes [embedding table | audio slots]."""

    source: Tensor
    rows: Tensor
    positions: Tensor
    targets: Tensor
    windows: Tensor
    slots: Tensor


def token_pack(
    pack: Pack, maker: PackMaker, vocabulary: int, *, tokens: int = HEARD_TOKENS, bare: bool = False
) -> TokenPack:
    """Prompt, audio slots and text of each row one after another, `tokens` in all; unused places belong to no row.

    A `bare` row has only the end of its prompt, which leaves room for more rows.
    """
    before, after = ([], maker.after[-1:]) if bare else (maker.before, maker.after)
    source, owner, positions, targets = [], [], [], []
    windows = torch.full((WINDOWS, WINDOW), -1)
    slots = torch.full((WINDOWS * QUERIES,), IGNORE)
    window = 0
    for number, row in enumerate(pack.rows):
        count = math.ceil(row.length / WINDOW)
        answer = [*row.tokens, END_ID]
        size = len(before) + count * QUERIES + len(after) + len(row.tokens)
        if len(source) + size > tokens or window + count > WINDOWS:
            continue
        frames = torch.arange(count * WINDOW).view(count, WINDOW)
        windows[window : window + count] = torch.where(frames < row.length, frames + row.start, -1)
        if row.slots is not None:
            slots[window * QUERIES : (window + count) * QUERIES] = torch.tensor(row.slots)
        audio = range(vocabulary + window * QUERIES, vocabulary + (window + count) * QUERIES)
        source += [*before, *audio, *after, *row.tokens]
        targets += [IGNORE] * (size - len(answer)) + answer
        owner += [number] * size
        positions += range(size)
        window += count
    spare = tokens - len(source)
    return TokenPack(
        torch.tensor(source + [PAD_ID] * spare),
        torch.tensor(owner + [-1] * spare),
        torch.tensor([*positions, *range(spare)]),
        torch.tensor(targets + [IGNORE] * spare),
        windows,
        slots,
    )


def simulated_pack(maker: PackMaker, rng: np.random.Generator, progress: float) -> Pack:
    """Rows with random word times and no sound, to teach the language model to read audio slots in order.

    Rows grow with `progress` (0 to 1), from single sentences spoken fast to full windows at any pace.
    """
    pack = Pack(torch.zeros(0), torch.zeros(0), torch.zeros(0))
    slots_used = tokens_used = 0
    while len(pack.rows) < SIMULATED_ROWS:
        wanted = 1 + 30 * progress * rng.random() ** 2
        row = _simulated_row(maker, rng, wanted, rng.uniform(0.1, 0.25 + 0.2 * progress))
        if row is None or row.slots is None:
            continue
        slots_used += len(row.slots)
        tokens_used += len(row.slots) + len(row.tokens) + 1
        if pack.rows and (tokens_used > SIMULATED_TOKENS or slots_used > WINDOWS * QUERIES):
            break
        pack.rows.append(row)
    return pack


def _simulated_row(maker: PackMaker, rng: np.random.Generator, wanted: float, pace: float) -> Row | None:
    """At least `wanted` words, each about `pace` seconds long."""
    text: list[str] = []
    words: Words = []
    moment = rng.uniform(0, 0.3)
    while len(text) < wanted:
        sentence = maker.corpus.clips[rng.integers(len(maker.corpus.clips))][1].text.split()
        for word in sentence:
            spread = pace * (0.5 + len(word) / 8) * rng.uniform(0.7, 1.4)
            words.append((moment, moment + spread))
            moment += spread
        text += sentence
        moment += rng.uniform(0, 3 * pace)
    frames = int(moment * 50) + 1
    if frames > LONGEST_ROW:
        return None
    pieces = maker.pieces(" ".join(text))
    tokens = [token for ids in pieces for token in ids]
    return Row(0, frames, " ".join(text), [], tokens, audio_slots(pieces, words, frames))


def corrupted_slots(slots: Tensor, rng: np.random.Generator, vocabulary: int) -> Tensor:
    """Slot tokens with a few lost, wrong or doubled, as a projector would err."""
    chance = torch.from_numpy(rng.random(len(slots)))
    wrong = torch.from_numpy(rng.integers(AUDIO_ID + 1, vocabulary, len(slots)))
    spoken = slots != PAD_ID
    heard = torch.where(spoken & (chance < 0.03), wrong, slots)
    heard = torch.where(spoken & (chance > 0.98), torch.full_like(slots, PAD_ID), heard)
    return heard.clamp(min=0)
