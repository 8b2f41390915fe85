"""Several models behind one address, as a client and an operator meet them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.errors import ConfigurationError
from lithophone.granite.family import DEMONSTRATION_ID
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http.catalogue import Catalogue
from lithophone.http.options import HttpOptions
from tests.http.conftest import SPEC, Live, error_of, serving

OTHER = msgspec.structs.replace(SPEC, id="other")


class Slow:
    """A model that says where it is from, once it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, request: RecognitionRequest) -> str:
        self.may_answer.wait(20)
        return f"the other heard {request.seconds:.0f} s"


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def live(slow: Slow) -> Iterator[Live]:
    other = SupervisedHost("other", OTHER, in_thread(lambda: FakeBackend(slow, spec=OTHER), PlainRuntime()))
    options = HttpOptions(aliases={"whisper-small": "other", "some-org/whisper": "whisper-small"})
    with serving(others=[other], options=options) as server:
        yield server


def states(live: Live) -> dict[str, str]:
    return live.client.get("/ready").json()["models"]


def details(live: Live, name: str) -> dict[str, str]:
    return live.client.get(f"/v1/models/{name}").json()["lithophone"]


def test_a_cold_model_is_listed_and_loaded_by_the_first_request_for_it(live: Live) -> None:
    assert states(live) == {DEMONSTRATION_ID: "ready", "other": "cold"}
    assert details(live, "other") | {"aliases": []} == details(live, "other") | {
        "aliases": [],
        "state": "cold",
        "device": None,
        "memory_bytes": None,
    }
    assert live.transcribe(model="other").json()["text"] == "the other heard 1 s"
    assert details(live, "other")["state"] == "ready"
    assert details(live, "other")["device"] == "cpu"


@pytest.mark.parametrize("name", ["whisper-small", "some-org/whisper"])
def test_an_operators_alias_means_the_model_it_was_given(live: Live, name: str) -> None:
    assert live.transcribe(model=name).json()["text"].startswith("the other")
    assert details(live, name)["alias_of"] == "other"
    assert not live.transcribe(model="whisper-1").json()["text"].startswith("the other")


@pytest.mark.parametrize("name", ["other", "some-org/whisper"])
def test_a_model_is_loaded_and_unloaded_by_hand(live: Live, name: str) -> None:
    for verb, state in (("load", "ready"), ("load", "ready"), ("unload", "cold"), ("unload", "cold")):
        answer = live.client.post(f"/v1/models/{name}/{verb}")
        assert answer.status_code == 200
        assert answer.json()["lithophone"]["state"] == state
        assert answer.json()["id"] == name
        assert states(live)["other"] == state


def test_a_model_at_work_is_not_unloaded(live: Live, slow: Slow) -> None:
    slow.may_answer.clear()
    with ThreadPoolExecutor() as pool:
        request = pool.submit(live.transcribe, model="other")
        while states(live)["other"] != "ready":
            pass
        error = error_of(live.client.post("/v1/models/other/unload"), 409)
        assert error["code"] == "model_in_use"
        slow.may_answer.set()
        assert request.result().status_code == 200
    assert live.client.post("/v1/models/other/unload").status_code == 200


def test_who_comes_to_the_load_before_it_is_done_hears_that_it_goes_on() -> None:
    may_load = threading.Event()

    def load() -> FakeBackend:
        may_load.wait(20)
        return FakeBackend(spec=OTHER)

    other = SupervisedHost("other", OTHER, in_thread(load, PlainRuntime()))
    with serving(others=[other], load_wait_seconds=0.1) as live:
        answer = live.client.post("/v1/models/other/load")
        assert answer.status_code == 202
        assert answer.json()["lithophone"]["state"] == "loading"
        assert live.client.get("/ready").status_code == 200, "the default model answers meanwhile"
        may_load.set()


@pytest.mark.parametrize("path", ["other/explode", "other", "load"])
def test_what_is_no_verb_is_not_found(live: Live, path: str) -> None:
    error_of(live.client.post(f"/v1/models/{path}"), 404)


def test_an_unknown_model_is_not_loaded(live: Live) -> None:
    assert error_of(live.client.post("/v1/models/nope/load"), 404)["code"] == "model_not_found"


def test_both_models_answer_at_once_each_for_itself(live: Live) -> None:
    names = ["other", "whisper-1"] * 8
    with ThreadPoolExecutor(8) as pool:
        texts = [
            answer.json()["text"] for answer in pool.map(lambda name: live.transcribe(model=name), names)
        ]
    assert [text.startswith("the other") for text in texts] == [True, False] * 8


@pytest.mark.parametrize(
    ("names", "said"), [({"a": "nope"}, "nope"), ({"other": DEMONSTRATION_ID}, "other is a model")]
)
def test_an_alias_that_cannot_be_is_refused_at_start(names: dict[str, str], said: str) -> None:
    hosts = [SupervisedHost(name, SPEC, in_thread(FakeBackend, PlainRuntime())) for name in ("mine", "other")]
    with pytest.raises(ConfigurationError, match=said):
        Catalogue(Models(hosts), names)
