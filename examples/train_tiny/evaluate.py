"""Word error rates of a checkpoint on the spoken test set and on held-out human speakers.

Two doors: a checkpoint folder of either model, through Transformers (greedy, fp32, one clip at a time), or `--url`, a
running server. With a folder the CTC head and its forced word times are measured too. Knows nothing of training.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from transformers import AutoTokenizer, GraniteSpeech5ForCTC, GraniteSpeechForConditionalGeneration

from lithophone.bench.report import edit_distance
from lithophone.granite import features

from .align import unit_times, word_times
from .corpus import held_out_speakers, human_table
from .vocabulary import INSTRUCTION, ctc_text
from .voices import SAMPLE_RATE, resample

LONGEST_SECONDS = 30.0
LONGEST_CTC_SECONDS = 8.0
CTC_FRAME_SECONDS = 0.08
SEARCH_SHARE = 8 / 30  # of a window, at its end, in which its cut is looked for


@dataclass(frozen=True)
class EvalClip:
    """A clip to be measured; `words` are true (start, end) seconds or empty."""

    path: Path
    group: str
    text: str
    words: list[tuple[float, float]]


@dataclass
class Tally:
    """Word errors of one group of clips."""

    clips: int = 0
    wrong: int = 0
    words: int = 0

    def add(self, reference: str, hypothesis: str) -> None:
        """Count one transcript."""
        said = reference.split()
        self.clips += 1
        self.wrong += edit_distance(said, hypothesis.split())
        self.words += len(said)

    @property
    def percent(self) -> float:
        """Word error rate in percent."""
        return 100 * self.wrong / max(self.words, 1)

    def __str__(self) -> str:
        return f"{self.percent:5.1f} %  {self.wrong:4d}/{self.words:<4d} words, {self.clips} clips"


def manifest(folder: Path) -> list[dict[str, Any]]:
    """The clips of a test set, as its manifest describes them."""
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def samples_of(path: Path) -> np.ndarray:
    """A sound file as mono samples at 16 kHz."""
    samples, rate = soundfile.read(path, dtype="float32")
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    return mono if rate == SAMPLE_RATE else resample(mono, SAMPLE_RATE / rate)


def test_clips(folder: Path) -> Iterator[EvalClip]:
    """The clips of a test set, grouped by kind and voice."""
    for clip in manifest(folder):
        voices = clip["engine"] + (" seen voices" if clip["seen_voice"] else " unseen voices")
        group = voices if clip["kind"] == "short" else clip["kind"]
        words = [(word["start"], word["end"]) for word in clip["words"]]
        yield EvalClip(folder / clip["file"], group, clip["text"], words)


def short_clips(folder: Path) -> Iterator[EvalClip]:
    """The clips of one clean sentence."""
    kinds = [clip["kind"] for clip in manifest(folder)]
    return (clip for clip, kind in zip(test_clips(folder), kinds, strict=True) if kind == "short")


def human_clips(table: Path) -> Iterator[EvalClip]:
    """The recordings of the speakers held out of training."""
    clips = human_table(table)
    held_out = held_out_speakers(clips)
    for clip in clips:
        if clip.speaker in held_out:
            yield EvalClip(clip.path, "human (AN4, held-out speakers)", clip.text, [])


def windows(samples: np.ndarray, seconds: float) -> Iterator[np.ndarray]:
    """Parts of at most `seconds`, cut at the quietest moment near the end of each."""
    longest = int(seconds * SAMPLE_RATE)
    begin = longest - int(longest * SEARCH_SHARE)
    while len(samples) > longest:
        power = np.convolve(samples[begin:longest] ** 2, np.ones(3200, np.float32), mode="valid")
        cut = begin + int(power.argmin()) + 1600
        yield samples[:cut]
        samples = samples[cut:]
    yield samples


class Checkpoint:
    """A checkpoint folder loaded by Transformers."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        loaded = GraniteSpeechForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self.model = loaded.eval()
        self.audio_seconds = self.spent_seconds = 0.0

    def transcribe(self, path: Path) -> str:
        """The text of a file, window by window."""
        samples = samples_of(path)
        began = time.perf_counter()
        text = " ".join(self.generate(part) for part in windows(samples, LONGEST_SECONDS))
        self.spent_seconds += time.perf_counter() - began
        self.audio_seconds += len(samples) / SAMPLE_RATE
        return text

    @torch.no_grad()
    def generate(self, samples: np.ndarray) -> str:
        """Greedy transcript of one window by the language model."""
        wave = torch.from_numpy(samples)
        count = features.audio_token_count(len(samples))
        message = [{"role": "user", "content": "<|audio|>" * count + INSTRUCTION}]
        prompt = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        inputs = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        output = self.model.generate(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            input_features=features.log_mel_stacked(wave)[None],
            do_sample=False,
            num_beams=1,
            max_new_tokens=200,
        )
        return self.tokenizer.decode(output[0, inputs.input_ids.shape[1] :], skip_special_tokens=True).strip()

    @torch.no_grad()
    def log_probs(self, samples: np.ndarray) -> torch.Tensor:
        """CTC log-probabilities of one window, [frames, labels]."""
        encoder = self.model.model.encoder
        hidden = encoder(features.log_mel_stacked(torch.from_numpy(samples))[None]).last_hidden_state
        return encoder.out(hidden)[0].log_softmax(-1)

    def ctc(self, path: Path) -> str:
        """The text of a file by the CTC head alone."""
        parts = windows(samples_of(path), LONGEST_SECONDS)
        return " ".join(ctc_text(self.log_probs(part).argmax(-1).tolist()) for part in parts)

    def time_errors(self, clip: EvalClip) -> list[float]:
        """Found minus true word starts and ends, in seconds."""
        samples = samples_of(clip.path)
        if not clip.words or len(samples) > LONGEST_SECONDS * SAMPLE_RATE:
            return []
        return _differences(word_times(self.log_probs(samples), clip.text), clip.words)


