import pytest

from lithophone.granite.family import FAMILY
from lithophone.granite.prompts import Task, chat_messages, instruction

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
