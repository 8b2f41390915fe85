"""Every error Lithophone raises on purpose, in one tree.

LithophoneError
├── StartupError                     the server cannot start as asked; the command line prints it and exits with 2
│   ├── ConfigurationError           a setting has no meaning
│   ├── DeviceUnavailableError       this torch cannot serve the device or dtype asked for
│   ├── CheckpointError              the model folder or hub id cannot be used
│   │   └── NotFiniteModelError          its weights, or what it computes, are no numbers in this dtype
│   └── DoesNotFitError              the model is larger than the memory that is free
└── ServiceError                     a request fails; carries what the wire needs
    ├── InvalidRequestError          400
    │   ├── UnsupportedParameterError    400, a parameter this server or model does not honour
    │   ├── UndecodableAudioError        400, audio by its bytes, but broken
    │   ├── UploadStalledError           400, the body stopped coming
    │   ├── NothingToCommitError         400, a live session's buffer is empty
    │   ├── SessionIdleError             400, a live session's client was silent for too long
    │   ├── SessionExpiredError          400, a live session has lasted as long as one may
    │   └── UnsupportedMediaError        400, not audio at all
    │       └── NoAudioStreamError           400, a container without sound
    ├── AuthenticationError          401
    ├── ForbiddenError               403
    │   ├── ForeignOriginError           403, a web page from elsewhere
    │   └── ForeignHostError             403, a name that is not this server's
    ├── NotFoundError                404
    │   └── ModelNotFoundError           404, code `model_not_found`
    ├── MethodNotAllowedError        405
    ├── PayloadTooLargeError         413
    │   └── AudioTooLongError            413
    ├── ModelInUseError              409, a model at work cannot be unloaded
    ├── OverloadedError              429, with Retry-After
    ├── RequestCancelledError        499, the client left; nobody reads the answer
    ├── InternalError                500, says nothing of the inside
    │   └── NotFiniteAnswerError         500, the model's numbers are none
    └── UnavailableError             503
        ├── LoadingError                 503, the model is not ready yet
        ├── ModelFailedError             503, the model could not be loaded
        ├── OutOfMemoryError             503, one window does not fit beside the model
        ├── ShortageError                503, the server's machine lacks something: disk, memory, processes
        ├── DeadlineError                503, the request took longer than one may
        └── DrainingError                503, the server is shutting down

Importable from every layer; it imports nothing of Lithophone.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final


class LithophoneError(Exception):
    """Root of the tree. The message is written for the person who reads it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class StartupError(LithophoneError):
    """The server cannot start as asked."""


class ConfigurationError(StartupError):
    """A setting has no meaning, alone or beside another one."""


class DeviceUnavailableError(StartupError):
    """The installed torch cannot serve the device or dtype asked for."""


class CheckpointError(StartupError):
    """The model folder or hub id cannot be used."""


class NotFiniteModelError(CheckpointError):
    """Weights, or what is computed with them, are not finite: the dtype is too small for them, or they are damaged."""


class DoesNotFitError(StartupError):
    """The model is larger than the memory that is free, by `lacking_bytes`."""

    def __init__(self, message: str, *, lacking_bytes: int = 0) -> None:
        super().__init__(message)
        self.lacking_bytes = lacking_bytes


