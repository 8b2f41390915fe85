"""Backends for workers in processes of their own, opened by name."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Sequence

from lithophone.backends.base import Backend, RecognitionRequest
from lithophone.backends.fake import FakeBackend
from lithophone.errors import DoesNotFitError

RUNTIME = "lithophone.backends.fake:PlainRuntime"


def open_fake(delay_seconds: float = 0.0, max_batch: int = 4) -> Backend:
    """Says which process heard how many samples."""
    return FakeBackend(_says_who_heard, delay_seconds=delay_seconds, max_batch=max_batch)


def _says_who_heard(request: RecognitionRequest) -> str:
    return f"{os.getpid()} {len(request.samples)}"


def refuse() -> Backend:
    raise DoesNotFitError("needs 17 GB")


def load_slowly(seconds: float) -> Backend:
    time.sleep(seconds)
    return FakeBackend()


def die_while_loading() -> Backend:
    os.kill(os.getpid(), signal.SIGKILL)
    return FakeBackend()


def stop_while_loading() -> Backend:
    os.kill(os.getpid(), signal.SIGSTOP)
    return FakeBackend()


class Deadly(FakeBackend):
    """Windows drawn at temperature 0.9 end the process in a way that no Python code can see."""

    def decode(self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]) -> list[str]:
        if any(request.temperature > 0.5 for request in requests):
            ctypes.string_at(0)
        return super().decode(requests, interrupted)


def open_deadly() -> Backend:
    return Deadly(max_batch=4)


class Mute(FakeBackend):
    """Windows drawn at temperature 0.9 sleep without letting go of the interpreter."""

    def decode(self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]) -> list[str]:
        if any(request.temperature > 0.5 for request in requests):
            ctypes.PyDLL(None).sleep(60)
        return super().decode(requests, interrupted)


def open_mute() -> Backend:
    return Mute(_says_who_heard)
