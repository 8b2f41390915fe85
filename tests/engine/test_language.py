import pytest

from lithophone.engine import language
from lithophone.engine.language import detect_language, prepare_detection
from lithophone.granite.family import FAMILY

SIX = FAMILY["granite-speech-4.1-2b"].speech_languages
SAID = {
    "en": "could you tell me when the next train to the city leaves",
    "fr": "pouvez-vous me dire quand part le prochain train pour la ville",
    "de": "können sie mir sagen wann der nächste zug in die stadt fährt",
    "es": "puede decirme cuándo sale el próximo tren para la ciudad",
    "pt": "você pode me dizer quando sai o próximo trem para a cidade",
    "ja": "次の電車は何時に出発しますか",
}


@pytest.mark.parametrize(("code", "text"), SAID.items())
def test_a_sentence_is_told_by_its_words(code: str, text: str) -> None:
    assert detect_language(text, SIX) == code


def test_only_languages_of_the_model_are_told() -> None:
    assert detect_language("это русский текст", SIX) in SIX


def test_a_model_of_one_language_needs_no_words() -> None:
    assert detect_language("", ("en",)) == "en"


def test_nothing_is_told_from_nothing() -> None:
    assert detect_language("  ", SIX) is None


def test_of_candidates_the_best_is_told_and_nothing_else() -> None:
    assert detect_language(SAID["fr"], SIX, ("de", "fr")) == "fr"
    assert detect_language(SAID["fr"], SIX, ("de", "ja")) in {"de", "ja"}
    assert detect_language("", SIX, ("de", "ja")) is None
    assert detect_language("", SIX, ("de",)) == "de"


def test_once_prepared_nothing_is_loaded_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_detection(SIX)
    monkeypatch.setattr(language, "_Identifier", None)
    assert detect_language(SAID["fr"], SIX) == "fr"
