"""The exchanges alone: a script in place of the network, and every step they ask for."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone_client import (
    CannotConnectError,
    Done,
    TextDelta,
    TimedOutError,
    TooManyRequestsError,
    Transcription,
)
from lithophone_client._exchange import (
    Answer,
    Exchange,
    Outcome,
    Read,
    Result,
    Send,
    Sleep,
    Step,
    advance,
    fetch,
    listen,
    probe,
)
from lithophone_client._requests import Call
from lithophone_client._responses import decode_json
from lithophone_client._retries import RetryPolicy
from lithophone_client._uploads import Upload, upload_of

CALL = Call("/somewhere")
FINE = Answer(200, {"x-request-id": "r1"})
FULL = Answer(429, {"retry-after": "7"})
EVENTS = (
    'data: {"type":"transcript.text.delta","delta":"grün"}\n\n'
    'data: {"type":"transcript.text.done","text":"grün"}\n\n'
    "data: [DONE]\n\n"
).encode()


def carry_out(exchange: Exchange[Any], *outcomes: Outcome) -> list[Step | Result[Any]]:
    """The steps and results of an exchange that meets these outcomes, one for each step."""
    script = iter(outcomes)
    outcome: Outcome = None
    seen: list[Step | Result[Any]] = []
    while (step := advance(exchange, outcome)) is not None:
        seen.append(step)
        outcome = None if isinstance(step, Result) else next(script)
    assert list(script) == [], "not all of the script was needed"
    return seen


def test_an_answer_is_read_to_its_end_and_decoded() -> None:
    seen = carry_out(fetch(CALL, RetryPolicy(), bytes.decode), FINE, b"a", b"b", None)
    assert seen == [Send(CALL), Read(), Read(), Read(), Result("ab")]


def test_the_warnings_of_a_head_are_told_with_the_answer() -> None:
    told = (
        "prompt: not used, tiny takes no hints. vad_filter: unknown, not used. file: its end is cut off. "
        "model: it did not understand this; the text is a guess. tiny is a demonstration model: it knows 650 words."
    )
    decode = partial(decode_json, expected=Transcription)
    for headers, warnings in (({}, 0), ({"x-lithophone-warning": told}, 4)):
        *_, result = carry_out(
            fetch(CALL, RetryPolicy(), decode), Answer(200, headers), b'{"text":"hi"}', None
        )
        assert isinstance(result, Result)
        assert len(result.value.warnings) == warnings
        assert " ".join(result.value.warnings) == headers.get("x-lithophone-warning", "")


def test_a_refusal_is_read_and_the_wait_is_the_one_it_asks_for() -> None:
    refused = (FULL, b"full", None, None)
    seen = carry_out(fetch(CALL, RetryPolicy(), bytes.decode), *refused, FINE, None)
    assert seen == [Send(CALL), Read(), Read(), Sleep(7.0), Send(CALL), Read(), Result("")]


def test_without_a_connection_nothing_is_read_before_the_next_attempt() -> None:
    seen = carry_out(fetch(CALL, RetryPolicy(), bytes.decode), CannotConnectError("x"), None, FINE, None)
    assert seen == [Send(CALL), Sleep(0.5), Send(CALL), Read(), Result("")]


def test_a_body_that_breaks_off_is_not_asked_for_again() -> None:
    exchange = fetch(CALL, RetryPolicy(), bytes.decode)
    with pytest.raises(TimedOutError, match="silent"):
        carry_out(exchange, FINE, b"a", TimedOutError("silent"))


def test_a_refusal_whose_body_breaks_off_is_not_asked_for_again() -> None:
    with pytest.raises(TimedOutError, match="silent"):
        carry_out(fetch(CALL, RetryPolicy(), bytes.decode), FULL, TimedOutError("silent"))


def test_what_cannot_be_sent_twice_ends_with_the_first_refusal() -> None:
    upload = upload_of(b"RIFF")
    once = Call("/somewhere", upload=Upload(upload.name, upload.open, can_be_resent=False))
    with pytest.raises(TooManyRequestsError):
        carry_out(fetch(once, RetryPolicy(), bytes.decode), FULL, None)


@pytest.mark.parametrize(("status", "up"), [(200, True), (204, True), (503, False)])
def test_a_state_is_asked_once(status: int, up: object) -> None:
    read = [] if up else [None]
    steps = carry_out(probe(CALL), Answer(status, {}), *read)
    assert steps == [Send(CALL), *(Read() for _ in read), Result(up)]


@given(st.lists(st.integers(min_value=0, max_value=len(EVENTS)), max_size=6).map(sorted))
def test_events_come_out_wherever_the_network_cuts(cuts: list[int]) -> None:
    edges = [0, *cuts, len(EVENTS)]
    chunks = [EVENTS[start:end] for start, end in pairwise(edges)]
    seen = carry_out(listen(CALL, RetryPolicy()), FINE, *_up_to_the_end(chunks))
    assert [step.value for step in seen if isinstance(step, Result)] == [
        TextDelta(delta="grün"),
        Done(text="grün"),
    ]


def _up_to_the_end(chunks: list[bytes]) -> list[bytes]:
    """Nothing is read behind the end of the stream, not even an empty piece."""
    while chunks[-1] == b"":
        chunks = chunks[:-1]
    return chunks


def test_an_event_is_given_out_before_more_is_read() -> None:
    exchange = listen(CALL, RetryPolicy())
    seen = carry_out(exchange, FINE, EVENTS[:60], EVENTS[60:])
    assert [type(step) for step in seen] == [Send, Read, Result, Read, Result]


def test_a_stream_is_asked_for_again_only_before_its_first_byte() -> None:
    seen = carry_out(listen(CALL, RetryPolicy()), FULL, None, None, FINE, EVENTS)
    assert [type(step) for step in seen[:5]] == [Send, Read, Sleep, Send, Read]
    with pytest.raises(CannotConnectError):
        carry_out(listen(CALL, RetryPolicy()), FINE, CannotConnectError("x"))