class CtcCheckpoint:
    """A checkpoint folder of the CTC sibling loaded by Transformers."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = GraniteSpeech5ForCTC.from_pretrained(folder, dtype=torch.float32).eval()
        self.audio_seconds = self.spent_seconds = 0.0

    def transcribe(self, path: Path) -> str:
        """The text of a file, window by window."""
        samples = samples_of(path)
        began = time.perf_counter()
        labels = [self.log_probs(part).argmax(-1).tolist() for part in windows(samples, LONGEST_CTC_SECONDS)]
        text = " ".join(self.tokenizer.decode(part, skip_special_tokens=True).strip() for part in labels)
        self.spent_seconds += time.perf_counter() - began
        self.audio_seconds += len(samples) / SAMPLE_RATE
        return text

    @torch.no_grad()
    def log_probs(self, samples: np.ndarray) -> torch.Tensor:
        """Log-probabilities of one window, [frames, pieces]."""
        logits = self.model(features.log_mel_with_deltas(torch.from_numpy(samples))[None]).logits
        return logits[0].log_softmax(-1)

    def time_errors(self, clip: EvalClip) -> list[float]:
        """Found minus true word starts and ends, in seconds."""
        samples = samples_of(clip.path)
        if not clip.words or len(samples) > LONGEST_CTC_SECONDS * SAMPLE_RATE:
            return []
        pieces = [
            self.tokenizer(f" {word}", add_special_tokens=False).input_ids for word in clip.text.split()
        ]
        return _differences(unit_times(self.log_probs(samples), pieces, [], CTC_FRAME_SECONDS), clip.words)


def _differences(found: list[tuple[float, float]] | None, true: list[tuple[float, float]]) -> list[float]:
    pairs = zip(found or [], true if found else [], strict=True)
    return [got - wanted for one, other in pairs for got, wanted in zip(one, other, strict=True)]


def transcribe_by_http(url: str, path: Path) -> str:
    """One clip through POST /v1/audio/transcriptions."""
    boundary = uuid.uuid4().hex
    fields = {"model": "whisper-1", "response_format": "json", "temperature": "0"}
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
    body += head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + path.read_bytes()
    body += f"\r\n--{boundary}--\r\n".encode()
    content = f"multipart/form-data; boundary={boundary}"
    request = urllib.request.Request(  # noqa: S310 - the user names the server
        f"{url.rstrip('/')}/v1/audio/transcriptions", data=body, headers={"Content-Type": content}
    )
    with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310 - the user names the server
        return str(json.load(response)["text"])


def plain(text: str) -> str:
    """Lower case without punctuation, for any server's spelling."""
    return " ".join("".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split())


