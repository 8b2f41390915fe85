"""What became of a window, told to whoever watches the request it belongs to.

Owns who that is: a watcher is set where a request begins, and is known in every task that the request starts. Where nobody
watches, nothing is told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import msgspec

from lithophone.backends.base import RecognitionRequest
from lithophone.worker.messages import Course, Recognised


class WindowCourse(msgspec.Struct, frozen=True, kw_only=True):
    """A window that was recognised.

    Attributes:
        model_id: The name of its model.
        audio_seconds: How long it is.
        tokens: How many were written.
        posted_at: When it was sent to the model's worker, in seconds since 1970.
        course: How it went through the worker.
    """

    model_id: str
    audio_seconds: float
    tokens: int
    posted_at: float
    course: Course


Watcher = Callable[[WindowCourse], None]
WATCHER: Final[ContextVar[Watcher | None]] = ContextVar("lithophone_window_watcher", default=None)
"""Takes the windows of the request in whose context it is set; called in the event loop."""


def tell_course(model_id: str, request: RecognitionRequest, posted_at: float, recognised: Recognised) -> None:
    """Tell the watcher, if there is one, and if the worker measured the window's stages."""
    watch = WATCHER.get()
    if watch is None or recognised.course is None:
        return
    watch(
        WindowCourse(
            model_id=model_id,
            audio_seconds=request.seconds,
            tokens=len(recognised.recognition.tokens),
            posted_at=posted_at,
            course=recognised.course,
        )
    )
