from __future__ import annotations

import threading

from lithophone.backends.base import Backend
from lithophone.backends.fake import FakeBackend
from lithophone.errors import DoesNotFitError
from lithophone.hosts.base import HostState
from tests.http.conftest import Live, error_of, eventually, serving


def test_a_ready_server_says_what_it_runs(server: Live) -> None:
    assert server.client.get("/health").json() == {"status": "ok"}
    assert server.client.get("/ready").json() == {
        "status": "ready",
        "state": "ready",
        "model": "granite-speech-tiny",
        "device": "cpu",
        "dtype": "float32",
        "models": {"granite-speech-tiny": "ready"},
    }


def test_a_loading_server_is_alive_but_not_ready() -> None:
    loading = threading.Event()

    def load_slowly() -> Backend:
        loading.wait(10)
        return FakeBackend()

    with serving(load_slowly, ready=False, load_wait_seconds=0.2) as live:
        assert live.client.get("/health").status_code == 200
        response = live.client.get("/ready")
        assert error_of(response, 503)["code"] == "model_loading"
        assert response.headers["retry-after"]
        assert error_of(live.transcribe(), 503)["code"] == "model_loading"
        assert live.client.get("/v1/models").status_code == 200
        loading.set()
        eventually(lambda: live.client.get("/ready").status_code == 200)


def test_a_model_that_cannot_be_loaded_is_named_in_the_reason() -> None:
    def refuse() -> Backend:
        raise DoesNotFitError("needs 17 GB, 8 GB are free")

    with serving(refuse, ready=False) as live:
        eventually(lambda: live.host.state is HostState.FAILED)
        for response in (live.client.get("/ready"), live.transcribe()):
            error = error_of(response, 503)
            assert error["code"] == "model_failed"
            assert "17 GB" in error["message"]


def test_a_draining_server_is_alive_but_takes_no_new_work() -> None:
    with serving() as live:
        live.admission.drain()
        assert live.client.get("/health").status_code == 200
        for response in (live.client.get("/ready"), live.transcribe()):
            assert error_of(response, 503)["code"] == "shutting_down"
            assert response.headers["retry-after"]


def test_an_unloaded_model_loads_on_demand_so_the_server_is_ready() -> None:
    with serving() as live:
        live.unload()
        assert live.client.get("/ready").json()["state"] == "cold"
        assert live.transcribe().status_code == 200
