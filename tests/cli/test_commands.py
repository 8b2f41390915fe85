"""The command as a person types it, in a process of its own."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cli.typed import typed
from tests.conftest import LiveServer, start_server

DEMO = Path(__file__).resolve().parents[2] / "examples" / "speech" / "demo.flac"


def test_help_and_version_answer() -> None:
    assert b"serve" in typed("--help").stdout
    assert typed("--version").stdout.startswith(b"lithophone ")
    assert b"LITHOPHONE_MODEL" in typed("serve", "--help").stdout


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--port", "many"), "--port=many"),
        (("--model", "./no/such/folder"), "neither a folder"),
        (("--device", "rocm"), "ROCm"),
        (("--yes",), "--install-service"),
        (("--device", "cuda"), "CUDA"),
        pytest.param(
            ("--model", "granite-speech-3.3-8b", "--dtype", "float32"),
            "What would fit",
            marks=pytest.mark.skipif(psutil.virtual_memory().available > 35e9, reason="it fits here"),
        ),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(flags: tuple[str, ...], reason: str) -> None:
    done = typed("serve", *flags)
    assert done.returncode == 2
    assert reason in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_the_first_lines_say_where_and_how(live_server: LiveServer) -> None:
    assert live_server.url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{live_server.url}/ready").status_code == 200


def test_the_embedded_model_transcribes_over_http(live_server: LiveServer) -> None:
    with DEMO.open("rb") as audio:
        answer = httpx.post(
            f"{live_server.url}/v1/audio/transcriptions",
            files={"file": audio},
            data={"model": "whisper-1", "response_format": "text"},
            timeout=60,
        )
    assert answer.text.strip() == DEMO.with_suffix(".txt").read_text().strip()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order(sent: signal.Signals) -> None:
    process, url = start_server()
    with process:
        assert httpx.get(f"{url}/health").status_code == 200
        process.send_signal(sent)
        assert process.wait(timeout=60) == 0


def test_a_port_in_use_is_told_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = typed("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert done.stderr.startswith(b"lithophone: cannot listen on 127.0.0.1")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("seconds", [1.5, 2.5])
def test_an_interrupt_while_a_thread_of_its_own_loads_a_model_ends_it_in_order(seconds: float) -> None:
    command = [sys.executable, "-m", "lithophone", "serve", "--port", "0", "--hosts", "thread"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - began < 10.0  # 3 s where nothing else is at work
    assert process.returncode in {
        0,
        2,
        130,
        -signal.SIGINT,
    }  # not 134: a thread in native code at the end of a process
    assert "terminate called" not in said


@pytest.mark.parametrize("seconds", [0.15, 0.6, 1.2])
def test_an_interrupt_while_it_starts_shows_no_traceback(seconds: float) -> None:
    command = [sys.executable, "-m", "lithophone", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    if seconds > 0.5:  # before that, the first line of ours may not have been run
        assert process.returncode in {0, 2, 130, -signal.SIGINT}
        assert "Traceback" not in said
