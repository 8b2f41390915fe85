import pytest

from lithophone.errors import UnsupportedParameterError
from lithophone.granite.family import FAMILY
from lithophone.granite.prompts import Tags, Task, chat_messages, instruction

ASKED = {
    "granite-speech-3.3-2b": "can you transcribe the speech into a written format?",
    "granite-speech-3.3-8b": "can you transcribe the speech into a written format?",
    "granite-4.0-1b-speech": "can you transcribe the speech into a written format?",
    "granite-speech-4.1-2b": "transcribe the speech with proper punctuation and capitalization.",
    "granite-speech-4.1-2b-plus": "can you transcribe the speech into a written format?",
    "granite-speech-tiny": "can you transcribe the speech into a written format?",
}


@pytest.mark.parametrize(("model", "words"), ASKED.items())
def test_each_model_is_asked_in_the_words_it_was_trained_on(model: str, words: str) -> None:
    assert instruction(FAMILY[model], Task()) == words


def test_a_language_hint_goes_where_the_model_takes_one() -> None:
    hinted = instruction(FAMILY["granite-speech-4.1-2b"], Task(language="de"))
    assert hinted == "transcribe the German speech with proper punctuation and capitalization."


def test_system_turns_carry_the_dates_of_training() -> None:
    system, user = chat_messages(FAMILY["granite-speech-3.3-2b"], Task())
    assert system.role == "system"
    assert "Today's Date: April 9, 2025." in system.content
    assert user.content.startswith("<|audio|>can you")
    plus_system, plus_user = chat_messages(FAMILY["granite-speech-4.1-2b-plus"], Task())
    assert "Today's Date: December 19, 2024." in plus_system.content
    assert plus_user.content.startswith("<|audio|> can you")


@pytest.mark.parametrize("model", ["granite-4.0-1b-speech", "granite-speech-4.1-2b", "granite-speech-tiny"])
def test_the_others_have_no_system_turn(model: str) -> None:
    assert [message.role for message in chat_messages(FAMILY[model], Task())] == ["user"]


FULL_PROMPTS = [
    (
        "granite-4.0-1b-speech",
        Task(keywords=("a", "b c")),
        f"{ASKED['granite-4.0-1b-speech']} Keywords: a, b c",
    ),
    ("granite-speech-4.1-2b", Task(keywords=("a", "b")), "transcribe the speech to text. Keywords: a, b"),
    ("granite-speech-3.3-2b", Task(translate_to="de"), "translate the speech to German"),
    ("granite-speech-3.3-8b", Task(translate_to="zh"), "translate the speech to Mandarin"),
    (
        "granite-speech-4.1-2b-plus",
        Task(language="de"),
        "can you transcribe the German speech into a written format?",
    ),
    (
        "granite-speech-4.1-2b-plus",
        Task(keywords=("a", "b c")),
        "can you transcribe the speech into a written format? Keywords: a, b c",
    ),
    (
        "granite-speech-4.1-2b-plus",
        Task(language="fr", keywords=("a",)),
        "can you transcribe the French speech into a written format? Keywords: a",
    ),
    (
        "granite-speech-4.1-2b-plus",
        Task(tags=Tags.SPEAKERS, keywords=("a", "b")),
        (
            "Speaker attribution: Transcribe and denote who is speaking by adding [Speaker 1]: and [Speaker 2]: tags"
            " before speaker turns. Keywords: a, b"
        ),
    ),
    (
        "granite-speech-4.1-2b-plus",
        Task(tags=Tags.WORD_TIMES, keywords=("a",)),
        (
            "Timestamps: Transcribe the speech. After each word, add a timestamp tag showing the end time in"
            " centiseconds, e.g. hello [T:45] world [T:82]. Keywords: a"
        ),
    ),
    ("granite-4.0-1b-speech", Task(translate_to="ja"), "translate the speech to Japanese."),
    (
        "granite-speech-4.1-2b",
        Task(translate_to="it"),
        "translate the speech to Italian with proper punctuation and capitalization.",
    ),
    (
        "granite-speech-4.1-2b",
        Task(translate_to="en", keywords=("a", "b")),
        "translate the speech to English. Keywords: a, b",
    ),
    (
        "granite-speech-4.1-2b-plus",
        Task(tags=Tags.SPEAKERS),
        (
            "Speaker attribution: Transcribe and denote who is speaking by adding [Speaker 1]: and [Speaker 2]: tags"
            " before speaker turns."
        ),
    ),
    (
        "granite-speech-4.1-2b-plus",
        Task(tags=Tags.WORD_TIMES),
        (
            "Timestamps: Transcribe the speech. After each word, add a timestamp tag showing the end time in"
            " centiseconds, e.g. hello [T:45] world [T:82]"
        ),
    ),
]


@pytest.mark.parametrize(("model", "task", "words"), FULL_PROMPTS)
def test_each_task_is_asked_for_in_the_words_of_the_card(model: str, task: Task, words: str) -> None:
    assert instruction(FAMILY[model], task) == words


@pytest.mark.parametrize(
    ("model", "task", "hint"),
    [
        ("granite-speech-3.3-2b", Task(keywords=("a",)), "takes no keywords"),
        ("granite-speech-3.3-2b", Task(translate_to="it"), "de, en, es, fr, ja, pt, zh"),
        ("granite-speech-4.1-2b-plus", Task(translate_to="en"), "nothing"),
        ("granite-speech-4.1-2b", Task(tags=Tags.SPEAKERS), "speakers"),
        ("granite-4.0-1b-speech", Task(tags=Tags.WORD_TIMES), "word times"),
    ],
)
def test_what_a_model_was_not_trained_for_is_refused(model: str, task: Task, hint: str) -> None:
    with pytest.raises(UnsupportedParameterError, match=hint):
        instruction(FAMILY[model], task)
