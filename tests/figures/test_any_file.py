"""A smoke of the two figures over files: a verdict for each of a format's files, and a dozen damaged ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lithophone.audio.waveform import SAMPLE_RATE
from tests.figures.any_file import Decoded, Result, is_filled, is_right, is_whole, judged, results, table
from tests.figures.files import DAMAGES, SECONDS, Format, Writer, damaged, laid_out
from tests.figures.fuzz_files import mutated, seeds, tally_of
from tests.recordings import silence


def test_every_kind_of_file_of_a_format_is_judged(tmp_path: Path) -> None:
    found = list(results(Writer(tmp_path), Format("matroska", "flac")))
    verdicts = {result.kind: result.verdict for result in found}
    assert set(verdicts) == {"whole", *DAMAGES, "offset", "gap", "antiphase", "left", "centre"}
    assert "LOST" not in verdicts.values()
    assert verdicts["whole"] == verdicts["offset"] == verdicts["antiphase"] == "right"
    assert verdicts["gap"] == verdicts["noise"] == "told"
    assert f"| {'whole':16} |       1 |" in table(found)


def test_a_format_that_is_not_read_is_refused(tmp_path: Path) -> None:
    (whole,) = results(Writer(tmp_path), Format("voc", "pcm_s16le"))
    assert whole.verdict == "refused"


def test_what_is_missing_in_silence_is_lost() -> None:
    sound = laid_out("gap")
    early, late = sound[: -2 * SAMPLE_RATE], laid_out("plain")
    assert is_right(Decoded(sound), sound)
    assert not is_right(Decoded(early), sound)
    assert not is_right(Decoded(late), sound)
    assert not is_right(Decoded(silence(len(sound) / SAMPLE_RATE)), sound)
    assert is_whole(Decoded(late), SECONDS)
    assert not is_whole(Decoded(late), SECONDS + 1)
    holed = late.copy()
    holed[4 * SAMPLE_RATE : 5 * SAMPLE_RATE] = 0
    assert is_filled(Decoded(holed), late)
    assert not is_filled(Decoded(late), late)
    moved = late[SAMPLE_RATE // 2 :]
    assert not is_filled(Decoded(moved), late)
    assert is_filled(Decoded(holed[SAMPLE_RATE // 2 :]), late)
    assert judged("gap", "x", Decoded(early), right=False) == Result("gap", "x", "LOST", "20.00 s")
    assert judged("gap", "x", Decoded(early, ("file: cut.",)), right=False).verdict == "told"
    assert judged("gap", "x", Decoded(early, refusal="No."), right=False).verdict == "refused"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_changes_a_file_in_the_same_way_every_time(damage: str) -> None:
    content = bytes(range(256)) * 40
    assert damaged(content, damage) == damaged(content, damage) != content


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - test data, no secret


def test_some_damaged_files_are_answered_and_leave_nothing() -> None:
    content = bytes(range(256)) * 40
    assert mutated(chance(7), content) == mutated(chance(7), content) != mutated(chance(8), content)
    few = dict(list(seeds().items())[::16])
    tally, left = tally_of(few, 2 * len(few), seed=3)
    assert tally.wrong == []
    assert sum(counts.total() for counts in tally.answers.values()) == 2 * len(few)
    assert not left
