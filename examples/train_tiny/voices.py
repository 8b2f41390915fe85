"""Speech synthesis: espeak-ng through its C library; flite, RHVoice, Pico and festival through their programs.

Owns the voices, which of them are never trained on, and how a sentence becomes 16 kHz samples with word times.
Knows nothing of features or models.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import random
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .grammar import words

SAMPLE_RATE = 16_000

ESPEAK_ACCENTS = words("en-us en-us en-us en en-gb-x-rp en-gb-scotland en-gb-x-gbclan en-gb-x-gbcwmd en-029")
ESPEAK_VARIANTS = words(
    "Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Nguyen "
    "RicishayMax RicishayMax2 RicishayMax3 adam anika announcer antonio aunty belinda benjamin boris caleb david ed "
    "edward edward2 f1 f2 f3 f5 gustave iven iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt4 linda m1 m2 m4 m5 m6 "
    "m8 marcelo max michel miguel norbert pablo paul pedro rob robert sandro shelby steph steph2 steph3 travis zac"
)
ESPEAK_UNSEEN = words("f4 m3 m7 grandma grandpa victor quincy klatt3")
FLITE_VOICES = words("slt slt awb awb kal16 kal")
FLITE_UNSEEN = ("rms",)
FLITE_F0 = {"slt": 180.0, "awb": 130.0, "kal": 100.0, "kal16": 100.0, "rms": 100.0}
RHVOICE_VOICES = words("alan bdl clb slt")  # the English voices whose licence lets everybody use them
PICO_VOICES = words("en-US en-GB")
FESTIVAL_VOICES = ("ked_diphone", "kal_diphone", "cmu_us_slt_arctic_hts")

Times = list[tuple[float, float]]


@dataclass(frozen=True)
class Speech:
    """Samples in [-1, 1] at 16 kHz; `words` holds a (start, end) in seconds for each word, where known."""

    samples: np.ndarray
    voice: str
    words: Times | None = None


def resample(samples: np.ndarray, factor: float) -> np.ndarray:
    """Band-limited change of length by `factor`, by cutting or padding the spectrum."""
    size = len(samples)
    target = round(size * factor)
    spectrum = np.fft.rfft(samples, n=size)
    resized = np.zeros(target // 2 + 1, dtype=complex)
    kept = min(len(resized), len(spectrum))
    resized[:kept] = spectrum[:kept]
    return (np.fft.irfft(resized, n=target) * factor).astype(np.float32)


def spoken_words(sentence: str) -> list[str]:
    """The words as written for a synthesiser: the letter `a` beside another letter is named, not an article."""
    words = sentence.split()
    spelled = [len(word) == 1 for word in words]
    beside = [any(spelled[max(0, i - 1) : i] + spelled[i + 1 : i + 2]) for i in range(len(words))]
    return ["ay" if word == "a" and near else word for word, near in zip(words, beside, strict=True)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
_SYNCHRONOUS, _UTF8, _END = 2, 1, 6
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_WORD, _LIST_TERMINATED = 1, 0


class Espeak:
    """One espeak-ng library of this process, with its word events."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
        self._libc = ctypes.CDLL(None)
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 200, None, 0)
        if self._rate <= 0:
            raise RuntimeError("espeak-ng did not start: install libespeak-ng1 and espeak-ng-data")
        self._chunks: list[np.ndarray] = []
        self._starts: list[tuple[int, float]] = []
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, wave: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:  # type: ignore[name-defined]
        if count > 0:
            self._chunks.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        index = 0
        while events[index].type != _LIST_TERMINATED:
            if events[index].type == _WORD:
                self._starts.append((events[index].text_position - 1, events[index].audio_position / 1000))
            index += 1
        return 0

    def say(
        self,
        sentence: str,
        voice: str,
        *,
        rate: int = 165,
        pitch: int = 50,
        pitch_range: int = 50,
        gap: int = 0,
    ) -> Speech:
        """One sentence, spoken by a voice such as `en-us+f3`."""
        words = spoken_words(sentence)
        text = " ".join(words)
        self._chunks, self._starts = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice}")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range), (_WORD_GAP, gap)):
            self._library.espeak_SetParameter(parameter, value, 0)
        raw = text.encode() + b"\0"
        self._libc.srand(zlib.crc32(raw))  # breath is noise by rand(), which the whole process shares
        self._library.espeak_Synth(raw, len(raw), 0, 1, 0, _UTF8, None, None)
        pcm = np.concatenate(self._chunks).astype(np.float32) / 32768
        samples = resample(pcm, SAMPLE_RATE / self._rate)
        return Speech(samples, f"espeak:{voice}", self._times(words, samples))

    def _times(self, words: list[str], samples: np.ndarray) -> Times | None:
        starts = dict(self._starts)
        positions = np.cumsum([0] + [len(word) + 1 for word in words[:-1]])
        if not all(int(position) in starts for position in positions):
            return None
        begins = [starts[int(position)] for position in positions]
        loud = np.flatnonzero(np.abs(samples) > 0.005)
        ends = [*begins[1:], float(loud[-1] + 1) / SAMPLE_RATE if len(loud) else 0.0]
        ordered = all(end > begin for begin, end in zip(begins, ends, strict=True))
        return list(zip(begins, ends, strict=True)) if ordered else None