def measure(
    clips: list[EvalClip], transcribe: Callable[[Path], str], title: str, *, verbose: bool = False
) -> dict[str, Tally]:
    """Transcribe all clips and print the word error rate of each group."""
    tallies: dict[str, Tally] = {}
    for done, clip in enumerate(clips, start=1):
        text = plain(transcribe(clip.path))
        tallies.setdefault(clip.group, Tally()).add(clip.text, text)
        if verbose:
            print(f"  {clip.path.name}\n    true {clip.text}\n    said {text}", flush=True)
        elif done % 50 == 0:
            print(f"{title}: {done}/{len(clips)}", flush=True)
    print(f"\n{title}")
    for group, tally in sorted(tallies.items()):
        print(f"  {group:32s} {tally}", flush=True)
    return tallies


def report_times(checkpoint: Checkpoint | CtcCheckpoint, clips: list[EvalClip]) -> None:
    """Print how far forced alignment is from the true word times."""
    found = np.array([error for clip in clips for error in checkpoint.time_errors(clip)]).reshape(-1, 2)
    if not len(found):
        return
    offsets = np.median(found, axis=0)
    around = np.abs(found - offsets).mean(axis=0) * 1000
    print(f"\nWord times by forced alignment, {len(found)} words")
    for name, offset, error in zip(("start", "end"), offsets * 1000, around, strict=True):
        print(f"  {name:6s} offset {offset:+.0f} ms, mean error after it {error:.0f} ms")


def evaluate_folder(folder: Path, clips: list[EvalClip], *, verbose: bool = False) -> None:
    """Print all figures of one checkpoint, of either model."""
    checkpoint: Checkpoint | CtcCheckpoint
    if json.loads((folder / "config.json").read_text())["model_type"] == "granite_speech5_ctc":
        checkpoint, title = CtcCheckpoint(folder), "CTC"
    else:
        checkpoint, title = Checkpoint(folder), "Language model"
        measure(clips, checkpoint.ctc, "CTC head alone")
    report_times(checkpoint, clips)
    measure(clips, checkpoint.transcribe, title, verbose=verbose)
    print(f"\nReal-time factor {checkpoint.spent_seconds / checkpoint.audio_seconds:.3f}")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--test-set", type=Path, required=True, help="folder with manifest.jsonl")
    parser.add_argument(
        "--human-speech", type=Path, help="table of human speech; its held-out speakers are measured"
    )
    door = parser.add_mutually_exclusive_group(required=True)
    door.add_argument("--checkpoint", type=Path, help="a checkpoint folder")
    door.add_argument("--url", help="a running server, for example http://127.0.0.1:8000")
    parser.add_argument("--verbose", action="store_true", help="print every transcript")
    chosen = parser.parse_args(arguments)
    clips = list(test_clips(chosen.test_set))
    clips += human_clips(chosen.human_speech) if chosen.human_speech else []
    if chosen.url:
        measure(
            clips,
            lambda path: transcribe_by_http(chosen.url, path),
            f"Server at {chosen.url}",
            verbose=chosen.verbose,
        )
    else:
        evaluate_folder(chosen.checkpoint, clips, verbose=chosen.verbose)


if __name__ == "__main__":
    main()
