"""What somebody does with the page, from a recording to a file, against the real server and the embedded model."""

from __future__ import annotations

import json
import re

import pysubs2
import pytest

from tests.conftest import LiveServer
from tests.page.conftest import DEMO, DEMO_TEXT, SPEECH, Opened, Workbench


@pytest.fixture
def bench(live_server: LiveServer, opened: Opened) -> Workbench:
    return opened(live_server.url)


@pytest.fixture
def transcribed(bench: Workbench) -> Workbench:
    bench.drop(DEMO)
    bench.becomes("demo.flac", "done")
    return bench


def edit(bench: Workbench, word: str, text: str) -> None:
    bench.word(word).dblclick()
    bench.page.get_by_role("textbox", name=f"Change {word}").fill(text)
    bench.page.keyboard.press("Enter")


def test_from_drop_to_corrected_downloads(transcribed: Workbench) -> None:
    assert transcribed.text == DEMO_TEXT
    edit(transcribed, "cheap", "sheep <img src=x onerror=alert(1)>")
    corrected = DEMO_TEXT.replace("cheap", "sheep <img src=x onerror=alert(1)>")
    assert transcribed.text == corrected
    assert transcribed.saved("txt") == f"{corrected}\n"
    for format_ in ("srt", "vtt"):
        cues = pysubs2.SSAFile.from_string(transcribed.saved(format_), format_=format_)
        assert "sheep" in " ".join(cue.text for cue in cues)
        assert "cheap" not in " ".join(cue.text for cue in cues)
    document = json.loads(transcribed.saved("json"))
    assert document["text"] == corrected
    words = {word["word"]: word for word in document["words"]}
    assert words["the"]["end"] <= words["sheep"]["start"] < words["<img"]["start"] < words["chair"]["start"]
    assert "probability" in words["the"]
    assert "probability" not in words["sheep"]


def test_copy_undo_and_redo(transcribed: Workbench) -> None:
    edit(transcribed, "chair", "throne")
    transcribed.page.get_by_role("button", name="Copy text").click()
    clipboard = transcribed.page.evaluate("navigator.clipboard.readText()")
    assert clipboard == DEMO_TEXT.replace("chair", "throne")
    transcribed.page.get_by_role("button", name="Undo").click()
    assert transcribed.text == DEMO_TEXT
    transcribed.page.keyboard.press("Control+Shift+Z")
    assert transcribed.text == clipboard


def test_a_line_is_rewritten_and_a_word_taken_out(transcribed: Workbench) -> None:
    transcribed.page.locator(".line").first.hover()
    transcribed.page.get_by_role("button", name="Change the line").first.click()
    transcribed.page.get_by_role("textbox", name="Change the line at 0:00").fill("nancy wants  nothing")
    transcribed.page.keyboard.press("Enter")
    assert transcribed.text == "nancy wants nothing"
    edit(transcribed, "wants", "")
    assert transcribed.text == "nancy nothing"


def test_a_click_on_a_word_seeks_and_it_lights_up(transcribed: Workbench) -> None:
    transcribed.word("dollars").click()
    transcribed.page.locator(".w.now", has_text="dollars").wait_for()
    assert transcribed.heard_at() == 4
    transcribed.page.locator(".wave").click(position={"x": 5, "y": 20})
    transcribed.page.locator(".w.now", has_text="dollars").wait_for(state="hidden")
    transcribed.page.get_by_role("button", name="Play", exact=True).click()
    transcribed.page.locator(".w.now", has_text="wants").wait_for()
    transcribed.page.get_by_role("button", name="Pause").click()


def test_unsure_words_are_shaded_and_the_next_is_a_key_away(transcribed: Workbench) -> None:
    assert transcribed.page.locator(".unsure").all_inner_texts() == ["cheap"]
    transcribed.page.keyboard.press("u")
    assert transcribed.page.evaluate("document.activeElement.textContent") == "cheap"
    transcribed.page.get_by_label("Mark unsure words").uncheck()
    assert transcribed.page.locator(".marks").count() == 0


