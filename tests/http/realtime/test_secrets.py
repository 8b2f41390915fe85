"""Tokens for browsers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.http.realtime.secrets import ClientSecrets
from tests.http.conftest import Live, error_of
from tests.http.realtime.conftest import live_serving, talking

KEY = "first-key"
PATH = "/v1/realtime/client_secrets"
SESSION = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}


def noise(length: int) -> str:
    """A text that does not get shorter when it is packed."""
    return random.Random(1).randbytes(length // 2).hex()  # noqa: S311 - the same each time


@pytest.fixture(scope="module")
def guarded() -> Iterator[Live]:
    with live_serving(api_keys=(KEY,)) as live:
        yield live


def issued(live: Live, **body: Any) -> dict[str, Any]:
    response = live.client.post(PATH, json=body, headers={"Authorization": f"Bearer {KEY}"})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_token_opens_a_session_that_is_as_it_was_asked_for(guarded: Live) -> None:
    answer = issued(guarded, session=SESSION, expires_after={"anchor": "created_at", "seconds": 60})
    assert answer["value"].startswith("ek_")
    assert answer["session"]["audio"]["input"]["turn_detection"] is None
    protocols = ["realtime", f"openai-insecure-api-key.{answer['value']}"]
    with talking(guarded, protocols=protocols) as talk:
        assert talk.receive()["session"]["audio"]["input"]["turn_detection"] is None
    with talking(guarded, headers={"Authorization": f"Bearer {answer['value']}"}) as talk:
        assert talk.receive()["type"] == "session.created"


def test_it_opens_nothing_else(guarded: Live) -> None:
    bearer = {"Authorization": f"Bearer {issued(guarded)['value']}"}
    assert guarded.transcribe(headers=bearer).status_code == 401
    assert guarded.client.post(PATH, json={}, headers=bearer).status_code == 401


def test_who_has_no_key_gets_none(guarded: Live) -> None:
    assert guarded.client.post(PATH, json={}).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (
            {"session": {"audio": {"input": {"format": {"type": "audio/ogg"}}}}},
            400,
            "session.audio.input.format.type",
        ),
        ({"session": {"audio": {"input": {"transcription": {"model": "no"}}}}}, 404, "model"),
        ({"session": {"audio": {"input": {"transcription": {"prompt": noise(9_000)}}}}}, 400, "session"),
        ({"expires_after": {"seconds": 1}}, 400, None),
        ({"session": 7}, 400, None),
    ],
)
def test_what_makes_no_sense_is_refused(guarded: Live, body: Any, status: int, param: str | None) -> None:
    response = guarded.client.post(PATH, json=body, headers={"Authorization": f"Bearer {KEY}"})
    assert error_of(response, status)["param"] == param


def test_a_token_ends() -> None:
    now = [1_000.0]
    secrets = ClientSecrets(lambda: now[0])
    secret = secrets.issue(SESSION, 60)
    assert secret.expires_at == 1_060
    assert secrets.session_of(secret.value) == SESSION
    now[0] = 1_060.0
    assert not secrets.opens(secret.value)


def test_tokens_of_another_server_are_none() -> None:
    assert not ClientSecrets().opens(ClientSecrets().issue({}, 60).value)


SECRETS = ClientSecrets()
GOOD = SECRETS.issue(SESSION, 3600).value


@given(place=st.integers(3, len(GOOD) - 1), letter=st.sampled_from("ABCxyz019-_"))
def test_a_letter_that_is_changed_spoils_it(place: int, letter: str) -> None:
    changed = GOOD[:place] + letter + GOOD[place + 1 :]
    last = place == len(GOOD) - 1  # of the last letter some bits stand for nothing
    assert SECRETS.opens(changed) <= (changed == GOOD or last)


@given(st.text(max_size=60))
def test_any_other_text_is_none(text: str) -> None:
    assert not SECRETS.opens(text)
    assert not SECRETS.opens(f"ek_{text}")


@pytest.mark.parametrize("depth", [800, 880, 900, 920, 940, 960, 980])
def test_a_session_may_be_nested_as_deep_as_it_will(guarded: Live, depth: int) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    body = '{"session":' + '{"audio":' * depth + "1" + "}" * depth + "}"
    assert guarded.client.post(PATH, content=body, headers=headers).status_code in {200, 400}


@pytest.mark.parametrize("body", ['{"session":' * 50_000, "[" * 50_000, '{"session":{"a":' + "[" * 50_000])
def test_a_body_nested_too_deep_is_the_clients_fault(guarded: Live, body: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    error_of(guarded.client.post(PATH, content=body, headers=headers), 400)
