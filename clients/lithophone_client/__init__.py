"""Client of a Lithophone server, sync and async. Needs httpx and msgspec, and nothing of the server.

from lithophone_client import Lithophone

with Lithophone("http://127.0.0.1:8000") as client:
    print(client.transcribe("talk.flac").text)
"""

from __future__ import annotations

from lithophone_client._async_client import AsyncLithophone, AsyncTranscriptionStream
from lithophone_client._client import Lithophone, TranscriptionStream
from lithophone_client._errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    CannotConnectError,
    LithophoneError,
    NotFoundError,
    PayloadTooLargeError,
    ServerError,
    StreamFailedError,
    TimedOutError,
    TooManyRequestsError,
    TransportError,
    UnavailableError,
    UnexpectedResponseError,
)
from lithophone_client._requests import (
    DiarizationOptions,
    JsonOptions,
    OnUpload,
    SubtitleFormat,
    TranscriptionOptions,
    TranslationOptions,
    VerboseOptions,
)
from lithophone_client._types import (
    DiarizedTranscription,
    Done,
    DurationUsage,
    InputTokenDetails,
    Language,
    Model,
    ModelDetails,
    Segment,
    ServerVad,
    SpeakerSegment,
    StreamEvent,
    TextDelta,
    TokenLogprob,
    TokenUsage,
    Transcription,
    Translation,
    Usage,
    VerboseTranscription,
    Word,
)
from lithophone_client._uploads import AudioFile

__version__ = "0.1.0"

__all__ = [
    "APIError",
    "AsyncLithophone",
    "AsyncTranscriptionStream",
    "AudioFile",
    "AuthenticationError",
    "BadRequestError",
    "CannotConnectError",
    "DiarizationOptions",
    "DiarizedTranscription",
    "Done",
    "DurationUsage",
    "InputTokenDetails",
    "JsonOptions",
    "Language",
    "Lithophone",
    "LithophoneError",
    "Model",
    "ModelDetails",
    "NotFoundError",
    "OnUpload",
    "PayloadTooLargeError",
    "Segment",
    "ServerError",
    "ServerVad",
    "SpeakerSegment",
    "StreamEvent",
    "StreamFailedError",
    "SubtitleFormat",
    "TextDelta",
    "TimedOutError",
    "TokenLogprob",
    "TokenUsage",
    "TooManyRequestsError",
    "Transcription",
    "TranscriptionOptions",
    "TranscriptionStream",
    "Translation",
    "TranslationOptions",
    "TransportError",
    "UnavailableError",
    "UnexpectedResponseError",
    "Usage",
    "VerboseOptions",
    "VerboseTranscription",
    "Word",
]
