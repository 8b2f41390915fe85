"""Every model of the family behind the same door: what it can is done, what it cannot is refused with who can."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lithophone.granite.family import FAMILY
from tests.http.conftest import SHORT, Live, error_of, post_audio, serving

FIVE = {"en", "fr", "de", "es", "pt"}
SIX = {*FIVE, "ja"}

# As IBM's cards have it: languages heard, keywords taken, languages translated into, speakers told apart.
ROWS: dict[str, tuple[set[str], bool, set[str], bool]] = {
    "granite-speech-3.3-2b": (FIVE, False, {*SIX, "zh"}, False),
    "granite-speech-3.3-8b": (FIVE, False, {*SIX, "zh"}, False),
    "granite-4.0-1b-speech": (SIX, True, {*SIX, "it", "zh"}, False),
    "granite-speech-4.1-2b": (SIX, True, {*SIX, "it", "zh"}, False),
    "granite-speech-4.1-2b-plus": (FIVE, True, set(), True),
    "granite-speech-5.0-470m-turboctc": ({"en"}, False, set(), False),
}
LANGUAGES = (*sorted(SIX), "it", "zh", "xx")


@pytest.fixture(scope="module", params=ROWS)
def row(request: pytest.FixtureRequest) -> Iterator[tuple[str, Live]]:
    with serving(spec=FAMILY[request.param]) as live:
        live.script.hear = lambda _: "hello"
        yield request.param, live


def test_languages_are_heard_or_refused_with_those_that_are(row: tuple[str, Live]) -> None:
    model, live = row
    heard = ROWS[model][0]
    for code in LANGUAGES:
        response = live.transcribe(language=code)
        if code in heard:
            assert response.status_code == 200
        else:
            message = error_of(response, 400)["message"]
            assert all(f"{one} (" in message for one in heard)


def test_keywords_are_taken_or_the_warning_names_who_takes_them(row: tuple[str, Live]) -> None:
    model, live = row
    response = live.transcribe(keywords="gneiss")
    assert response.status_code == 200
    told = response.headers.get("x-lithophone-warning", "")
    assert ("keywords: not used" in told and "granite-speech-4.1-2b" in told) is not ROWS[model][1]


def test_languages_are_translated_into_or_refused(row: tuple[str, Live]) -> None:
    model, live = row
    targets = ROWS[model][2]
    for code in LANGUAGES:
        response = post_audio(live, "/v1/audio/translations", SHORT, to_language=code)
        if code in targets:
            assert response.json() == {"text": "hello"}
        else:
            able = targets or {"granite-speech-3.3-2b"}
            assert all(one in error_of(response, 400)["message"] for one in able)


def test_speakers_are_told_apart_or_refused_with_who_does(row: tuple[str, Live]) -> None:
    model, live = row
    response = live.transcribe(response_format="diarized_json")
    if ROWS[model][3]:
        assert response.json()["segments"][0]["speaker"] == "A"
    else:
        assert "granite-speech-4.1-2b-plus" in error_of(response, 400)["message"]
