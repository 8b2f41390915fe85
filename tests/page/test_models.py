"""What a page makes of the models that a server has, and of a second page beside it."""

from __future__ import annotations

import json

from msgspec.structs import replace

from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from tests.http.conftest import SHORT, serving
from tests.page.conftest import Opened

BRIEF = {"name": "brief.wav", "mimeType": "audio/wav", "buffer": SHORT}
REAL = FAMILY["granite-speech-3.3-2b"]


def real_model() -> SupervisedHost:
    """A published model by its name, as far as the page can tell."""
    opener = in_thread(lambda: FakeBackend(lambda _: "guten Tag", spec=REAL), PlainRuntime())
    return SupervisedHost(REAL.id, REAL, opener, memory_bytes=7_000_000_000)


def test_the_demonstration_is_left_for_a_real_model_that_is_loaded_by_a_button(opened: Opened) -> None:
    with serving(spec=FAMILY[DEMONSTRATION_ID], others=[real_model()]) as live:
        bench = opened(live.url)
        model = bench.page.get_by_test_id("model")
        model.get_by_role("button", name=f"Use {REAL.id}").click()
        shown = model.inner_text()
        assert "Not loaded" in shown
        assert "3 billion parameters · 7.0 GB of memory" in shown
        assert "demonstration" not in shown
        model.get_by_role("button", name="Load").click()
        model.get_by_text("Ready").wait_for()
        bench.page.reload()
        assert bench.page.get_by_role("combobox", name="Model").input_value() == REAL.id


def test_a_translation_is_one_in_every_way(opened: Opened) -> None:
    with serving(spec=REAL) as live:
        live.script.hear = lambda request: f"written in {request.task.translate_to}"
        bench = opened(live.url)
        bench.page.get_by_label("Task").select_option(label="Translate into German")
        assert bench.page.get_by_label("Language spoken").is_disabled()
        bench.add(BRIEF)
        bench.becomes("brief.wav", "done")
        assert bench.text == "written in de"
        assert (
            bench.page.locator(".unsure").count() == 0
        )  # its words' times are shared out, and no doubt is meant
        document = json.loads(bench.saved("json"))
        assert (document["task"], document["language"]) == ("translate", "german")


def test_a_language_that_is_named_is_sent(opened: Opened) -> None:
    with serving(spec=REAL) as live:
        bench = opened(live.url)
        bench.page.get_by_label("Language spoken").select_option(label="French")
        bench.add(BRIEF)
        bench.becomes("brief.wav", "done")
        assert json.loads(bench.saved("json"))["language"] == "french"


def test_two_pages_share_one_queue(opened: Opened) -> None:
    with serving() as live:
        live.script.hear = lambda _: "heard once"
        first = opened(live.url)
        second = type(first)(first.page.context.new_page(), live.url).open()
        second.add(BRIEF)
        second.becomes("brief.wav", "done")
        first.page.bring_to_front()
        first.show("brief.wav")
        assert first.text == "heard once"
        second.word("once").dblclick()
        second.page.get_by_role("textbox", name="Change once").fill("twice")
        second.page.keyboard.press("Enter")
        first.page.get_by_text("twice").wait_for()
        assert second.complaints == []


def test_what_another_page_heard_is_shown_while_something_else_is_still_to_be_written_down(
    opened: Opened,
) -> None:
    with serving() as live:
        live.script.hear = lambda _: "heard once"
        first = opened(live.url)
        second = type(first)(first.page.context.new_page(), live.url).open()
        second.page.evaluate("window.setTimeout = () => 0")  # it writes down later what it learns of the file
        second.add(BRIEF)
        second.becomes("brief.wav", "done")
        second.page.get_by_text("heard once").wait_for()


def test_what_a_demonstration_is_is_said_once_and_what_it_did_not_understand_beside_the_text(
    opened: Opened,
) -> None:
    spec = FAMILY[DEMONSTRATION_ID]
    for least, guessed in ((-99.0, False), (0.0, True)):
        with serving(spec=replace(spec, least_logprob=least)) as live:
            bench = opened(live.url)
            bench.add(BRIEF)
            bench.becomes("brief.wav", "done")
            bench.page.locator(".w").first.wait_for()
            bench.page.get_by_text("is a demonstration model").first.wait_for()
            assert bench.page.get_by_text("did not understand this recording").count() == guessed
            assert bench.page.get_by_text("is a demonstration model").count() == 1 + guessed
