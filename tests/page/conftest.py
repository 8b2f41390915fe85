"""Debian's Chromium, and pages in it that fail a test by whatever they complain of."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SPEECH = ROOT / "examples" / "speech"
DEMO = SPEECH / "demo.flac"
DEMO_TEXT = (SPEECH / "demo.txt").read_text().strip()
AXE = ROOT / "server" / "page" / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP = ViewportSize(width=1280, height=860)
PHONE = ViewportSize(width=390, height=844)

Opened = Callable[..., "Workbench"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.page)


def chromium() -> str:
    """Where Chromium is; `make test-page` installs Debian's."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found is None:
        pytest.fail("There is no chromium: apt-get install chromium, or set CHROMIUM.")
    return found


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone hears: the demonstration, and a second of silence."""
    samples, rate = soundfile.read(DEMO)
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    soundfile.write(path, np.concatenate([samples, np.zeros(rate)]), rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def browser(microphone: Path) -> Iterator[Browser]:
    arguments = [
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        "--autoplay-policy=no-user-gesture-required",
        "--no-sandbox",
    ]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield launched
        launched.close()


class Workbench:
    """The page in a browser, in the words of somebody who uses it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        """Failed requests are part of some tests; whatever else is an error is none's."""
        if kind == "error" and "Failed to load resource" not in text:
            self.complaints.append(text)

    def open(self) -> Workbench:
        self.page.goto(self.url)
        self.page.get_by_role("button", name="Add files").wait_for()
        return self

    def add(self, *files: Path | dict[str, Any]) -> None:
        """Choose files."""
        self.page.locator("input[type=file]").first.set_input_files(list(files))  # pyright: ignore[reportArgumentType]

    def drop(self, path: Path) -> None:
        """Drop a file anywhere."""
        transfer = self.page.evaluate_handle(
            """([data, name]) => {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name));
                return transfer;
            }""",
            [base64.b64encode(path.read_bytes()).decode(), path.name],
        )
        for event in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event(".page", event, {"dataTransfer": transfer})

    def item(self, name: str) -> Any:
        """A recording in the list."""
        return self.page.locator(".item", has_text=name)

    def becomes(self, name: str, status: str, seconds: float = 60) -> None:
        """Wait until a recording has a status."""
        self.page.locator(f".item[data-status={status}]", has_text=name).wait_for(
            state="attached", timeout=seconds * 1000
        )

    def show(self, name: str) -> None:
        self.item(name).locator(".item-open").click()
        self.page.get_by_role("heading", name=name, level=1).wait_for()

    @property
    def text(self) -> str:
        """The transcript that is shown."""
        return " ".join(" ".join(self.page.locator(".said").all_inner_texts()).split())

    def word(self, text: str) -> Any:
        return self.page.locator(".w", has_text=text).first

    def saved(self, format_: str) -> str:
        """What a download in a format holds."""
        self.page.get_by_label("Format").select_option(format_)
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename.endswith(f".{format_}")
        return Path(download.value.path()).read_text(encoding="utf-8")

    def heard_at(self) -> float:
        """Where the player is, by its slider, in seconds."""
        return float(self.page.get_by_role("slider", name="Position").get_attribute("aria-valuenow") or "nan")

    def violations(self) -> list[str]:
        """What axe finds that is serious or worse."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate(
            """async () => (await axe.run(document, {
                runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
            })).violations"""
        )
        return [
            f"{violation['id']}: {json.dumps([node['html'] for node in violation['nodes']][:3])}"
            for violation in found
            if violation["impact"] in {"serious", "critical"}
        ]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """`opened(url)` is the page in a browser of its own; it must not have complained by the end."""
    contexts: list[BrowserContext] = []
    benches: list[Workbench] = []

    def open_one(url: str, *, microphone: bool = True, visit: bool = True, **options: Any) -> Workbench:
        shape: dict[str, Any] = {"viewport": DESKTOP, **options}
        context = browser.new_context(**shape)
        contexts.append(context)
        context.grant_permissions(
            ["clipboard-read", "clipboard-write", *(["microphone"] if microphone else [])]
        )
        context.set_default_timeout(20_000)
        bench = Workbench(context.new_page(), url)
        benches.append(bench)
        return bench.open() if visit else bench

    yield open_one
    complaints = [complaint for bench in benches for complaint in bench.complaints]
    for context in contexts:
        context.close()
    assert complaints == []
