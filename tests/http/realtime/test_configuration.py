"""What a client sets: `session.update` in today's shape and the beta's, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.http.realtime.configuration import from_beta, merged
from tests.engine.dictation.spoken import spoken
from tests.http.conftest import Live
from tests.http.realtime.conftest import PATH, Talk, talking, tone_24k

SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
}


def audio_input(talk: Talk, **fields: Any) -> Any:
    return talk.configure(**fields)["audio"]["input"]


def test_the_first_event_tells_the_defaults(live: Live) -> None:
    with talking(live) as talk:
        event = talk.receive()
    session = event["session"]
    assert session["type"] == "transcription"
    assert session["object"] == "realtime.transcription_session"
    assert session["id"].startswith("sess_")
    assert session["expires_at"] > 1_700_000_000
    assert session["include"] is None
    assert session["audio"]["input"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "transcription": {"model": live.host.model_id},
        "turn_detection": SERVER_VAD,
        "noise_reduction": None,
    }


def test_an_update_tells_the_whole_session_and_keeps_what_it_does_not_name(talk: Talk) -> None:
    first = audio_input(
        talk,
        transcription={"model": "gpt-transcribe", "language": "en"},
        noise_reduction={"type": "far_field"},
    )
    assert first["transcription"] == {"model": "gpt-transcribe", "language": "en"}
    second = audio_input(talk, transcription={"delay": "low"})
    assert second["transcription"] == {"model": "gpt-transcribe", "language": "en", "delay": "low"}
    assert second["noise_reduction"] == {"type": "far_field"}
    assert second["turn_detection"] == SERVER_VAD


def test_null_takes_away(talk: Talk) -> None:
    audio_input(talk, transcription={"language": "en"}, noise_reduction={"type": "near_field"})
    bare = audio_input(talk, transcription=None, noise_reduction=None, turn_detection=None)
    assert (bare["transcription"], bare["noise_reduction"], bare["turn_detection"]) == (None, None, None)
    talk.say(spoken(1, 2))
    assert talk.commit()["transcript"] == "one two"


@pytest.mark.parametrize(
    "audio_format",
    [{"type": "audio/pcm", "rate": 24_000}, {"type": "audio/pcm"}, None],
)
def test_pcm_is_24_khz_where_nothing_else_is_said(talk: Talk, audio_format: Any) -> None:
    assert audio_input(talk, format=audio_format)["format"]["rate"] == 24_000
    talk.append(tone_24k(1.0) + bytes(48_000))
    assert talk.until("input_audio_buffer.speech_stopped")["audio_end_ms"] == pytest.approx(1500, abs=70)


@pytest.mark.parametrize(
    ("audio_format", "quiet", "loud"), [("audio/pcmu", 0xFF, 0x80), ("audio/pcma", 0xD5, 0xAA)]
)
def test_telephone_audio_is_8_khz(talk: Talk, audio_format: str, quiet: int, loud: int) -> None:
    assert audio_input(talk, format={"type": audio_format})["format"] == {"type": audio_format}
    talk.append(bytes([quiet]) * 8_000 + bytes([loud]) * 4_000 + bytes([quiet]) * 8_000)
    assert talk.until("input_audio_buffer.speech_started")["audio_start_ms"] == pytest.approx(700, abs=70)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-realtime-whisper",
        "gpt-live-transcribe",
        "gpt-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-transcribe",
        "whisper-1",
    ],
)
def test_every_model_that_clients_name_is_one(talk: Talk, model: str) -> None:
    assert audio_input(talk, transcription={"model": model})["transcription"]["model"] == model


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
def test_a_live_model_has_no_turns_unless_it_is_told_to(talk: Talk, model: str) -> None:
    assert audio_input(talk, transcription={"model": model})["turn_detection"] is None
    assert audio_input(talk, turn_detection={"type": "server_vad"})["turn_detection"] == SERVER_VAD


@pytest.mark.parametrize(
    "turns",
    [
        {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 600, "silence_duration_ms": 350},
        {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500},
        {"type": "semantic_vad", "eagerness": "auto"},
        {"type": "semantic_vad", "eagerness": "low"},
        None,
    ],
)
def test_every_turn_detection_is_taken(talk: Talk, turns: Any) -> None:
    assert audio_input(talk, turn_detection=turns)["turn_detection"] == turns


def test_a_turn_detection_of_another_type_keeps_nothing_of_the_one_before(talk: Talk) -> None:
    audio_input(talk, turn_detection={"type": "server_vad", "threshold": 0.9})
    turns = audio_input(talk, turn_detection={"type": "semantic_vad"})["turn_detection"]
    assert turns == {"type": "semantic_vad", "eagerness": "auto"}


@pytest.mark.parametrize(
    "fields",
    [
        {"noise_reduction": {"type": "near_field", "strength": 0.5}},
        {"transcription": {"keywords": []}},
        {"transcription": {"keywords": ["Granite"], "prompt": "About Granite."}},
        {"transcription": {"languages": ["en"]}},
        {"transcription": {"language": "xx"}},
        {"transcription": {"language": "en-US", "languages": ["en", "de"]}},
        *({"transcription": {"delay": delay}} for delay in ("minimal", "low", "medium", "high", "xhigh")),
        {
            "turn_detection": {
                "type": "server_vad",
                "create_response": True,
                "interrupt_response": False,
                "idle_timeout_ms": 6000,
            }
        },
        {"something_new": {"type": "unknown"}},
    ],
)
def test_nothing_that_can_be_accepted_is_an_error(talk: Talk, fields: Any) -> None:
    """To these clients an error is the end."""
    talk.configure(turn_detection=None)
    talk.configure(**fields)
    talk.say(spoken(1, 2, 3, pause_seconds=1.0))
    talk.send("input_audio_buffer.commit", final=True)  # vLLM's extension
    talk.until("conversation.item.input_audio_transcription.completed")


def test_what_is_set_in_vain_is_told_beside_the_session(talk: Talk) -> None:
    session = talk.configure(noise_reduction={"type": "near_field"}, transcription={"prompt": "it rains."})
    told = session["lithophone"]["warnings"]
    assert [warning.partition(":")[0] for warning in told] == ["noise_reduction", "prompt"]
    assert "lithophone" not in talk.configure(noise_reduction=None, transcription={"prompt": None})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"transcription": {"model": "gpt-nothing"}}, "model"),
        ({"format": {"type": "audio/ogg"}}, "session.audio.input.format.type"),
        ({"format": {"type": "audio/pcm", "rate": 12}}, "session.audio.input.format.rate"),
        ({"turn_detection": {"type": "none"}}, "session.audio.input.turn_detection.type"),
        (
            {"turn_detection": {"type": "server_vad", "threshold": 2}},
            "session.audio.input.turn_detection.threshold",
        ),
        ({"transcription": {"delay": "never"}}, "session.audio.input.transcription.delay"),
    ],
)
def test_what_makes_no_sense_is_an_error_and_changes_nothing(talk: Talk, fields: Any, param: str) -> None:
    before = talk.configure(turn_detection=None)
    talk.send("session.update", event_id="mine", session={"audio": {"input": {"language": "en", **fields}}})
    error = talk.until("error", "session.updated")["error"]
    assert (error["event_id"], error["param"], error["type"]) == ("mine", param, "invalid_request_error")
    assert error["message"]
    assert talk.configure() == before


@pytest.mark.parametrize("depth", [100, 800, 850, 900, 930, 960, 990, 100_000])
def test_an_update_may_be_nested_as_deep_as_it_will(talk: Talk, depth: int) -> None:
    nested = '{"audio":' * depth + "1" + "}" * depth
    talk.socket.send(f'{{"type":"session.update","session":{nested}}}')
    answer = talk.receive()
    assert answer.get("error", {}).get("type", "invalid_request_error") == "invalid_request_error"
    assert answer["type"] == ("error" if depth > 1000 else answer["type"])
    assert talk.configure()["audio"]["input"]["format"]["rate"] == 16_000


def test_an_update_at_once_is_taken(live: Live) -> None:
    """livekit, wyoming, the AI SDK and obsidian do not wait for `session.created`."""
    with talking(live) as talk:
        talk.configure(turn_detection=None)
        assert talk.kinds() == ["session.created", "session.updated"]


def test_the_betas_names_are_understood_and_answered_in_kind(live: Live) -> None:
    with talking(live, headers={"OpenAI-Beta": "realtime=v1"}) as talk:
        talk.send(
            "transcription_session.update",
            session={
                "input_audio_format": "g711_ulaw",
                "input_audio_transcription": {"model": "whisper-1", "language": "en"},
                "turn_detection": None,
                "input_audio_noise_reduction": {"type": "near_field"},
                "include": ["item.input_audio_transcription.logprobs"],
            },
        )
        session = talk.until("transcription_session.updated")["session"]
        assert session["input_audio_format"] == "g711_ulaw"
        assert session["input_audio_transcription"] == {"model": "whisper-1", "language": "en"}
        assert session["turn_detection"] is None
        assert session["input_audio_noise_reduction"] == {"type": "near_field"}
        assert session["include"] == ["item.input_audio_transcription.logprobs"]
        talk.append(bytes([0xFF]) * 4_000)
        talk.commit()
        assert "conversation.item.created" in talk.kinds()
        assert "conversation.item.added" not in talk.kinds()


def test_the_betas_update_alone_makes_a_client_of_the_beta(live: Live) -> None:
    with talking(live, PATH) as talk:
        talk.send("transcription_session.update", session={"turn_detection": None})
        assert talk.until("transcription_session.updated")["session"]["turn_detection"] is None


DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["type", "a", "b"]), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(before=DOCUMENTS, update=DOCUMENTS)
def test_an_update_is_in_the_whole_and_changes_nothing_if_it_comes_again(before: Any, update: Any) -> None:
    whole = merged(before, update)
    assert merged(whole, update) == whole
    for name in before.keys() - update.keys():
        assert whole[name] == before[name]
    assert merged(before, {}) == before


def test_the_betas_names_do_not_hide_todays() -> None:
    both = {"input_audio_format": "pcm16", "audio": {"input": {"noise_reduction": None}}, "include": None}
    assert from_beta(both) == {
        "audio": {"input": {"format": {"type": "audio/pcm"}, "noise_reduction": None}},
        "include": None,
    }
