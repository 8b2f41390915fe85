"""The pictures of the page in the README and the docs: `--update-golden` makes them anew."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LiveServer
from tests.page.conftest import DESKTOP, PHONE, ROOT, SPEECH, Opened, Workbench

IMAGES = ROOT / "docs" / "images"
LARGEST_BYTES = 200_000
SHOWN = "festival-long-20.ogg"
OTHERS = ("demo.flac", "espeak-long-14.ogg", "flite-long-16.ogg")

PICTURES: dict[str, dict[str, Any]] = {
    "page-light.png": {},
    "page-dark.png": {"color_scheme": "dark"},
    "page-phone.png": {"viewport": PHONE, "device_scale_factor": 1.5},
}


def at_work(bench: Workbench) -> None:
    """A few recordings, one of them open, a word changed and another one heard."""
    for name in (*OTHERS, SHOWN):
        bench.add(SPEECH / name)
        bench.becomes(name, "done")
        if bench.page.viewport_size == PHONE and name != SHOWN:
            bench.page.get_by_role("button", name="All recordings").click()
    bench.page.get_by_role("heading", name=SHOWN).wait_for()
    bench.page.locator(".wave").wait_for()
    word = bench.page.locator(".line").nth(2).locator(".w").nth(2)
    word.click()
    bench.page.locator(".w.now").wait_for()
    bench.page.evaluate("document.activeElement.blur()")
    bench.page.mouse.move(5, 5)
    bench.page.wait_for_timeout(1200)  # the waveform is drawn, and nothing moves any more


def size_of(png: Path) -> tuple[int, int]:
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    return width, height


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_page(
    live_server: LiveServer, opened: Opened, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = opened(live_server.url, **PICTURES[name])
    at_work(bench)
    made = tmp_path / name
    bench.page.screenshot(path=made, animations="disabled", caret="hide")
    if request.config.getoption("--update-golden"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        (IMAGES / name).write_bytes(made.read_bytes())
    kept = IMAGES / name
    assert kept.exists(), "pytest -m page tests/page/test_pictures.py --update-golden makes it"
    assert size_of(kept) == size_of(made)
    assert kept.stat().st_size < LARGEST_BYTES
    viewport = PICTURES[name].get("viewport", DESKTOP)
    assert size_of(kept)[0] == round(viewport["width"] * PICTURES[name].get("device_scale_factor", 1))
