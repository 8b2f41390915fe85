"""The turn machine: what is told when, and how items end."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from lithophone.audio.voice import TurnOptions
from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.engine.dictation.events import (
    Cleared,
    Committed,
    Delta,
    Failed,
    NothingToCommit,
    SpeechStarted,
    SpeechStopped,
)
from lithophone.engine.dictation.options import Delay, Eagerness, SemanticTurns
from lithophone.errors import InternalError
from tests.engine.dictation.spoken import (
    GAP_SECONDS,
    VOCABULARY,
    WORD_SECONDS,
    Session,
    check_order,
    hear,
    options,
    silence,
    spoken,
)

VAD = TurnOptions(silence_seconds=0.5)


def test_words_are_told_while_they_are_spoken_and_before_any_commit() -> None:
    session = Session(options())
    session.say(spoken(1, 2, 3, 4, 5, 6, 7))
    assert session.text() == "one two three four five"
    session.commit()
    assert session.kinds() == ["Committed", "Completed"]
    assert session.completed()[0].text == "one two three four five six seven"
    check_order(session)


@pytest.mark.parametrize(
    ("delay", "longest_seconds"),
    [(Delay.MINIMAL, 0.75), (Delay.LOW, 1.1), (Delay.MEDIUM, 1.3), (Delay.HIGH, 1.8)],
)
def test_the_longer_words_are_held_back_the_later_they_are_told(delay: Delay, longest_seconds: float) -> None:
    session = Session(options(delay=delay))
    session.say(spoken(1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3))
    delays = [told - end for _, end, told in session.told_at()]
    assert len(delays) >= 5
    assert max(delays) <= longest_seconds
    assert min(delays) >= {Delay.MINIMAL: 0.0, Delay.LOW: 0.25, Delay.MEDIUM: 0.45}.get(delay, 0.5)


def test_at_pauses_alone_nothing_is_told_between_them() -> None:
    session = Session(options(delay=Delay.XHIGH))
    session.say(spoken(1, 2, 3, 4, 5))
    assert session.text() == ""
    session.say(silence(0.5))
    assert session.text() == "one two three four five"
    assert session.updates == 1


def test_in_a_pause_everything_said_is_told_though_nothing_more_comes_to_agree_with() -> None:
    session = Session(options(delay=Delay.HIGH))
    session.say(spoken(1, 2, 3, pause_seconds=0.9))
    assert session.text() == "one two three"
    updates = session.updates
    session.say(silence(5.0))
    assert session.updates == updates  # and silence is not heard again and again


def test_what_was_told_stands_though_the_whole_turn_is_heard_otherwise() -> None:
    def changes_its_mind(request: RecognitionRequest) -> Recognition:
        recognition = hear(request)
        if request.live is not None:
            return recognition
        words = [
            msgspec.structs.replace(word, text=word.text.replace("two", "too")) for word in recognition.words
        ]
        return msgspec.structs.replace(
            recognition, words=tuple(words), text="".join(word.text for word in words)
        )

    session = Session(options(), changes_its_mind)
    session.say(spoken(1, 2, 3, 4, 5, 6))
    session.say(spoken(2))
    session.commit()
    assert session.completed()[0].text == "one two three four five six too"
    check_order(session)


def test_the_model_is_given_the_words_that_stand_and_hears_what_follows() -> None:
    asked: list[RecognitionRequest] = []

    def remembered(request: RecognitionRequest) -> Recognition:
        if request.live is not None:
            asked.append(request)
        return hear(request)

    session = Session(options(), remembered)
    session.say(spoken(1, 2, 3, 4, 5, 6, 7))
    last = asked[-1]
    assert last.live is not None
    told = session.told_at()[: len(last.live.said)]
    assert [word for word, _, _ in told[:4]] == ["one", "two", "three", "four"]
    assert abs(last.context_samples / 16_000 - told[-1][1]) < 0.03
    assert all(request.urgent for request in asked)
    assert len({request.live.key for request in asked if request.live}) == 1


def test_silence_is_an_item_without_words() -> None:
    session = Session(options())
    session.say(silence(2.0))
    session.commit()
    assert session.completed()[0].text == ""
    assert session.updates == 0


def test_a_commit_of_less_than_a_frame_is_an_item() -> None:
    session = Session(options())
    session.say(silence(0.01))
    session.commit()
    assert session.kinds() == ["Committed", "Completed"]


def test_a_commit_of_nothing_says_so() -> None:
    session = Session(options())
    session.commit()
    session.say(spoken(1))
    session.commit()
    session.commit()
    assert session.kinds() == ["NothingToCommit", "Committed", "Completed", "NothingToCommit"]


def test_what_is_cleared_is_not_told() -> None:
    session = Session(options())
    session.say(spoken(1, 2))
    session.clear()
    session.say(spoken(3, 4))
    session.commit()
    assert session.kinds() == ["Cleared", "Committed", "Completed"]
    assert session.completed()[0].text == "three four"


def test_a_turn_longer_than_a_window_is_one_item_in_order() -> None:
    numbers = list(np.random.default_rng(1).integers(0, 10, 60))
    session = Session(options())
    for start in range(0, 60, 6):
        session.say(spoken(*numbers[start : start + 6], pause_seconds=0.3))
    session.commit()
    words = [VOCABULARY[number] for number in numbers]
    assert session.completed()[0].text.split() == words
    check_order(session)


def test_times_are_those_of_the_session_whatever_was_committed_before() -> None:
    session = Session(options())
    session.say(silence(1.0))
    session.commit()
    session.say(spoken(1, 2, 3, pause_seconds=1.0))
    assert [round(end, 2) for _, end, _ in session.told_at()] == [
        pytest.approx(1.0 + number * (WORD_SECONDS + GAP_SECONDS) - GAP_SECONDS, abs=0.01)
        for number in (1, 2, 3)
    ]


class TestTurns:
    def test_a_turn_begins_with_its_padding_and_ends_with_its_silence(self) -> None:
        session = Session(options(VAD))
        session.say(np.concatenate([silence(1.0), spoken(1, 2, 3, pause_seconds=1.0)]))
        started, stopped = (
            next(event for _, event in session.events if isinstance(event, kind))
            for kind in (SpeechStarted, SpeechStopped)
        )
        assert isinstance(started, SpeechStarted)
        assert isinstance(stopped, SpeechStopped)
        assert started.start_seconds == pytest.approx(0.7, abs=0.04)
        end = 1.0 + 3 * (WORD_SECONDS + GAP_SECONDS) - GAP_SECONDS
        assert stopped.stop_seconds == pytest.approx(end + 0.5, abs=0.06)
        assert session.kinds() == ["SpeechStarted", "SpeechStopped", "Committed", "Completed"]
        assert session.completed()[0].text == "one two three"

    def test_each_turn_is_an_item_with_its_own_name(self) -> None:
        session = Session(options(VAD))
        session.say(np.concatenate([spoken(1, pause_seconds=0.8), spoken(2, pause_seconds=0.8)]))
        assert [end.text for end in session.completed()] == ["one", "two"]
        names = [
            event.item_id
            for _, event in session.events
            if isinstance(event, SpeechStarted | SpeechStopped | Committed)
        ]
        assert names == ["item_1"] * 3 + ["item_2"] * 3
        check_order(session)

    def test_silence_alone_begins_nothing_and_there_is_nothing_to_commit(self) -> None:
        session = Session(options(VAD))
        session.say(silence(3.0))
        session.commit()
        assert session.kinds() == ["NothingToCommit"]

    def test_a_commit_behind_the_last_turn_finds_nothing(self) -> None:
        session = Session(options(VAD))
        session.say(spoken(1, pause_seconds=1.0))
        session.commit()
        session.clear()
        assert session.kinds()[-3:] == ["Completed", "NothingToCommit", "Cleared"]

    def test_a_commit_in_a_turn_ends_it(self) -> None:
        session = Session(options(VAD))
        session.say(spoken(1, 2))
        session.commit()
        assert session.kinds() == ["SpeechStarted", "Committed", "Completed"]
        assert session.completed()[0].text == "one two"

    def test_words_that_sound_finished_end_a_turn_sooner(self) -> None:
        def ends(finished: bool) -> float:
            def model(request: RecognitionRequest) -> Recognition:
                return msgspec.structs.replace(hear(request), end_logprob=-0.1 if finished else -3.0)

            session = Session(options(SemanticTurns(Eagerness.HIGH)), model)
            session.say(spoken(1, 2, pause_seconds=3.0))
            (stopped,) = (event for _, event in session.events if isinstance(event, SpeechStopped))
            return stopped.stop_seconds - 2 * (WORD_SECONDS + GAP_SECONDS)

        assert ends(finished=True) < 0.5
        assert 1.8 < ends(finished=False) < 2.3


class TestConfigure:
    def test_audio_before_the_update_that_takes_turn_detection_away_is_not_lost(self) -> None:
        session = Session(options(VAD))
        session.say(spoken(1, 2))
        session.take(session.machine.configure(options(None)))
        session.say(spoken(3, pause_seconds=2.0))
        session.commit()
        assert [end.text for end in session.completed()] == ["one two three"]

    def test_a_turn_that_has_words_when_turn_detection_comes_is_ended_by_silence(self) -> None:
        session = Session(options(None))
        session.say(spoken(1, 2))
        session.take(session.machine.configure(options(VAD)))
        session.say(silence(1.0))
        assert session.kinds() == ["SpeechStarted", "SpeechStopped", "Committed", "Completed"]

    def test_silence_before_turn_detection_comes_is_no_turn(self) -> None:
        session = Session(options(None))
        session.say(silence(1.0))
        session.take(session.machine.configure(options(VAD)))
        session.say(np.concatenate([silence(0.5), spoken(1, pause_seconds=1.0)]))
        assert session.kinds() == ["SpeechStarted", "SpeechStopped", "Committed", "Completed"]
        assert session.completed()[0].text == "one"


class TestFailures:
    def test_an_item_that_fails_says_so_once_and_the_next_is_heard(self) -> None:
        session = Session(options())
        session.say(spoken(1, 2, pause_seconds=0.1))
        session.commit_only()
        session.hear_windows(InternalError("broken"))
        session.say(spoken(3))
        session.commit()
        assert session.kinds() == ["Committed", "Failed", "Committed", "Completed"]
        assert session.completed()[0].text == "three"

    def test_a_window_that_fails_before_the_commit_fails_the_item_behind_it(self) -> None:
        session = Session(options())
        for _ in range(9):
            session.hear_only(spoken(1, 2, 3, 4, pause_seconds=0.6))
        session.hear_windows(InternalError("broken"))
        assert not [event for _, event in session.events if isinstance(event, Failed)]
        session.say(spoken(5, 6))
        session.commit()
        assert session.kinds() == ["Committed", "Failed"]
        assert session.text() == ""

    def test_an_update_without_an_answer_is_tried_again(self) -> None:
        session = Session(options())
        session.hear_only(spoken(1, 2, 3))
        update = session.machine.next_update()
        assert update is not None
        assert session.machine.next_update() is None
        update.turn.update_failed()
        session.say(spoken(4, 5, 6, 7))
        assert session.text().startswith("one two three")

    def test_an_answer_that_comes_too_late_changes_nothing(self) -> None:
        session = Session(options())
        session.hear_only(spoken(1, 2, 3))
        update = session.machine.next_update()
        assert update is not None
        session.commit()
        session.take(session.machine.updated(update, hear(update.request)))
        check_order(session)
        assert session.completed()[0].text == "one two three"


def test_a_loop_is_not_told() -> None:
    def loops(request: RecognitionRequest) -> Recognition:
        recognition = hear(request)
        if request.live is None or not recognition.words:
            return recognition
        word = recognition.words[0]
        again = tuple(msgspec.structs.replace(word, text=" again") for _ in range(40))
        return msgspec.structs.replace(recognition, words=again, text=" again" * 40)

    session = Session(options(), loops)
    session.say(spoken(1, 2, 3, 4, 5, pause_seconds=1.0))
    assert session.text() == ""
    session.commit()
    assert session.completed()[0].text == "one two three four five"


def test_the_tokens_of_an_item_are_those_of_its_words() -> None:
    session = Session(options())
    session.say(spoken(1, 2, 3, 4, 5, 6))
    session.commit()
    (end,) = session.completed()
    assert "".join(token.text for token in end.tokens).split() == end.text.split()
    deltas = [event for _, event in session.events if isinstance(event, Delta)]
    assert tuple(token for delta in deltas for token in delta.tokens) == end.tokens


def test_clearing_says_so() -> None:
    session = Session(options(VAD))
    session.clear()
    assert [event for _, event in session.events] == [Cleared()]


def test_nothing_to_commit_is_an_event_of_its_own() -> None:
    assert Session(options()).machine.commit(np.zeros(0, np.float32)) == [NothingToCommit()]