class ServiceError(LithophoneError):
    """A request fails. `status`, `type`, `code` and `param` are what OpenAI's error object holds."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param

    @property
    def headers(self) -> dict[str, str]:
        """Response headers this error asks for."""
        return {}


class InvalidRequestError(ServiceError):
    """The request cannot be understood or honoured."""

    status = 400
    type = "invalid_request_error"


class UnsupportedParameterError(InvalidRequestError):
    """A known parameter that this server or the loaded model does not honour."""

    code = "unsupported_parameter"


class UndecodableAudioError(InvalidRequestError):
    """The bytes look like audio and cannot be decoded."""

    code = "invalid_audio"


class UploadStalledError(InvalidRequestError):
    """The upload stood still for too long."""

    code = "upload_stalled"


class NothingToCommitError(InvalidRequestError):
    """There is no audio in the buffer of a live session."""

    code = "input_audio_buffer_commit_empty"


class SessionIdleError(InvalidRequestError):
    """The client of a live session sent nothing for too long; the session is over."""

    code = "session_idle"


class SessionExpiredError(InvalidRequestError):
    """A live session has lasted as long as one may; the next one can begin."""

    code = "session_expired"


class UnsupportedMediaError(InvalidRequestError):
    """The bytes are not audio or video."""

    code = "unsupported_media"


class NoAudioStreamError(UnsupportedMediaError):
    """The container holds no audio stream."""

    code = "no_audio_stream"


class AuthenticationError(ServiceError):
    """No API key, or a wrong one."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        """RFC 6750 asks for the scheme."""
        return {"WWW-Authenticate": "Bearer"}


class ForbiddenError(ServiceError):
    """The request may not be answered to whoever sends it."""

    status = 403
    type = "permission_error"
    code = "forbidden"


class ForeignOriginError(ForbiddenError):
    """A web page from elsewhere asks a server without keys."""

    code = "foreign_origin"


class ForeignHostError(ForbiddenError):
    """The `Host` is not a name of this server, which has no keys."""

    code = "foreign_host"


class NotFoundError(ServiceError):
    """No such path or object."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    """The model is neither served nor an alias of one that is."""

    code = "model_not_found"


class MethodNotAllowedError(ServiceError):
    """The path exists, the method does not."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: str = "") -> None:
        super().__init__(message)
        self.allowed = allowed

    @property
    def headers(self) -> dict[str, str]:
        """The methods the path has (RFC 9110, 15.5.6)."""
        return {"allow": self.allowed}


class PayloadTooLargeError(ServiceError):
    """The upload is larger than the server allows."""

    status = 413
    type = "invalid_request_error"
    code = "payload_too_large"


class AudioTooLongError(PayloadTooLargeError):
    """The audio lasts longer than the server allows."""

    code = "audio_too_long"


class ModelInUseError(ServiceError):
    """The model is at work and cannot be unloaded now."""

    status = 409
    type = "invalid_request_error"
    code = "model_in_use"


class OverloadedError(ServiceError):
    """The queue is full."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> dict[str, str]:
        """When to come back."""
        return {"Retry-After": str(self.retry_after_seconds)}


class RequestCancelledError(ServiceError):
    """The client left before the answer."""

    status = 499
    type = "invalid_request_error"
    code = "client_closed_request"


class InternalError(ServiceError):
    """Something of ours broke; the log has it under the request id."""

    code = "internal_error"


class NotFiniteAnswerError(InternalError):
    """The model computed numbers that are not finite; the message says what to try."""

    code = "not_finite"


class UnavailableError(ServiceError):
    """The server cannot answer now."""

    status = 503
    code = "unavailable"

    @property
    def headers(self) -> dict[str, str]:
        """OpenAI's SDKs wait this long before they try again."""
        return {"Retry-After": "1"}


class LoadingError(UnavailableError):
    """The model is not ready yet."""

    code = "model_loading"


class ModelFailedError(UnavailableError):
    """The model could not be loaded; the message says why."""

    code = "model_failed"


class OutOfMemoryError(UnavailableError):
    """The device has not enough memory for a single window now."""

    code = "out_of_memory"


class ShortageError(UnavailableError):
    """The server's machine lacks disk, memory, processes or threads now; the log names what."""

    code = "server_shortage"

    def __init__(self, message: str, *, param: str | None = None, lacking: str = "") -> None:
        super().__init__(message, param=param)
        self.lacking = lacking

    @property
    def headers(self) -> dict[str, str]:
        """A shortage lasts longer than a moment."""
        return {"Retry-After": "5"}


SCARCE: Final = frozenset(
    (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
)


def shortage_behind(failure: BaseException) -> ShortageError | None:
    """What the machine lacked, if that is why something failed: disk, memory, descriptors, processes or threads."""
    if isinstance(failure, OSError) and failure.errno in SCARCE:
        lacking = failure.strerror or errno.errorcode[failure.errno]
    elif isinstance(failure, MemoryError):
        lacking = "memory"
    elif isinstance(failure, RuntimeError) and "can't start new thread" in str(failure):
        lacking = "threads"
    else:
        return None
    return ShortageError("The server is short of something now; try again later.", lacking=lacking)


class DeadlineError(UnavailableError):
    """The request took longer than one may."""

    code = "deadline_exceeded"


class DrainingError(UnavailableError):
    """The server is shutting down and takes no new work."""

    code = "shutting_down"
