from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.errors import ConfigurationError
from lithophone.transcribe.recordings import Recording
from lithophone.transcribe.share import Share, parse_share
from lithophone.transcribe.sources import FileSource


@given(places=st.sets(st.text(min_size=1), max_size=60), runs=st.integers(1, 9))
def test_every_recording_falls_to_one_run(places: set[str], runs: int) -> None:
    recordings = [Recording(source=FileSource(Path(place)), place=place) for place in sorted(places)]
    taken = [one.place for number in range(runs) for one in Share(number + 1, runs).of(recordings)]
    assert sorted(taken) == sorted(places)


def test_shares_are_about_equal() -> None:
    recordings = [Recording(source=FileSource(Path("a")), place=f"talk-{number}") for number in range(2000)]
    assert all(200 < len(Share(number, 8).of(recordings)) < 300 for number in range(1, 9))


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--share"):
        parse_share(text)


def test_a_share_is_read() -> None:
    assert parse_share("2/8") == Share(2, 8)
