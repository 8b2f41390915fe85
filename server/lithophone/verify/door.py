"""The real server in a process of its own, as a user starts it, asked as a user asks it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx2
import msgspec

from lithophone.errors import StartupError
from lithophone.verify.report import Answer, Served

ANSWER_SECONDS: Final = 3600.0  # an 8B model on a processor takes its time
END_SECONDS: Final = 30.0
LOG_SECONDS: Final = 10.0  # from the line on standard output to the one in the log
READY: Final = "model_ready"


class _Line(msgspec.Struct, frozen=True):
    """What is read of a line of the server's log."""

    event: str = ""
    device: str = ""
    dtype: str = ""
    revision: str | None = None
    load_seconds: float = 0.0
    warm_up_seconds: float = 0.0
    memory_bytes: int = 0


class _State(msgspec.Struct, frozen=True):
    state: str


class _Model(msgspec.Struct, frozen=True):
    lithophone: _State


class Door:
    """`lithophone serve` with these flags, for the length of a `with` block.

    Raises:
        StartupError: the server does not become ready; in its own words.
    """

    def __init__(self, flags: Sequence[str]) -> None:
        command = [
            sys.executable,
            "-m",
            "lithophone",
            "serve",
            "--port",
            "0",
            "--log-format",
            "json",
            "--log-level",
            "info",
            *flags,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._log: list[str] = []
        self._ready = threading.Event()
        self._reading = threading.Thread(target=self._read_log, daemon=True)
        self._reading.start()
        self._client = httpx2.Client(timeout=ANSWER_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        for line in self._process.stdout or ():
            if found := re.search(r"http://\S+", line):
                self._url = found.group()
                return self
        self._process.wait()
        self._reading.join()
        self.close()
        raise StartupError(self._reason())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.join()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def served(self) -> Served:
        """What the log says of the model.

        Raises:
            StartupError: nothing.
        """
        if not self._ready.wait(LOG_SECONDS):
            raise StartupError("the server does not say what it has loaded")
        ready = next(line for line in self._lines() if line.event == READY)
        return Served(
            device=ready.device,
            dtype=ready.dtype,
            revision=ready.revision,
            load_seconds=ready.load_seconds,
            warm_up_seconds=ready.warm_up_seconds,
            memory_bytes=ready.memory_bytes,
        )

    def transcribe(self, file: Path, model: str, *, language: str = "") -> tuple[Answer, float]:
        """A recording with the times of its words, and the seconds it took; `language` is said beforehand."""
        fields = {
            "language": language,
            "model": model,
            "response_format": "verbose_json",
            "timestamp_granularities[]": "word",
        }
        return self._ask("transcriptions", file, fields)

    def translate(self, file: Path, model: str, language: str) -> tuple[Answer, float]:
        """A recording in another language."""
        fields = {"model": model, "response_format": "verbose_json", "to_language": language}
        return self._ask("translations", file, fields)

    def unload(self, model: str) -> str:
        """Give the model's memory back; returns its state."""
        answer = self._client.post(f"{self._url}/v1/models/{model}/unload")
        return msgspec.json.decode(answer.content, type=_Model).lithophone.state

    def _ask(self, route: str, file: Path, fields: dict[str, str]) -> tuple[Answer, float]:
        began = time.monotonic()
        answer = self._client.post(
            f"{self._url}/v1/audio/{route}", data=fields, files={"file": (file.name, file.read_bytes())}
        )
        if answer.status_code != HTTPStatus.OK:
            raise StartupError(f"the server answers {answer.status_code}: {answer.text[:300]}")
        return msgspec.json.decode(answer.content, type=Answer), time.monotonic() - began

    def _read_log(self) -> None:
        for line in self._process.stderr or ():
            self._log.append(line)
            if READY in line:
                self._ready.set()

    def _lines(self) -> list[_Line]:
        found: list[_Line] = []
        for line in list(self._log):
            try:
                found.append(msgspec.json.decode(line, type=_Line))
            except msgspec.DecodeError:
                continue
        return found

    def _reason(self) -> str:
        """The last thing that the server said to its user."""
        said = [
            line.removeprefix("lithophone: ").strip() for line in self._log if line.startswith("lithophone:")
        ]
        return said[-1] if said else "the server ended without a word"
