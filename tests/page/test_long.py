"""Two hours of speech in the page: 20,000 words that are scrolled, sought and changed without a task over 200 ms."""

from __future__ import annotations

import json
import math
import random
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Route

from tests.conftest import LiveServer
from tests.page.conftest import Opened, Workbench

HOURS = 2
SECONDS = HOURS * 3600
WORDS = 20_000
WORDS_OF_A_LINE = 8
LONGEST_TASK_MS = 200
TRIES = 4  # what the page does takes as long every time; what a busy machine does to it, not
VOCABULARY = (
    "when",
    "the",
    "long",
    "winter",
    "was",
    "over",
    "and",
    "snow",
    "had",
    "gone",
    "from",
    "hills",
    "people",
    "took",
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hours of noise that swells and fades, 8 kHz, 8 bits: 58 MB."""
    path = tmp_path_factory.mktemp("long") / "two-hours.wav"
    loudness = np.abs(np.sin(np.arange(SECONDS) / 7)) * 100
    noise = np.random.default_rng(0).standard_normal(8000) / 4
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        for second in loudness:
            file.writeframes((128 + noise * second).clip(0, 255).astype(np.uint8).tobytes())
    return path


def stream() -> str:
    """The server's answer to it."""
    chosen = random.Random(0)  # noqa: S311 - a fixed sequence, no secret
    step = SECONDS / WORDS
    words = [
        {
            "word": chosen.choice(VOCABULARY),
            "start": round(place * step, 3),
            "end": round((place + 0.9) * step, 3),
            "probability": chosen.choice((0.97, 0.99, 0.93, 0.3)),
        }
        for place in range(WORDS)
    ]
    lines = [words[at : at + WORDS_OF_A_LINE] for at in range(0, WORDS, WORDS_OF_A_LINE)]
    deltas = [
        {"type": "transcript.text.delta", "delta": " " + " ".join(w["word"] for w in line), "words": line}
        for line in lines
    ]
    done: dict[str, Any] = {"type": "transcript.text.done", "text": "", "languages": [{"code": "en"}]}
    return "".join(f"data: {json.dumps(event)}\n\n" for event in [*deltas, done]) + "data: [DONE]\n\n"


def answer(route: Route) -> None:
    route.fulfill(body=stream(), content_type="text/event-stream")


OBSERVE = """
    window.tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)))
        .observe({ type: "longtask" });
"""


class Watch:
    """The long tasks of a page, by what was done meanwhile."""

    def __init__(self, bench: Workbench) -> None:
        self._page = bench.page
        self.longest: dict[str, float] = {}
        self._page.add_init_script(OBSERVE)
        self._page.evaluate(OBSERVE)

    def over(self, what: str, act: Callable[[], None]) -> None:
        """The longest task of the quickest of some tries; the first that is quick enough is the last."""
        for _ in range(TRIES):
            self.longest[what] = min(self.longest.get(what, math.inf), self._longest_of(act))
            if self.longest[what] <= LONGEST_TASK_MS:
                break

    def _longest_of(self, act: Callable[[], None]) -> int:
        self._page.evaluate("tasks.length = 0")
        act()
        self._page.wait_for_timeout(300)
        return round(self._page.evaluate("Math.max(0, ...tasks)"))

    def heap_megabytes(self) -> int:
        session = self._page.context.new_cdp_session(self._page)
        session.send("HeapProfiler.collectGarbage")
        session.send("Performance.enable")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        return round(metrics["JSHeapUsedSize"] / 1e6)


def scroll(bench: Workbench) -> None:
    bench.page.mouse.move(800, 600)
    for _ in range(25):
        bench.page.mouse.wheel(0, 2500)
        bench.page.wait_for_timeout(20)
    for share in (1, 0.5, 0.9, 0):
        bench.page.evaluate(f"scrollTo(0, document.body.scrollHeight * {share})")
        bench.page.wait_for_timeout(60)


def seek(bench: Workbench) -> None:
    wave_ = bench.page.locator(".wave")
    for x in range(40, 800, 95):
        wave_.click(position={"x": x, "y": 20})
        bench.page.wait_for_timeout(40)
    for _ in range(5):
        bench.page.keyboard.press("u")


def correct(bench: Workbench) -> None:
    for _ in range(5):
        bench.page.keyboard.press("u")
        bench.page.keyboard.press("e")
        bench.page.keyboard.type("boulders")
        bench.page.keyboard.press("Enter")
        bench.page.wait_for_timeout(60)
    bench.page.keyboard.press("Shift+E")
    bench.page.keyboard.type(" and so on")
    bench.page.keyboard.press("Enter")
    bench.page.wait_for_timeout(60)
    bench.page.keyboard.press("Control+z")


def play(bench: Workbench) -> None:
    bench.page.keyboard.press(" ")
    bench.page.locator(".w.now").wait_for()
    bench.page.wait_for_timeout(1500)
    bench.page.keyboard.press(" ")


def open_again(bench: Workbench) -> None:
    bench.page.reload()
    bench.show("two-hours.wav")
    bench.page.locator(f"#line-{WORDS // WORDS_OF_A_LINE - 1}").wait_for(state="attached")


def download(bench: Workbench) -> None:
    saved = bench.saved("srt")
    assert "boulders" in saved
    assert saved.count("-->") >= WORDS // WORDS_OF_A_LINE


ACTS = {
    "scrolling": scroll,
    "seeking": seek,
    "editing": correct,
    "playing": play,
    "downloading": download,
    "opening again": open_again,
}


@pytest.mark.slow
def test_two_hours(
    live_server: LiveServer, opened: Opened, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = opened(live_server.url)
    bench.page.route("**/v1/audio/transcriptions", answer)
    watch = Watch(bench)
    bench.add(recording)
    bench.becomes("two-hours.wav", "done")
    bench.page.locator(f"#line-{WORDS // WORDS_OF_A_LINE - 1}").wait_for(state="attached")
    bench.page.locator(".wave").wait_for()
    for what, act in ACTS.items():
        watch.over(what, partial(act, bench))
    heap = watch.heap_megabytes()
    with capsys.disabled():
        print(f"\ntwo hours, {WORDS} words: heap {heap} MB, longest task in ms: {watch.longest}")  # noqa: T201 - the figures that docs/page.md states
    assert max(watch.longest.values()) <= LONGEST_TASK_MS
    assert heap < 200
