"""What a verification makes of what it was told."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from rich.console import Console

from lithophone.bench.report import BenchReport, MachineFacts, ModelFacts, Row, Way
from lithophone.granite.family import FAMILY
from lithophone.verify.known import JFK, expected_of, sample_of, seed_of
from lithophone.verify.page import render
from lithophone.verify.report import (
    Answer,
    Check,
    Heard,
    HeardWord,
    Served,
    VerifyReport,
    are_in_order,
    arithmetic_checks,
    marked,
    report_json,
    voiced_share,
)

MACHINE = MachineFacts(
    cpu="a CPU",
    usable_cores=8,
    threads=8,
    gpus=(),
    memory_bytes=32_000_000_000,
    torch="2.13.0",
    transformers="5.23.0",
    lithophone="0.1.0",
    python="3.12",
    system="Linux",
)


def row(way: Way, same: int, errors: float | None = 0.0) -> Row:
    return Row(
        batch=1,
        way=way,
        draft_accuracy=None,
        clips=2,
        audio_seconds=10.0,
        seconds=(1.0,),
        median_seconds=1.0,
        spread=0.0,
        realtime_factor=0.1,
        tokens=40,
        tokens_per_second=40.0,
        versus_generate=None,
        versus_serial=None,
        passes=40,
        passes_per_100_tokens=100.0,
        drafted=0,
        accepted=0,
        encoder_padding=0.0,
        text_padding=0.0,
        same_tokens=same,
        word_error_rate=errors,
    )


def measured(dtype: str, *rows: Row) -> BenchReport:
    return BenchReport(
        command="lithophone bench",
        machine=MACHINE,
        model=ModelFacts(
            model="m",
            weights="checkpoint",
            device="cpu",
            dtype=dtype,
            parameters=1,
            weight_bytes=2,
            peak_resident_bytes=5_000_000_000,
            peak_device_bytes=None,
        ),
        audio="",
        repeats=1,
        rows=rows,
        roofline=None,
        notes=(),
    )


def passed(checks: Sequence[Check]) -> dict[str, bool | None]:
    return {check.name: check.passed for check in checks}


def test_every_token_counts_in_float32_and_is_told_in_half_precision() -> None:
    whole = row(Way.GENERATE, 2), row(Way.PLAIN, 2), row(Way.DRAFTED, 2)
    torn = row(Way.GENERATE, 2), row(Way.PLAIN, 2), row(Way.DRAFTED, 1)
    name = "{}: the tokens of transformers' generate"
    assert passed(arithmetic_checks([measured("float32", *whole)])) == {name.format("float32"): True}
    assert passed(arithmetic_checks([measured("float32", *torn)])) == {name.format("float32"): False}
    assert passed(arithmetic_checks([measured("float16", *torn)])) == {name.format("float16"): None}


@pytest.mark.parametrize(("errors", "near"), [(0.05, True), (0.4, False)])
def test_dtypes_have_to_hear_the_same(errors: float, near: bool) -> None:
    reports = [
        measured("float32", row(Way.DRAFTED, 2, 0.02)),
        measured("float16", row(Way.DRAFTED, 2, errors)),
    ]
    assert passed(arithmetic_checks(reports))["float16 hears what float32 hears"] is near


@pytest.mark.parametrize(
    ("words", "in_order"),
    [
        ([(0.0, 0.4), (0.4, 1.0)], True),
        ([(0.4, 1.0), (0.0, 0.4)], False),
        ([(0.4, 0.2)], False),
        ([(0.4, 2.2)], False),
        ([], True),
    ],
)
def test_words_follow_each_other_inside_the_recording(
    words: list[tuple[float, float]], in_order: bool
) -> None:
    heard = tuple(HeardWord(word="a", start=start, end=end) for start, end in words)
    assert are_in_order(Answer(text="", language="en", duration=2.0, words=heard)) is in_order


@pytest.mark.parametrize(
    ("words", "share"),
    [([(0.5, 0.9), (1.0, 1.4)], 1.0), ([(0.5, 0.9), (3.0, 3.4)], 0.5), ([(0.0, 0.1)], 0.0), ([], 1.0)],
)
def test_words_are_where_somebody_speaks(words: list[tuple[float, float]], share: float) -> None:
    voice = [0.9 if 5 <= number <= 14 else 0.1 for number in range(40)]  # from 0.5 s to 1.4 s
    heard = tuple(HeardWord(word="a", start=start, end=end) for start, end in words)
    answer = Answer(text="", language="en", duration=4.0, words=heard)
    assert voiced_share(answer, voice, 0.1) == share


def test_differences_are_marked() -> None:
    assert marked("ask not what your country", "Ask not what, your country!") == "Ask not what, your country!"
    assert marked("ask not what", "ask knot what now") == "ask [-not-] {+knot+} what {+now+}"
    assert marked("ask not", "") == "[-ask not-]"


def test_recordings_are_known_by_their_names() -> None:
    known = expected_of("jfk")
    assert known is not None
    assert known.text == JFK
    assert expected_of("me") is None
    assert sample_of(FAMILY["granite-speech-3.3-8b"]) == "10226_10111_000000.wav"
    assert sample_of(FAMILY["granite-speech-tiny"]) is None


def test_the_seeds_figures_are_of_size_and_device() -> None:
    seed = seed_of(FAMILY["granite-speech-3.3-8b"], "rocm")
    assert seed is not None
    assert (seed.realtime_factor, seed.memory_gb) == ("0.4-0.8", 18)
    assert seed_of(FAMILY["granite-speech-3.3-2b"], "cuda") is None
    assert seed_of(FAMILY["granite-speech-tiny"], "cpu") is None


def report(*checks: Check) -> VerifyReport:
    heard = Heard(
        recording="jfk.wav",
        expected=JFK,
        heard=JFK.replace("country", "contry", 1),
        language="english",
        audio_seconds=11.0,
        seconds=2.2,
        word_error_rate=0.045,
        most_errors=0.05,
        words_in_order=True,
    )
    served = Served(
        device="cpu",
        dtype="bfloat16",
        revision="4ac2f02f",
        load_seconds=12.0,
        warm_up_seconds=2.0,
        memory_bytes=6_000_000_000,
    )
    return VerifyReport(
        command="lithophone verify --model granite-speech-3.3-2b",
        model="granite-speech-3.3-2b",
        license="Apache-2.0",
        folder="/cache",
        estimated_bytes=6_800_000_000,
        served=served,
        heard=(heard,),
        arithmetic=(measured("float32", row(Way.DRAFTED, 2)),),
        checks=checks,
    )


def page(told: VerifyReport) -> str:
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(render(told, FAMILY["granite-speech-3.3-2b"]))
    return captured.get()


def test_the_page_says_all_of_it_and_the_verdict_last() -> None:
    good, bad = Check(name="unload", passed=True, detail="cold"), Check(name="x", passed=False, detail="no")
    shown = page(report(good))
    for words in (
        "4ac2f02f",
        "your [-country-] {+contry+} can",
        "0.20",
        "6.8 GB",
        "0.8-1.2",
        "8 GB",
        "8 threads",
    ):
        assert words in shown
    assert shown.rstrip().endswith("granite-speech-3.3-2b: ok")
    assert page(report(good, bad)).rstrip().endswith("granite-speech-3.3-2b: FAILED, 1 of 2 checks")
    assert json.loads(report_json(report(good, bad)))["passed"] is False
