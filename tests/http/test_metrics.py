"""`/metrics`: what is counted equals what a load generator counted, and nothing private is a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from lithophone import __version__
from lithophone.backends.base import Backend
from lithophone.backends.fake import LoudnessDetector
from lithophone.hosts.base import HostState
from lithophone.http.options import HttpOptions
from tests.http.conftest import SHORT, SPEC, Live, error_of, eventually, occupied, post_audio, serving, wav

TRANSCRIPTIONS = "/v1/audio/transcriptions"
KEYS = {"authorization": "Bearer hush-1"}
Figures = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def figures(live: Live, headers: Any = None) -> Figures:
    response = live.client.get("/metrics", headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def figure(found: Figures, name: str, **labels: str) -> float:
    """The sum over all labels that are not named."""
    return sum(
        value for (one, own), value in found.items() if one == name and labels.items() <= dict(own).items()
    )


@pytest.fixture
def live() -> Iterator[Live]:
    with serving(voice=LoudnessDetector()) as live:
        yield live


def test_its_sums_are_what_a_load_generator_counted(live: Live) -> None:
    """Good ones of several lengths, whole and streamed, and three kinds of bad ones, eight at a time."""
    sent: list[tuple[str, bytes, dict[str, str]]] = [
        *((TRANSCRIPTIONS, wav((1.0 + number % 3, 0.5)), {}) for number in range(12)),
        *((TRANSCRIPTIONS, SHORT, {"stream": "true"}) for _ in range(5)),
        *(("/v1/audio/translations", SHORT, {}) for _ in range(3)),
        *((TRANSCRIPTIONS, SHORT, {"model": "nobody"}) for _ in range(4)),
        *((TRANSCRIPTIONS, SHORT, {"temperature": "9"}) for _ in range(2)),
    ]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda one: post_audio(live, one[0], one[1], **one[2]).status_code, sent))
    live.client.get("/nothing/here")
    eventually(lambda: figure(figures(live), "lithophone_requests_total", route="unknown") == 1)
    found = figures(live)
    counted = Counter((path, str(status)) for (path, _, _), status in zip(sent, answers, strict=True))
    assert counted[TRANSCRIPTIONS, "200"] == 17
    for (path, status), number in counted.items():
        assert figure(found, "lithophone_requests_total", route=path, status=status) == number
    for path in {path for path, _, _ in sent}:
        number = sum(one == path for one, _, _ in sent)
        assert figure(found, "lithophone_request_seconds_count", route=path) == number
    good = [audio for (_, audio, _), status in zip(sent, answers, strict=True) if status == 200]
    seconds = sum((len(audio) - 44) / 32_000 for audio in good)
    assert figure(found, "lithophone_audio_seconds_total") == pytest.approx(seconds)
    assert figure(found, "lithophone_model_audio_seconds_total", model=SPEC.id) == pytest.approx(
        seconds, rel=0.2
    )
    translations = counted["/v1/audio/translations", "400"]  # refused once the model is known
    assert translations == 3
    assert figure(found, "lithophone_stage_seconds_count", stage="answer") == len(good) + translations
    assert figure(found, "lithophone_stage_seconds_count", stage="decode") == len(good)
    assert figure(found, "lithophone_stage_seconds_count", stage="upload") == len(sent)
    assert figure(found, "lithophone_first_text_seconds_count") == 5
    assert figure(found, "lithophone_errors_total", code="model_not_found") == 4
    assert figure(found, "lithophone_errors_total", code="not_found") == 1
    assert figure(found, "lithophone_errors_total") == len(sent) - len(good) + 1
    assert figure(found, "lithophone_model_windows_total") == len(good)
    assert figure(found, "lithophone_model_window_seconds_count") == len(good)
    assert figure(found, "lithophone_model_window_wait_seconds_count") == len(good)
    for name in ("window_real_time_factor", "hear_seconds", "decode_tokens_seconds", "answer_seconds"):
        assert figure(found, f"lithophone_model_{name}_count") == len(good)
    assert 1 <= figure(found, "lithophone_model_batch_windows_count") <= len(good)
    assert figure(found, "lithophone_model_batch_windows_sum") >= len(good)
    assert figure(found, "lithophone_model_tokens_total") > len(good)
    assert figure(found, "lithophone_model_window_seconds_bucket", le="+Inf") == len(good)
    assert figure(found, "lithophone_requests_running") == 0


def test_the_state_of_the_server_is_read_when_it_is_asked(live: Live) -> None:
    with occupied(live, 3):
        assert figure(figures(live), "lithophone_requests_running") == 3
    eventually(lambda: figure(figures(live), "lithophone_requests_running") == 0)
    found = figures(live)
    assert figure(found, "lithophone_info", version=__version__) == 1
    assert figure(found, "lithophone_model_state", state="ready") == 1
    assert figure(found, "lithophone_model_loads_total") == 1
    assert figure(found, "lithophone_model_load_seconds_total") > 0
    assert figure(found, "process_open_fds") > 0
    live.unload()
    assert figure(figures(live), "lithophone_model_state", state="ready") == 0
    assert figure(figures(live), "lithophone_model_state", state="cold") == 1
    assert figure(figures(live), "lithophone_draining") == 0
    live.admission.drain()
    assert figure(figures(live), "lithophone_draining") == 1


def test_what_runs_and_what_waits_is_counted_in_seconds_of_audio() -> None:
    with serving(max_requests=1) as live, ThreadPoolExecutor(1) as threads:
        with occupied(live):
            waiting = threads.submit(live.transcribe, wav((3.0, 0.5)))
            eventually(
                lambda: figure(figures(live), "lithophone_queued_audio_seconds") == pytest.approx(3, abs=0.1)
            )
            assert figure(figures(live), "lithophone_requests_waiting") == 1
        assert waiting.result().status_code == 200
        assert figure(figures(live), "lithophone_queued_audio_seconds") == 0


def test_a_rejection_is_counted_by_its_reason() -> None:
    with serving(max_requests=1, wait_seconds=0.1) as live:
        with occupied(live):
            assert error_of(live.transcribe(), 429)["code"] == "overloaded"
        live.admission.drain()
        assert error_of(live.transcribe(), 503)["code"] == "shutting_down"
        eventually(lambda: figure(figures(live), "lithophone_errors_total", code="shutting_down") == 1)
        assert figure(figures(live), "lithophone_errors_total", code="overloaded") == 1


def test_every_error_is_at_zero_before_the_first_so_that_an_alert_sees_it_increase(live: Live) -> None:
    found = figures(live)
    for code in ("server_shortage", "overloaded", "internal_error", "out_of_memory", "not_finite"):
        assert found["lithophone_errors_total", frozenset({("code", code)})] == 0


def test_a_model_that_cannot_be_loaded_is_counted() -> None:
    def refuse() -> Backend:
        raise MemoryError

    with serving(refuse, ready=False) as live:
        eventually(lambda: live.host.state is HostState.FAILED)
        assert figure(figures(live), "lithophone_model_failed_loads_total") == 1
        assert figure(figures(live), "lithophone_model_state", state="failed") == 1


def test_it_is_behind_the_door_and_knows_keys_by_name_alone() -> None:
    with serving(options=HttpOptions(api_keys=("hush-1", "hush-2"))) as live:
        error_of(live.client.get("/metrics"), 401)
        with capture_logs() as logs:
            assert live.transcribe(headers=KEYS).status_code == 200
            eventually(lambda: TRANSCRIPTIONS in [line["path"] for line in logs])
        assert [line["key"] for line in logs if line["path"] == TRANSCRIPTIONS] == ["key 1"]
        eventually(
            lambda: figure(figures(live, KEYS), "lithophone_requests_total", route=TRANSCRIPTIONS) == 1
        )
        found = figures(live, KEYS)
        assert figure(found, "lithophone_requests_total", route=TRANSCRIPTIONS, key="key 1") == 1
        assert figure(found, "lithophone_audio_seconds_total", key="key 1") == 1
        assert figure(found, "lithophone_requests_total", route="/metrics", status="401", key="") == 1
        assert figure(found, "lithophone_errors_total", code="invalid_api_key") == 1
        assert "hush" not in live.client.get("/metrics", headers=KEYS).text


def test_applications_of_one_process_count_for_themselves(live: Live) -> None:
    with serving() as other:
        other.client.get("/nope")
        eventually(lambda: figure(figures(other), "lithophone_requests_total", route="unknown") == 1)
    assert figure(figures(live), "lithophone_requests_total", route="unknown") == 0


def test_strangers_make_no_labels(live: Live) -> None:
    """A path, a method and a model that somebody thought up are in no label, so that nobody can fill the memory."""
    before = {own for _, own in figures(live)}
    live.client.get("/thought/up/1")
    live.client.request("BREW", "/thought-up-2")
    live.client.get("/v1/models/thought-up-3")
    live.client.head("/health")
    live.transcribe(model="thought-up-4")
    eventually(lambda: figure(figures(live), "lithophone_requests_total", route=TRANSCRIPTIONS) == 1)
    labels = {own for _, own in figures(live)} - before
    assert "thought" not in str(labels)
    assert figure(figures(live), "lithophone_requests_total", route="/health", status="200") == 1
