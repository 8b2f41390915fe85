"""What a live session says, as captions: the words of turns under way, and the turns that are over. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from lithophone_client._errors import StreamFailedError, UnexpectedResponseError

SESSION_STATUS: Final = 101  # of the handshake: the session began well
_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"


class _Error(msgspec.Struct, frozen=True):
    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None
    event_id: str | None = None


class _Extras(msgspec.Struct, frozen=True):
    warnings: tuple[str, ...] = ()


class _Session(msgspec.Struct, frozen=True):
    lithophone: _Extras = _Extras()


class _Event(msgspec.Struct, frozen=True):
    """The fields of any event."""

    type: str
    item_id: str = ""
    delta: str = ""
    transcript: str = ""
    audio_start_ms: int = 0
    audio_end_ms: int = 0
    error: _Error | None = None
    session: _Session = _Session()
    lithophone: _Extras = _Extras()


class Caption(msgspec.Struct, frozen=True):
    """What was said in a turn, and when: seconds from the start of the session."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(slots=True)
class _Turn:
    start_seconds: float = 0.0
    end_seconds: float | None = None
    text: str = ""


@dataclass(slots=True)
class Captions:
    """Takes events, gives captions.

    Attributes:
        end_id: The name of the client's last commit.
        is_over: Everything was told that was said before that commit.
        warnings: What the server says of the session and of turns, each once.
    """

    end_id: str
    warnings: list[str] = field(default_factory=list[str])
    _turns: dict[str, _Turn] = field(default_factory=dict[str, _Turn])
    _unfinished: set[str] = field(default_factory=set[str])
    _cleared: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the session has nothing more to say."""
        return self._cleared and not self._unfinished

    @property
    def under_way(self) -> str:
        """The words so far of the turns that are not over."""
        return " ".join(turn.text.strip() for turn in self._turns.values() if turn.text.strip())

    def take(self, frame: str | bytes, sent_seconds: float) -> Caption | None:
        """An event; returns the caption it completes.

        Args:
            frame: The event as it came.
            sent_seconds: How much audio was sent: there a turn ends that no silence ended.

        Raises:
            StreamFailedError: the session failed.
            UnexpectedResponseError: this is no event.
        """
        try:
            event = msgspec.json.decode(frame, type=_Event)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnexpectedResponseError(f"the server sent no event: {error}") from error
        told = (*event.session.lithophone.warnings, *event.lithophone.warnings)
        self.warnings += [warning for warning in dict.fromkeys(told) if warning not in self.warnings]
        match event.type.removeprefix("input_audio_buffer.").removeprefix(f"{_TRANSCRIPTION}."):
            case "speech_started":
                self._turns[event.item_id] = _Turn(event.audio_start_ms / 1000)
            case "speech_stopped":
                self._turn(event).end_seconds = event.audio_end_ms / 1000
            case "committed":
                self._unfinished.add(event.item_id)
            case "delta":
                self._turn(event).text += event.delta
            case "completed":
                return self._completed(event, sent_seconds)
            case "cleared":
                self._cleared = True
            case "error" | "failed":
                self._fail(event)
            case _:
                pass  # what the session is set to, and other names of the same
        return None

    def _turn(self, event: _Event) -> _Turn:
        return self._turns.setdefault(event.item_id, _Turn())

    def _completed(self, event: _Event, sent_seconds: float) -> Caption | None:
        turn = self._turns.pop(event.item_id, _Turn())
        self._unfinished.discard(event.item_id)
        text = event.transcript.strip()
        end_seconds = sent_seconds if turn.end_seconds is None else turn.end_seconds
        return Caption(text, turn.start_seconds, end_seconds) if text else None

    def _fail(self, event: _Event) -> None:
        error = event.error or _Error("the server does not say why")
        if error.code == "input_audio_buffer_commit_empty" and error.event_id == self.end_id:
            return  # nobody spoke behind the last turn
        raise StreamFailedError(
            error.message, status=SESSION_STATUS, type=error.type, code=error.code, param=error.param
        )


def subtitle(number: int, caption: Caption) -> str:
    """A caption as a block of SubRip."""
    start, end = _clock(caption.start_seconds), _clock(caption.end_seconds)
    return f"{number}\n{start} --> {end}\n{caption.text}\n\n"


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"
