from __future__ import annotations

import io
import json
import re

import msgspec
import numpy as np
from rich.console import Console

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.bench.clips import BenchClip
from lithophone.bench.page import PAGE_WIDTH, render
from lithophone.bench.report import (
    BenchReport,
    Entrant,
    MachineFacts,
    ModelFacts,
    Outcome,
    Roofline,
    Stage,
    Way,
    report_json,
    summarise,
)


def outcome(seconds: float, *tokens: tuple[int, ...], passes: int = 0, drafted: int = 0) -> Outcome:
    emitted = sum(len(one) for one in tokens)
    return Outcome(
        seconds=seconds,
        tokens=tokens,
        emitted=emitted,
        texts=tuple("one two" for _ in tokens),
        passes=passes or emitted,
        sequence_passes=passes or emitted,
        drafted=drafted,
        accepted=drafted // 2,
        frames=75,
        padded_frames=25,
        positions=90,
        padded_positions=10,
    )


def measured(batch: int, way: Way, *outcomes: Outcome, accuracy: float | None = None) -> Entrant:
    clips = [
        BenchClip(f"clip {number}", np.zeros(10 * SAMPLE_RATE, np.float32), "one three")
        for number in range(batch)
    ]
    return Entrant(batch, way, clips, lambda *_: outcomes[0], accuracy, list(outcomes))


FOUND = [
    measured(1, Way.GENERATE, outcome(5.0, (1, 2)), outcome(4.0, (1, 2)), outcome(9.0, (1, 2))),
    measured(1, Way.SIMULATED, outcome(1.0, (1, 2), passes=1, drafted=4), accuracy=0.95),
    measured(2, Way.GENERATE, outcome(8.0, (1, 3), (5,))),
    measured(2, Way.PLAIN, outcome(2.0, (1, 2), (5,))),
]


def report() -> BenchReport:
    return BenchReport(
        command="lithophone bench --model granite-speech-3.3-2b",
        machine=MachineFacts(
            cpu="A processor with a rather long name, as they tend to have @ 2.45GHz",
            usable_cores=64,
            threads=64,
            gpus=(),
            memory_bytes=64_000_000_000,
            torch="2.13.0+cpu",
            transformers="5.23.0",
            lithophone="0.1.0",
            python="3.11.7",
            system="Linux",
        ),
        model=ModelFacts(
            model="granite-speech-4.1-2b-plus",
            weights="random",
            device="cpu",
            dtype="bfloat16",
            parameters=3_000_000_000,
            weight_bytes=6_000_000_000,
            peak_resident_bytes=7_000_000_000,
            peak_device_bytes=None,
        ),
        audio="synthetic",
        repeats=3,
        rows=summarise(FOUND),
        roofline=Roofline(
            gemm_gflops=150.0,
            gemm_shape=(1500, 1024, 4096),
            bandwidth_gb_per_second=17.0,
            stages=(
                Stage(
                    name="encoder",
                    seconds=8.0,
                    tera_operations=1.3,
                    gigabytes=0.0,
                    limit="compute",
                    share=0.9,
                ),
            ),
        ),
        notes=("Drafts are SIMULATED.",),
    )


def test_a_row_is_the_median_of_its_turns_and_says_how_far_they_lie_apart() -> None:
    row = summarise(FOUND)[0]
    assert (row.median_seconds, row.spread) == (5.0, 1.0)
    assert row.realtime_factor == 0.5
    assert row.tokens_per_second == 0.4


def test_ratios_are_to_generate_of_the_same_batch_and_to_generate_alone() -> None:
    _, drafted, together, plain = summarise(FOUND)
    assert (drafted.versus_generate, drafted.versus_serial) == (5.0, 5.0)
    assert (together.versus_generate, together.versus_serial) == (1.0, 1.25)
    assert (plain.versus_generate, plain.versus_serial) == (4.0, 5.0)


def test_without_generate_there_is_no_ratio() -> None:
    row = summarise(FOUND[3:])[0]
    assert (row.versus_generate, row.versus_serial, row.same_tokens) == (None, None, 2)


def test_passes_and_padding_are_counted_not_timed() -> None:
    row = summarise(FOUND)[1]
    assert row.passes_per_100_tokens == 50
    assert (row.drafted, row.accepted) == (4, 2)
    assert (row.encoder_padding, row.text_padding) == (0.25, 0.1)


def test_same_means_what_generate_said_in_the_smallest_batch() -> None:
    """The batch of two made `generate` say something else about the first clip."""
    assert [row.same_tokens for row in summarise(FOUND)] == [1, 1, 1, 2]


def test_the_page_fits_and_names_what_is_random_and_simulated() -> None:
    page = io.StringIO()
    Console(file=page, width=PAGE_WIDTH).print(render(report()))
    lines = page.getvalue().splitlines()
    assert max(len(line) for line in lines) <= PAGE_WIDTH
    assert not any("…" in line for line in lines)
    text = page.getvalue()
    for expected in ("random", "simulated 95 %", "SIMULATED", "7.0 GB", "90 % of compute", "WER"):
        assert expected in text
    assert re.search(r"(?m)^ *2 ours, no drafts +2 ", text)


def test_a_column_that_says_nothing_is_left_out() -> None:
    page = io.StringIO()
    untold = msgspec.structs.replace(
        report(),
        rows=tuple(
            msgspec.structs.replace(row, word_error_rate=None, versus_serial=None) for row in report().rows
        ),
    )
    Console(file=page, width=PAGE_WIDTH).print(render(untold))
    head = next(line for line in page.getvalue().splitlines() if "batch" in line and "way" in line)
    assert "WER" not in head
    assert "x ser" not in head
    assert "x gen" in head


def test_the_json_is_one_document_with_everything() -> None:
    document = json.loads(report_json(report()))
    assert document["rows"][1]["way"] == Way.SIMULATED.value
    assert document["rows"][1]["draft_accuracy"] == 0.95
    assert document["machine"]["threads"] == 64
    assert msgspec.json.decode(report_json(report()), type=BenchReport) == report()
