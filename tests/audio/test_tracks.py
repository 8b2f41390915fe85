from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.report import Track
from lithophone.audio.tracks import by_preference, choice_made, require_track
from lithophone.errors import InvalidRequestError


def track(index: int, *dispositions: str, title: str = "", language: str = "") -> Track:
    return Track(
        index=index,
        kind="Audio",
        codec="aac",
        title=title,
        language=language,
        dispositions=frozenset(dispositions),
    )


@pytest.mark.parametrize(
    ("tracks", "order"),
    [
        ((track(1), track(2)), [1, 2]),
        ((track(1), track(2, "default")), [2, 1]),
        ((track(1, "default", "comment"), track(2)), [1, 2]),
        ((track(1, "default", "comment"), track(2, "default")), [2, 1]),
        ((track(1, "comment"), track(2), track(3)), [2, 3, 1]),
        ((track(1, "visual impaired"), track(2)), [2, 1]),
        ((track(1, title="Director's Commentary"), track(2, title="Stereo")), [2, 1]),
        ((track(1, title="Regiekommentar"), track(2)), [1, 2]),
        ((track(1, title="Kommentar"), track(2)), [2, 1]),
        ((track(1, title="Audio Description"), track(2)), [2, 1]),
        ((track(1, title="Documentary"), track(2)), [1, 2]),
    ],
)
def test_the_default_comes_first_then_what_is_no_commentary(
    tracks: Iterable[Track], order: list[int]
) -> None:
    assert [found.index for found in by_preference(list(tracks))] == order


@given(st.lists(st.builds(track, st.integers(0, 20), st.sampled_from(["default", "comment", "dub"]))))
def test_every_track_stays_and_no_flag_outranks_default(tracks: list[Track]) -> None:
    ordered = by_preference(tracks)
    assert sorted(map(repr, ordered)) == sorted(map(repr, tracks))
    flagged = ["default" in found.dispositions for found in ordered]
    assert flagged == sorted(flagged, reverse=True)


def test_a_choice_is_told_only_where_there_was_one() -> None:
    tracks = [track(1), track(3, language="ger")]
    assert choice_made(tracks[0], tracks[:1]) is None
    assert choice_made(tracks[1], tracks) == "audio_track: 2 of 2 (ger) was taken; the field chooses another."
    assert choice_made(tracks[0], tracks) == "audio_track: 1 of 2 was taken; the field chooses another."
    spoken = track(3, language="日本語")
    assert "(" not in (choice_made(spoken, [track(1), spoken]) or "")


def test_a_track_that_is_not_there_is_refused() -> None:
    require_track(None, 2)
    require_track(2, 2)
    require_track(3, 0)  # a file without sound is another error
    with pytest.raises(InvalidRequestError, match="no audio track 3; the file has 2") as caught:
        require_track(3, 2)
    assert caught.value.param == "audio_track"
