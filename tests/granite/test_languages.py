from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.granite.family import LANGUAGE_NAMES
from lithophone.granite.languages import language_code


@pytest.mark.parametrize(
    "hint",
    ["en", " EN ", "en-US", "en_us.UTF-8", "en-Latn-GB", "eng", "English", "ENGLISH (US)", "<|en|>"],
)
def test_english_in_every_spelling(hint: str) -> None:
    assert language_code(hint) == "en"


@pytest.mark.parametrize(
    ("hint", "code"),
    [
        ("deu", "de"),
        ("ger", "de"),
        ("Deutsch", "de"),
        ("fre", "fr"),
        ("Français", "fr"),
        ("Brazilian Portuguese", "pt"),
        ("pt-BR", "pt"),
        ("es-419", "es"),
        ("日本語", "ja"),
        ("cmn-Hans-CN", "zh"),
        ("Mandarin Chinese", "zh"),
    ],
)
def test_codes_tags_and_names(hint: str, code: str) -> None:
    assert language_code(hint) == code


@pytest.mark.parametrize("code", LANGUAGE_NAMES)
def test_every_language_of_the_family_is_known_by_code_and_name(code: str) -> None:
    assert language_code(code) == language_code(LANGUAGE_NAMES[code]) == code


@pytest.mark.parametrize(
    "hint", ["", " ", "auto", "AUTO", "auto-detect", "null", "None", "undefined", "und", "[]", "-"]
)
def test_no_choice_is_no_hint(hint: str) -> None:
    assert language_code(hint) == ""


@pytest.mark.parametrize(("hint", "word"), [("ca-ES", "ca"), ("fil-PH", "fil"), ("Russian", "russian")])
def test_a_language_of_nobody_here_stays_what_it_is(hint: str, word: str) -> None:
    assert language_code(hint) == word


@given(st.text())
def test_whatever_is_sent_is_a_word_or_nothing(hint: str) -> None:
    code = language_code(hint)
    assert code == code.casefold()
    assert not set(code) & set(" -_,")
