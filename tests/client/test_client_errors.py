"""The tree of errors, and what a refusal turns into."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lithophone_client
from lithophone_client import APIError, LithophoneError, ServerError, UnavailableError
from lithophone_client import _errors as errors
from lithophone_client._responses import api_error, retry_after_seconds

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
REFUSAL = b'{"error":{"message":"no such model","type":"invalid_request_error","param":"model","code":"model_not_found"}}'


def family(root: type[LithophoneError]) -> set[type[LithophoneError]]:
    return {root}.union(*(family(child) for child in root.__subclasses__()))


def test_the_docstring_draws_the_whole_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(error.__name__ for error in family(LithophoneError) - {LithophoneError})


def test_every_error_can_be_imported_from_the_package() -> None:
    assert {error.__name__ for error in family(LithophoneError)} <= set(lithophone_client.__all__)


@pytest.mark.parametrize(("status", "error"), sorted(errors.ERRORS_BY_STATUS.items()))
def test_the_docstring_of_an_error_begins_with_its_status(status: int, error: type[APIError]) -> None:
    assert (error.__doc__ or "").startswith(f"{status}: ")
    assert type(api_error(status, httpx.Headers(), b"")) is error


@pytest.mark.parametrize(
    ("status", "expected"), [(405, APIError), (418, APIError), (599, ServerError), (503, UnavailableError)]
)
def test_other_statuses_fall_back_to_their_family(status: int, expected: type[APIError]) -> None:
    assert type(api_error(status, httpx.Headers(), b"")) is expected


def test_a_refusal_carries_all_its_particulars() -> None:
    error = api_error(404, httpx.Headers({"X-Request-ID": "r1", "Retry-After": "3"}), REFUSAL)
    assert (error.status, error.message, error.type) == (404, "no such model", "invalid_request_error")
    assert (error.code, error.param) == ("model_not_found", "model")
    assert (error.request_id, error.retry_after_seconds) == ("r1", 3.0)
    assert str(error) == "404: no such model (code=model_not_found, param=model, request_id=r1)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<h1>Bad gateway</h1>", "Bad Gateway: <h1>Bad gateway</h1>"),
        (b'{"detail": "x"}', 'Bad Gateway: {"detail": "x"}'),
        (b"\xff", "Bad Gateway: \ufffd"),
        (b"", "Bad Gateway"),
    ],
)
def test_a_body_in_another_shape_becomes_the_message(body: bytes, message: str) -> None:
    assert api_error(502, httpx.Headers(), body).message == message


@settings(deadline=None)
@given(st.integers(min_value=300, max_value=599), st.binary())
def test_any_refusal_becomes_an_error(status: int, body: bytes) -> None:
    assert api_error(status, httpx.Headers(), body).status == status


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("5", 5.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds
