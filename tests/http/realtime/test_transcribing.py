"""What a session says of what it hears: names, order, ids, times."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from lithophone.backends.base import Recognition, RecognitionRequest
from tests.engine.dictation.spoken import (
    GAP_SECONDS,
    SPEC,
    VOCABULARY,
    WORD_SECONDS,
    SpokenBackend,
    silence,
    spoken,
)
from tests.http.conftest import Live
from tests.http.realtime.conftest import PCM_16K, Talk, live_serving, talking

TURNS = {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 500}
TRANSCRIPTION = "conversation.item.input_audio_transcription"


@pytest.fixture
def manual(talk: Talk) -> Talk:
    """A session whose turns the client ends."""
    talk.configure(turn_detection=None)
    talk.events.clear()
    return talk


@pytest.fixture
def turns(talk: Talk) -> Talk:
    """A session whose turns silence ends."""
    talk.configure(turn_detection=TURNS)
    talk.events.clear()
    return talk


def test_words_come_before_the_commit_and_stand(manual: Talk) -> None:
    manual.say(spoken(1, 2, 3, 4, 5, 6))
    assert manual.until(f"{TRANSCRIPTION}.delta")["delta"].startswith("one")
    end = manual.commit()
    assert end["transcript"] == manual.deltas() == "one two three four five six"
    kinds = manual.kinds()
    assert kinds.index(f"{TRANSCRIPTION}.delta") < kinds.index("committed")


def test_a_turn_is_told_in_this_order_and_every_event_has_its_fields(turns: Talk) -> None:
    turns.say(np.concatenate([silence(1.0), spoken(1, 2, 3, pause_seconds=0.8)]))
    turns.until(f"{TRANSCRIPTION}.completed")
    kinds = [kind for kind in turns.kinds() if not kind.endswith(".delta")]
    assert kinds == [
        "speech_started",
        "speech_stopped",
        "committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}.completed",
    ]
    assert len({event["event_id"] for event in turns.events}) == len(turns.events)
    started, stopped = (
        turns.last("input_audio_buffer.speech_started"),
        turns.last("input_audio_buffer.speech_stopped"),
    )
    committed, done = turns.last("input_audio_buffer.committed"), turns.last("conversation.item.done")
    completed, delta = turns.last(f"{TRANSCRIPTION}.completed"), turns.last(f"{TRANSCRIPTION}.delta")
    assert started["audio_start_ms"] == pytest.approx(700, abs=40)
    end = 1.0 + 3 * (WORD_SECONDS + GAP_SECONDS) - GAP_SECONDS
    assert stopped["audio_end_ms"] == pytest.approx(1000 * (end + 0.5), abs=70)
    assert committed["previous_item_id"] is None
    assert done["item"] == {
        "id": started["item_id"],
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    assert {event["item_id"] for event in (stopped, committed, completed, delta)} == {started["item_id"]}
    assert (completed["content_index"], delta["content_index"]) == (0, 0)
    assert completed["languages"] == [{"code": "en"}]
    assert "logprobs" not in completed
    assert "logprobs" not in delta
    usage = completed["usage"]
    assert usage["type"] == "tokens"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


def test_times_count_from_the_start_of_the_session_in_every_format(turns: Talk) -> None:
    turns.say(spoken(1, pause_seconds=1.0))
    turns.until(f"{TRANSCRIPTION}.completed")
    turns.configure(format={"type": "audio/pcmu"})
    turns.append(bytes([0xFF]) * 8_000 + bytes([0x80]) * 4_000)
    started = turns.until("input_audio_buffer.speech_started")["audio_start_ms"]
    assert started == pytest.approx(1000 * (WORD_SECONDS + GAP_SECONDS + 1.0 + 1.0 - 0.3), abs=70)


def test_items_name_the_one_before_and_end_in_order(manual: Talk) -> None:
    for word in (1, 2, 3):
        manual.say(spoken(word))
        manual.send("input_audio_buffer.commit")
    ends = [manual.until(f"{TRANSCRIPTION}.completed") for _ in range(3)]
    committed = [event for event in manual.events if event["type"] == "input_audio_buffer.committed"]
    assert [end["transcript"] for end in ends] == ["one", "two", "three"]
    assert [event["item_id"] for event in committed] == [end["item_id"] for end in ends]
    assert [event["previous_item_id"] for event in committed] == [None, *(end["item_id"] for end in ends[:2])]


def test_one_commit_is_one_item_however_long_it_is(manual: Talk) -> None:
    words = [number % 10 for number in range(60)]  # 24 s; a window takes 8
    manual.say(spoken(*words, pause_seconds=0.5))
    end = manual.commit()
    assert end["transcript"].split() == [VOCABULARY[word] for word in words]
    assert manual.kinds().count(f"{TRANSCRIPTION}.completed") == 1


def test_silence_is_an_item_with_no_words(manual: Talk) -> None:
    manual.say(silence(1.0))
    end = manual.commit()
    assert end["transcript"] == ""
    assert end["usage"]["type"] == "tokens"


def test_less_than_a_frame_is_an_item_too(manual: Talk) -> None:
    manual.append(b"\0\0" * 10)
    assert manual.commit()["transcript"] == ""


def test_a_commit_of_nothing_is_the_one_error_that_clients_know(turns: Talk) -> None:
    """openai-agents takes it as the answer to its last commit, by its `event_id`."""
    turns.say(spoken(1, pause_seconds=1.0))
    turns.until(f"{TRANSCRIPTION}.completed")
    turns.send("input_audio_buffer.commit", event_id="final")
    turns.send("input_audio_buffer.clear")
    error = turns.until("error")["error"]
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "final")
    assert turns.receive()["type"] == "input_audio_buffer.cleared"


def test_a_commit_and_a_clear_end_a_clients_input(turns: Talk) -> None:
    """As openai-agents ends: committed, cleared, and then `completed` for all that was committed."""
    turns.say(spoken(1, 2))
    turns.send("input_audio_buffer.commit", event_id="final")
    turns.send("input_audio_buffer.clear")
    assert turns.until("input_audio_buffer.committed", "input_audio_buffer.cleared")["type"].endswith(
        "committed"
    )
    if f"{TRANSCRIPTION}.completed" not in turns.kinds():
        turns.until(f"{TRANSCRIPTION}.completed")
    assert turns.last(f"{TRANSCRIPTION}.completed")["transcript"] == "one two"
    turns.configure()  # still there
    assert turns.kinds().index("committed") < turns.kinds().index("cleared")


def test_clearing_forgets_what_was_not_committed(manual: Talk) -> None:
    manual.say(spoken(1, 2))
    manual.send("input_audio_buffer.clear")
    manual.until("input_audio_buffer.cleared")
    manual.say(spoken(3))
    assert manual.commit()["transcript"] == "three"


def test_audio_before_the_update_is_kept(live: Live) -> None:
    """pipecat may send audio before its update is acknowledged."""
    with talking(live) as talk:
        talk.configure(turn_detection=TURNS)
        talk.say(spoken(1, 2))
        talk.configure(turn_detection=None)
        talk.say(spoken(3))
        assert talk.commit()["transcript"] == "one two three"


def test_probabilities_come_where_they_are_asked_for(talk: Talk) -> None:
    talk.send(
        "session.update",
        session={
            "include": ["item.input_audio_transcription.logprobs"],
            "audio": {"input": {"format": PCM_16K, "turn_detection": None}},
        },
    )
    talk.say(spoken(1, 2, 3, 4, 5))
    delta = talk.until(f"{TRANSCRIPTION}.delta")
    end = talk.commit()
    assert delta["logprobs"][0]["token"] == "one"
    assert delta["logprobs"][0]["bytes"] == list(b"one")
    assert [token["token"].strip() for token in end["logprobs"]] == end["transcript"].split()
    assert all(token["logprob"] == -0.1 for token in end["logprobs"])


def test_words_that_sound_finished_end_a_semantic_turn(talk: Talk) -> None:
    talk.configure(turn_detection={"type": "semantic_vad", "eagerness": "high"})
    talk.say(spoken(1, 2))
    talk.say(silence(1.9))
    assert talk.until("input_audio_buffer.speech_stopped")["audio_end_ms"] < 2800


@pytest.mark.parametrize(
    ("frame", "param"),
    [
        ("no json", None),
        ("[]", None),
        ("{}", "type"),
        (b"\xff\xfe", None),
        (json.dumps({"type": "response.create"}), "type"),
        (json.dumps({"type": "conversation.item.create", "item": {}}), "type"),
        (json.dumps({"type": "input_audio_buffer.append"}), "audio"),
        (json.dumps({"type": "input_audio_buffer.append", "audio": "not base64!"}), "audio"),
        (json.dumps({"type": "input_audio_buffer.append", "audio": 7}), None),
        (json.dumps({"type": "session.update"}), "session"),
    ],
)
def test_what_is_no_event_is_an_error_and_the_session_goes_on(
    manual: Talk, frame: str | bytes, param: Any
) -> None:
    manual.socket.send(frame)
    error = manual.until("error")["error"]
    assert (error["type"], error["param"], error["event_id"]) == ("invalid_request_error", param, None)
    manual.say(spoken(1))
    assert manual.commit()["transcript"] == "one"


def test_a_frame_may_hold_15_mib_of_audio(manual: Talk) -> None:
    manual.append(bytes(15 << 20))
    manual.send("input_audio_buffer.clear")
    manual.until("input_audio_buffer.cleared")


def test_more_than_that_is_an_error(manual: Talk) -> None:
    manual.append(bytes((15 << 20) + 2))
    assert "15728640" in manual.until("error")["error"]["message"]


def test_a_model_that_fails_fails_the_item_and_no_other() -> None:
    class Breaks(SpokenBackend):
        def answer(self, request: RecognitionRequest, text: str) -> Recognition:
            if len(request.samples) < 8_000:
                raise RuntimeError("a secret of the server")
            return super().answer(request, text)

    with live_serving(Breaks) as live, talking(live) as talk:
        talk.configure(turn_detection=None)
        talk.say(spoken(1))
        failed = talk.commit()
        assert failed["type"] == f"{TRANSCRIPTION}.failed"
        assert failed["error"]["type"] == "server_error"
        assert "secret" not in failed["error"]["message"]
        assert set(failed["error"]) >= {"type", "code", "message", "param"}
        talk.say(spoken(1, 2, 3))
        assert talk.commit()["transcript"] == "one two three"


def test_a_demonstration_model_owns_up() -> None:
    for least, guessed in ((-99.0, False), (0.0, True)):
        spec = msgspec.structs.replace(SPEC, least_logprob=least)
        with live_serving(spec=spec) as live, capture_logs() as logs, talking(live) as talk:
            (told,) = talk.receive()["session"]["lithophone"]["warnings"]
            assert told.startswith(f"model: {SPEC.id} is a demonstration model")
            talk.configure(turn_detection=None)
            talk.say(spoken(1, 2))
            doubts = talk.commit().get("lithophone", {}).get("warnings", [])
            assert any("did not understand" in doubt for doubt in doubts) is guessed
        assert [entry["event"] for entry in logs].count("not_understood") == guessed
