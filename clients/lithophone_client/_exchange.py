"""What the client does with the network, as steps for others to carry out. Pure: no sockets, no clock, no await.

An exchange is a generator. It yields the next step, is sent what came of it, and yields its results in between: one
for a plain answer, one for each event of a stream. Retries, errors and decoding are decided here, once; `_client.py`
and `_async_client.py` send, read and sleep, each in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from lithophone_client._errors import LithophoneError, TransportError, UnavailableError
from lithophone_client._requests import Call
from lithophone_client._responses import EventDecoder, api_error, warnings_of
from lithophone_client._retries import RetryPolicy
from lithophone_client._types import StreamEvent, Warned

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and wait for the head of its answer, an `Answer`. An earlier answer is given up."""

    call: Call


@dataclass(frozen=True, slots=True)
class Read:
    """Wait for the next bytes of the answer; None at its end."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let time pass; the reply is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer. Header names are found in any case."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Result(Generic[_T]):
    """What an exchange has for the caller of the client."""

    value: _T


Step = Send | Read | Sleep
Outcome = Answer | bytes | None | TransportError
"""What came of a step: its reply, or the error that came instead."""

Exchange = Generator[Step | Result[_T], Any, None]
"""A whole exchange. What is sent into it is the reply to the step it yielded last."""

_Part = Generator[Step, Any, _T]
"""A part of an exchange, which returns what it found."""


def advance(exchange: Exchange[_T], outcome: Outcome) -> Step | Result[_T] | None:
    """What is next in an exchange; None when it is over.

    Args:
        exchange: the exchange.
        outcome: what came of the step before; None at the start and after a `Result`.
    """
    try:
        return exchange.throw(outcome) if isinstance(outcome, TransportError) else exchange.send(outcome)
    except StopIteration:
        return None


def fetch(call: Call, policy: RetryPolicy, decode: Callable[[bytes], _T]) -> Exchange[_T]:
    """One answer, read whole, with the warnings of its head."""
    head = yield from _accepted(call, policy)
    answer = decode((yield from _body()))
    if isinstance(answer, Warned):
        answer = msgspec.structs.replace(answer, warnings=warnings_of(head.headers))
    yield Result(answer)


def listen(call: Call, policy: RetryPolicy) -> Exchange[StreamEvent]:
    """The events of a stream as they come; what follows its end is not waited for."""
    answer = yield from _accepted(call, policy)
    decoder = EventDecoder(answer.headers.get("x-request-id"))
    while not decoder.finished and (chunk := (yield from _chunk())) is not None:
        for event in decoder.feed(chunk):
            yield Result(event)
    decoder.close()


def probe(call: Call) -> Exchange[bool]:
    """Whether the server says yes (2xx) or no (503), asked once."""
    try:
        yield from _attempt(call)
    except UnavailableError:
        yield Result(value=False)
    else:
        yield Result(value=True)


def _accepted(call: Call, policy: RetryPolicy) -> _Part[Answer]:
    """An answer that is no refusal, after as many attempts as the policy allows."""
    failures = 0
    while True:
        try:
            return (yield from _attempt(call))
        except LithophoneError as error:
            failures += 1
            delay_seconds = policy.delay_seconds(error, failures)
            if delay_seconds is None or not call.can_be_resent:
                raise
        yield Sleep(delay_seconds)


def _attempt(call: Call) -> _Part[Answer]:
    answer: Answer = yield Send(call)
    if 200 <= answer.status < 300:
        return answer
    raise api_error(answer.status, answer.headers, (yield from _body()))


def _body() -> _Part[bytes]:
    chunks: list[bytes] = []
    while (chunk := (yield from _chunk())) is not None:
        chunks.append(chunk)
    return b"".join(chunks)


def _chunk() -> _Part[bytes | None]:
    return (yield Read())
