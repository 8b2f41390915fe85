"""Who sees little, cannot use a mouse or wants no motion gets all of it: what axe finds, sizes, focus, motion."""

from __future__ import annotations

from typing import Any

import pytest

from lithophone.granite.family import FAMILY
from tests.http.conftest import THREE_WINDOWS, serving
from tests.page.conftest import PHONE, Opened, Workbench

TALK = (
    "[Speaker 1]: shall we begin [Speaker 2]: yes let us begin",
    "[Speaker 1]: the first point is <b>short</b>",
    "[Speaker 2]: and the second one is long",
)
SCHEMES = [{}, {"color_scheme": "dark"}, {"viewport": PHONE}]
names = ["light", "dark", "phone"]

TOO_SMALL = """() => [...document.querySelectorAll("button, select, a, input:not([hidden]):not([type=checkbox]), label.check")]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".unseen"))
    .map((element) => [element.outerHTML.slice(0, 90), element.getBoundingClientRect()])
    .filter(([, box]) => box.bottom > 0 && (box.width < 24 || box.height < 24))
    .map(([html, box]) => `${html} ${box.width}x${box.height}`)"""

HIDDEN_FOCUS = """() => {
    const element = document.activeElement;
    const box = element.getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return top && !element.contains(top) && !top.contains(element) ? element.outerHTML.slice(0, 120) : null;
}"""


def talk(opened: Opened, **options: Any) -> Workbench:
    """A conversation of two, transcribed."""
    with serving(spec=FAMILY["granite-speech-4.1-2b-plus"]) as live:
        lines = iter(TALK)
        live.script.hear = lambda _: next(lines, "")
        bench = opened(live.url, **options)
        bench.page.get_by_label("Tell speakers apart").check()
        bench.add({"name": "talk.wav", "mimeType": "audio/wav", "buffer": THREE_WINDOWS})
        bench.becomes("talk.wav", "done")
        bench.page.locator(".line").nth(3).wait_for()
    return bench


@pytest.mark.parametrize("options", SCHEMES, ids=names)
def test_axe_finds_nothing_serious_before_and_after(opened: Opened, options: dict[str, Any]) -> None:
    with serving() as live:
        bench = opened(live.url, **options)
        bench.page.get_by_test_id("model").wait_for()
        assert bench.violations() == []
        assert bench.page.evaluate(TOO_SMALL) == []
        bench.page.get_by_role("button", name="Shortcuts").click()
        assert bench.violations() == []
    done = talk(opened, **options)
    assert done.violations() == []
    assert done.page.evaluate(TOO_SMALL) == []
    done.page.locator("[data-w]").first.dblclick()
    assert done.violations() == []


def test_axe_finds_nothing_serious_where_something_went_wrong(opened: Opened) -> None:
    with serving() as live:
        bench = opened(live.url, microphone=False)
        bench.add({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no sound"})
        bench.becomes("notes.txt", "failed")
        bench.page.get_by_role("button", name="Record").click()
        bench.page.locator(".adding [role=alert]").wait_for()
        assert bench.violations() == []


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE}], ids=["desktop", "phone"])
def test_focus_is_seen_wherever_it_goes(opened: Opened, options: dict[str, Any]) -> None:
    page = talk(opened, **options).page
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    outlines: set[str] = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        assert page.evaluate(HIDDEN_FOCUS) is None
        outlines.add(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert outlines <= {"solid", "none"}
    page.locator("[data-w]").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_phone_is_not_scrolled_sideways(opened: Opened) -> None:
    bench = talk(opened, viewport=PHONE)
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    bench.page.get_by_role("button", name="All recordings").click()
    bench.item("talk.wav").wait_for()
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_who_wants_no_motion_gets_none(opened: Opened) -> None:
    page = talk(opened, reduced_motion="reduce").page
    moving = page.evaluate("document.getAnimations().length")
    assert moving == 0
    assert page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration") in {
        "0s",
        "",
    }


def test_speakers_are_coloured_and_renamed_wherever_they_speak(opened: Opened) -> None:
    bench = talk(opened)
    names = bench.page.locator("button.name")
    assert names.all_inner_texts() == ["Speaker A", "Speaker B", "Speaker A", "Speaker B"]
    colours = names.evaluate_all("all => all.map((one) => getComputedStyle(one).color)")
    assert colours[0] == colours[2] != colours[1] == colours[3]
    names.first.click()
    bench.page.get_by_label("Name of Speaker A").fill("Ada <i>")
    bench.page.keyboard.press("Enter")
    assert names.all_inner_texts() == ["Ada <i>", "Speaker B", "Ada <i>", "Speaker B"]
    assert bench.saved("txt").startswith("Ada <i>: shall we begin\n\nSpeaker B: yes let us begin\n\n")
    assert "<v Ada &lt;i&gt;>shall\n" in bench.saved("vtt")
    assert "Ada <i>: shall\n" in bench.saved("srt")
    assert '"speaker": "Ada <i>"' in bench.saved("json")


def test_a_page_at_double_size_still_fits(opened: Opened) -> None:
    """400 % of 1280 pixels is a page 320 pixels wide (WCAG 1.4.10)."""
    bench = talk(opened, viewport={"width": 320, "height": 640})
    assert bench.page.evaluate("document.documentElement.scrollWidth") <= 320