def test_work_survives_a_reload(transcribed: Workbench) -> None:
    edit(transcribed, "chair", "throne")
    transcribed.page.reload()
    transcribed.show("demo.flac")
    assert transcribed.text == DEMO_TEXT.replace("chair", "throne")
    transcribed.word("dollars").click()
    transcribed.page.locator(".w.now", has_text="dollars").wait_for()


def test_everything_by_keyboard_alone(transcribed: Workbench) -> None:
    page = transcribed.page
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.w')"):
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") == "to"
    page.keyboard.press("Enter")
    page.locator(".w.now", has_text=re.compile("to|sell")).wait_for()
    page.keyboard.press(" ")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    page.keyboard.press("F2")
    page.keyboard.type("not to")
    page.keyboard.press("Tab")  # on to the next word
    page.keyboard.type("buy")
    page.keyboard.press("Enter")
    assert transcribed.text.startswith("nancy wants not to buy the cheap")
    page.keyboard.press("r")
    page.locator(".loop-mark").wait_for()
    page.keyboard.press("r")
    page.locator(".loop-mark").wait_for(state="hidden")
    page.keyboard.press(" ")
    page.keyboard.press("]")
    assert page.get_by_label("Speed").input_value() == "1.25"
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_label("Single keys do something").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("]")
    assert page.get_by_label("Speed").input_value() == "1.25"


def test_rewind_and_loop_by_keys(transcribed: Workbench) -> None:
    page = transcribed.page
    transcribed.word("dollars").click()
    page.locator(".w.now", has_text="dollars").wait_for()
    page.keyboard.press("o")
    page.locator(".loop-mark").wait_for()
    page.keyboard.press("j")
    page.locator(".w.now", has_text="dollars").wait_for(state="hidden")
    assert transcribed.heard_at() == 0
    page.keyboard.press("l")
    page.wait_for_function("document.querySelector('[role=slider]').ariaValueNow === '5'")
    transcribed.word("wants").click()
    page.keyboard.press("i")
    ((start, whole),) = page.locator(".loop-mark").evaluate_all(
        "all => all.map((one) => [one.offsetLeft, one.parentElement.clientWidth])"
    )
    assert 0 < start < whole / 2
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator(".w.now", has_text="fifty").wait_for()
    page.locator(".w.now", has_text="wants").wait_for()  # from the end of the loop to its beginning
    page.get_by_role("button", name="Pause").click()


def test_a_queue_of_files_is_done_one_after_the_other(bench: Workbench) -> None:
    names = ["espeak-long-14.ogg", "espeak-short-00.ogg", "espeak-short-01.ogg"]
    bench.add(*(SPEECH / name for name in names))
    bench.item("espeak-short-01.ogg").get_by_role("button", name="Cancel").click()
    bench.becomes("espeak-short-01.ogg", "cancelled")
    bench.becomes("espeak-short-00.ogg", "done")
    assert bench.item("espeak-long-14.ogg").get_attribute("data-status") == "done"
    bench.page.on("dialog", lambda dialog: dialog.accept())
    bench.item("espeak-short-01.ogg").get_by_role("button", name="Delete").click()
    bench.item("espeak-short-01.ogg").wait_for(state="detached")


def test_what_is_recorded_is_transcribed(bench: Workbench) -> None:
    bench.page.get_by_role("button", name="Record").click()
    bench.page.get_by_text("Recording 0:05").wait_for()
    bench.page.get_by_role("button", name="Stop").click()
    bench.becomes("Recording ", "done")
    assert "wants to sell" in bench.text
    bench.page.locator(".wave").wait_for()


def test_the_demonstration_model_says_what_it_is_and_where_the_real_one_is(bench: Workbench) -> None:
    model = bench.page.get_by_test_id("model")
    assert "demonstration model: it knows about 650 English words" in model.inner_text()
    model.get_by_role("button", name="Copy the command").click()
    copied = bench.page.evaluate("navigator.clipboard.readText()")
    assert copied == 'make run ARGS="--model granite-speech-3.3-2b"'
