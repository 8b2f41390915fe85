"""Where an answer is written: a short one on the event loop, which a long one must not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lithophone.http import answering
from lithophone.http.answering import LONGEST_ON_LOOP_CHARACTERS
from tests.http.conftest import Live

LONG = " ".join(f"word{number}" for number in range(LONGEST_ON_LOOP_CHARACTERS // 6))
WHOLE, STREAM = {"response_format": "srt"}, {"stream": "true", "include[]": "logprobs"}


def on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("text", ["a few words", LONG], ids=["short", "long"])
@pytest.mark.parametrize(("writer", "fields"), [("render", WHOLE), ("done_event", STREAM)])
def test_only_a_short_answer_is_written_on_the_event_loop(
    server: Live, monkeypatch: pytest.MonkeyPatch, writer: str, fields: dict[str, str], text: str
) -> None:
    seen: list[bool] = []
    write: Callable[..., Any] = getattr(answering, writer)

    def watched(*given: Any, **options: Any) -> Any:
        seen.append(on_event_loop())
        return write(*given, **options)

    monkeypatch.setattr(answering, writer, watched)
    server.script.hear = lambda _: text
    response = server.transcribe(**fields)
    assert response.status_code == 200
    assert text.rpartition(" ")[2] in response.text
    assert seen == [text is not LONG]
