"""How clients come in: address, key and subprotocol, as each of them sends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lithophone.http.realtime.places import LivePlaces
from tests.http.conftest import Live, eventually
from tests.http.realtime.conftest import PATH, live_serving, talking

KEY = "first-key"
KEY_PROTOCOL = "openai-insecure-api-key."


@pytest.fixture(scope="module")
def guarded() -> Iterator[Live]:
    with live_serving(api_keys=(KEY,)) as live:
        yield live


def first_event(live: Live, path: str = PATH, **how: Any) -> dict[str, Any]:
    with talking(live, path, **how) as talk:
        return talk.receive()


def refusal(live: Live, path: str = PATH, **how: Any) -> Any:
    with pytest.raises(InvalidStatus) as refused, talking(live, path, **how):
        pass
    return refused.value.response


@pytest.mark.parametrize(
    "path",
    [
        "/v1/realtime?intent=transcription",
        "/v1/realtime?intent=transcription&model=gpt-4o-mini-transcribe",
        "/v1/realtime?model=gpt-realtime",  # of a conversation: a hint that says nothing
        "/v1/realtime",
        "/v1/audio/transcriptions?intent=transcription",  # whisper-obsidian-plugin
    ],
)
def test_every_address_clients_use_begins_a_session(live: Live, path: str) -> None:
    assert first_event(live, path)["type"] == "session.created"


def test_the_model_of_the_address_is_a_hint(live: Live) -> None:
    session = first_event(live, "/v1/realtime?intent=transcription&model=gpt-live-transcribe")["session"]
    assert session["audio"]["input"]["transcription"]["model"] == "gpt-live-transcribe"
    assert session["audio"]["input"]["turn_detection"] is None


def test_no_key_is_asked_for_where_none_is_set(live: Live) -> None:
    """wyoming-openai may send no `Authorization` at all."""
    assert first_event(live)["type"] == "session.created"


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"Authorization": f"Bearer {KEY}", "X-Stainless-Lang": "python"}},
        {"headers": {"Authorization": f"Bearer {KEY}", "User-Agent": "LiveKit Agents"}},
        {"protocols": ["realtime", f"{KEY_PROTOCOL}{KEY}"]},
        {"protocols": ["realtime", f"{KEY_PROTOCOL}{KEY}", "openai-beta.realtime-v1"]},
        {"protocols": ["realtime", f"{KEY_PROTOCOL}{KEY}"], "headers": {"Origin": "app://obsidian.md"}},
    ],
    ids=["python", "livekit", "browser", "beta browser", "obsidian"],
)
def test_a_key_comes_as_a_header_or_as_a_subprotocol(guarded: Live, how: Any) -> None:
    assert "session.created" in first_event(guarded, **how)["type"]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"protocols": ["realtime", f"{KEY_PROTOCOL}wrong"]},
        {"protocols": ["realtime"]},
    ],
)
def test_anything_else_is_a_401_in_the_error_shape(guarded: Live, how: Any) -> None:
    response = refusal(guarded, **how)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"]
    error = json.loads(response.body)["error"]
    assert error["code"] == "invalid_api_key"
    assert "wrong" not in error["message"]


def test_where_subprotocols_are_offered_realtime_is_selected(live: Live) -> None:
    offered = ["realtime", f"{KEY_PROTOCOL}any"]
    with talking(live, protocols=offered) as talk:
        assert talk.socket.subprotocol == "realtime"


def test_where_none_are_offered_none_is_selected(live: Live) -> None:
    with talking(live) as talk:
        assert talk.socket.subprotocol is None


def test_the_answer_to_the_handshake_carries_the_request_id(live: Live) -> None:
    with talking(live, headers={"x-request-id": "mine-1"}) as talk:
        assert talk.socket.response is not None
        assert talk.socket.response.headers["x-request-id"] == "mine-1"


def test_a_plain_request_for_the_socket_is_refused_in_the_error_shape(live: Live) -> None:
    response = live.client.get("/v1/realtime")
    assert response.status_code in {404, 405}
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "how",
    [{"headers": {"OpenAI-Beta": "realtime=v1"}}, {"protocols": ["realtime", "openai-beta.realtime-v1"]}],
)
def test_a_client_of_the_beta_hears_the_betas_names(live: Live, how: Any) -> None:
    event = first_event(live, **how)
    assert event["type"] == "transcription_session.created"
    assert event["session"]["input_audio_format"] == "pcm16"
    assert event["session"]["turn_detection"]["type"] == "server_vad"


def test_a_full_house_is_a_429_and_files_still_have_their_places(caplog: pytest.LogCaptureFixture) -> None:
    with live_serving(places=LivePlaces(1)) as live, talking(live):
        response = refusal(live)
        assert response.status_code == 429
        assert "uvicorn" not in caplog.text  # which calls a refused handshake an error
        assert int(response.headers["retry-after"]) >= 1
        assert live.transcribe().status_code == 200
        with live.admission.admit():
            pass


def test_a_place_is_free_again_when_a_session_has_ended() -> None:
    places = LivePlaces(1)
    with live_serving(places=places) as live:
        for _ in range(3):
            eventually(lambda: places.taken == 0)
            with talking(live) as talk:
                talk.receive()


def test_the_official_client_needs_no_compression_and_sends_large_frames(live: Live) -> None:
    """openai-python: `compression=None`, `max_size=None`."""
    with connect(live.url.replace("http", "ws") + PATH, compression="deflate") as socket:
        assert socket.response is not None
        assert "sec-websocket-extensions" not in socket.response.headers