def say_flite(sentence: str, voice: str, *, stretch: float = 1.0, pitch_factor: float = 1.0) -> Speech:
    """One sentence by the flite program. Its segments carry no words, so there are no word times."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch:.3f}"]
        command += ["--setf", f"int_f0_target_mean={FLITE_F0[voice] * pitch_factor:.1f}"]
        command += ["-t", " ".join(spoken_words(sentence)), "-o", wave.name]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return Speech(_read(Path(wave.name)), f"flite:{voice}")


def say_rhvoice(sentence: str, voice: str, *, rate_percent: int = 100, pitch_percent: int = 100) -> Speech:
    """One sentence by RHVoice's test program."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
        command = [
            "RHVoice-test",
            "-p",
            voice,
            "-r",
            str(rate_percent),
            "-t",
            str(pitch_percent),
            "-o",
            wave.name,
        ]
        text = " ".join(spoken_words(sentence))
        subprocess.run(command, input=text.encode(), check=True, capture_output=True, timeout=60)
        return Speech(_read(Path(wave.name)), f"rhvoice:{voice}")


def say_pico(sentence: str, voice: str, *, rate_percent: int = 100, pitch_percent: int = 100) -> Speech:
    """One sentence by SVOX Pico."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
        text = " ".join(spoken_words(sentence))
        marked = f'<speed level="{rate_percent}"><pitch level="{pitch_percent}">{text}</pitch></speed>'
        command = ["pico2wave", "-l", voice, "-w", wave.name, marked]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return Speech(_read(Path(wave.name)), f"pico:{voice}")


def say_festival(sentence: str, voice: str) -> Speech:
    """One sentence by festival's text2wave."""
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder) / "speech.wav"
        command = ["text2wave", "-eval", f"(voice_{voice})", "-o", str(wave)]
        text = " ".join(spoken_words(sentence))
        subprocess.run(command, input=text.encode(), check=True, capture_output=True, timeout=60)
        return Speech(_read(wave), f"festival:{voice}")


def _read(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")
    return samples if rate == SAMPLE_RATE else resample(samples, SAMPLE_RATE / rate)


def with_speed(speech: Speech, factor: float) -> Speech:
    """The same speech played `factor` times as fast: pitch and formants move along."""
    words = speech.words and [(start / factor, end / factor) for start, end in speech.words]
    return Speech(resample(speech.samples, 1 / factor), speech.voice, words)


def random_espeak(espeak: Espeak, sentence: str, rng: random.Random, *, unseen: bool = False) -> Speech:
    """A random accent, variant, rate and pitch."""
    variant = rng.choice(ESPEAK_UNSEEN if unseen else ESPEAK_VARIANTS)
    voice = f"{rng.choice(ESPEAK_ACCENTS)}+{variant}"
    speech = espeak.say(
        sentence,
        voice,
        rate=rng.randint(125, 205),
        pitch=rng.randint(20, 80),
        pitch_range=rng.randint(25, 75),
        gap=rng.choice([0, 0, 0, 1, 3]),
    )
    return with_speed(speech, rng.uniform(0.9, 1.12))


def random_flite(sentence: str, rng: random.Random, *, unseen: bool = False) -> Speech:
    """A random voice, rate and pitch."""
    voice = rng.choice(FLITE_UNSEEN if unseen else FLITE_VOICES)
    speech = say_flite(sentence, voice, stretch=rng.uniform(0.8, 1.25), pitch_factor=rng.uniform(0.85, 1.2))
    return with_speed(speech, rng.uniform(0.87, 1.14))


def random_rhvoice(sentence: str, rng: random.Random) -> Speech:
    """A random voice, rate and pitch."""
    voice = rng.choice(RHVOICE_VOICES)
    speech = say_rhvoice(
        sentence, voice, rate_percent=rng.randint(80, 135), pitch_percent=rng.randint(80, 125)
    )
    return with_speed(speech, rng.uniform(0.87, 1.14))


def random_pico(sentence: str, rng: random.Random) -> Speech:
    """A random voice, rate and pitch."""
    voice = rng.choice(PICO_VOICES)
    speech = say_pico(sentence, voice, rate_percent=rng.randint(75, 140), pitch_percent=rng.randint(75, 130))
    return with_speed(speech, rng.uniform(0.87, 1.14))
