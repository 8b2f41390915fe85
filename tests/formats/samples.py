"""A transcript with what is hard to write: a pause, markup, an arrow, quotes, other scripts, odd times."""

from __future__ import annotations

from lithophone.backends.base import Token
from lithophone.engine.transcript import Segment, Transcript, Usage, average_logprob, compression_ratio


def segment(
    number: int,
    start_seconds: float,
    end_seconds: float,
    text: str,
    *,
    first: bool = False,
    speaker: int | None = None,
) -> Segment:
    words = text.split()
    tokens = tuple(
        Token(100 * number + index, word if index == 0 else f" {word}", -0.125 * (index + 1))
        for index, word in enumerate(words)
    )
    return Segment(
        id=number,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        text=text,
        delta=text if first or not text else f" {text}",
        tokens=tokens,
        temperature=0.0,
        average_logprob=average_logprob(tokens),
        compression_ratio=compression_ratio(text),
        no_speech_probability=0.0625 if text else 1.0,
        usage=Usage(audio_tokens=40, text_tokens=8, output_tokens=len(tokens)),
        speaker=speaker,
    )


SEGMENTS = (
    segment(0, 0.0, 1.9996, "he said: “<i>five & six</i> --> seven”", first=True, speaker=2),
    segment(1, 1.9996, 4.35, ""),
    segment(2, 4.35, 3725.5, "naïve 日本語 🙂 tea\u2028for two", speaker=1),
    segment(3, 3725.5, 3725.5, "and so on.", speaker=2),
)

TRANSCRIPT = Transcript(
    text="".join(segment.delta for segment in SEGMENTS),
    language="en",
    duration_seconds=3725.5,
    segments=SEGMENTS,
    usage=sum((segment.usage for segment in SEGMENTS), Usage()),
)
