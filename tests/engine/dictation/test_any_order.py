"""Any order of audio, commands and answers: items end once, in order, with the words that were told."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.audio.voice import TurnOptions
from lithophone.engine.dictation.events import Completed, Failed
from lithophone.engine.dictation.options import Delay, Eagerness, SemanticTurns
from lithophone.engine.dictation.turn import Update
from lithophone.errors import InternalError
from tests.engine.dictation.spoken import VOCABULARY, Session, check_order, hear, options, silence, spoken

TURNS = st.sampled_from([None, TurnOptions(silence_seconds=0.3), SemanticTurns(Eagerness.HIGH)])
DELAYS = st.sampled_from(list(Delay))
STEPS = st.one_of(
    st.tuples(st.just("speak"), st.lists(st.integers(0, 9), min_size=1, max_size=6)),
    st.tuples(st.just("pause"), st.floats(0.001, 1.5)),
    st.tuples(st.just("configure"), TURNS, DELAYS),
    st.sampled_from([("commit",), ("clear",), ("ask",), ("answer",), ("give up",), ("windows",), ("fail",)]),
)


class Player:
    """Does one step after the other; an update is asked for and answered in steps of their own."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._update: Update | None = None

    def play(self, name: str, *arguments: object) -> None:
        session = self.session
        match name, arguments:
            case "speak", (list(words),):
                session.hear_only(spoken(*words))
            case "pause", (float(seconds),):
                session.hear_only(silence(seconds))
            case "configure", (turns, Delay() as delay):
                session.take(session.machine.configure(options(turns, delay)))  # pyright: ignore[reportArgumentType] - TURNS
            case "commit", _:
                session.commit_only()
            case "clear", _:
                session.clear()
            case "window", _:
                session.hear_window()
            case "windows", _:
                session.hear_windows()
            case "fail", _:
                session.hear_windows(InternalError("broken"))
            case _:
                self._update_step(name)

    def _update_step(self, name: str) -> None:
        if name == "ask":
            self._update = self._update or self.session.machine.next_update()
        elif self._update is not None:
            update, self._update = self._update, None
            if name == "answer":
                self.session.take(self.session.machine.updated(update, hear(update.request)))
            else:
                update.turn.update_failed()


@settings(max_examples=60)
@given(TURNS, DELAYS, st.lists(STEPS, max_size=25))
def test_every_committed_item_ends_once_and_says_what_was_told(
    turns: TurnOptions | SemanticTurns | None, delay: Delay, steps: list[tuple[object, ...]]
) -> None:
    session = Session(options(turns, delay))
    player = Player(session)
    for name, *arguments in steps:
        player.play(str(name), *arguments)
    player.play("answer")
    session.commit()
    check_order(session)
    assert session.machine.unfinished == 0
    assert not [end for _, end in session.events if isinstance(end, Failed) and end.error.message != "broken"]
    assert all(end.text == end.text.strip() for end in session.completed())
    assert all(isinstance(end, Completed) for end in session.completed())


PHRASE = st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.floats(0.001, 0.6))
MODEL_STEPS = st.lists(st.sampled_from(["ask", "answer", "give up", "windows"]), max_size=3)
UTTERANCE = st.lists(st.tuples(PHRASE, MODEL_STEPS), min_size=1, max_size=4)  # together within a window


@settings(max_examples=60)
@given(DELAYS, st.lists(UTTERANCE, min_size=1, max_size=3))
def test_whenever_the_model_answers_each_word_is_told_once(
    delay: Delay, utterances: list[list[tuple[tuple[list[int], float], list[str]]]]
) -> None:
    assert heard_words(delay, utterances) == said_words(utterances)


LONG_PHRASE = st.tuples(st.lists(st.integers(0, 9), min_size=3, max_size=8), st.floats(0.3, 0.6))
SLOW_STEPS = st.lists(st.sampled_from(["ask", "answer", "give up", "window"]), max_size=3)


@settings(max_examples=60)
@given(DELAYS, st.lists(st.tuples(LONG_PHRASE, SLOW_STEPS), min_size=4, max_size=12))
def test_whenever_the_windows_of_a_long_utterance_are_heard_each_word_is_told_once(
    delay: Delay, utterance: list[tuple[tuple[list[int], float], list[str]]]
) -> None:
    assert heard_words(delay, [utterance]) == said_words([utterance])


Utterances = list[list[tuple[tuple[list[int], float], list[str]]]]


def heard_words(delay: Delay, utterances: Utterances) -> list[list[str]]:
    """The words of each item, of utterances with steps of the model between their phrases."""
    session = Session(options(None, delay))
    player = Player(session)
    for utterance in utterances:
        for (words, pause_seconds), steps in utterance:
            session.hear_only(spoken(*words, pause_seconds=pause_seconds))
            for step in steps:
                player.play(step)
        session.commit_only()
    session.hear_windows()
    return [end.text.split() for end in session.completed()]


def said_words(utterances: Utterances) -> list[list[str]]:
    """What is said in each."""
    return [[VOCABULARY[word] for (words, _), _ in utterance for word in words] for utterance in utterances]
