"""What every answer says to a browser, and HTTPS."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import start_server
from tests.http.conftest import Live

DATA = Path(__file__).parent / "data"
CERTIFICATE, KEY = DATA / "localhost.pem", DATA / "localhost.key.pem"


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/nope", "/schema"])
def test_every_answer_is_no_page(server: Live, path: str) -> None:
    headers = server.client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_https_is_served_with_a_certificate() -> None:
    process, url = start_server("--tls-certificate", str(CERTIFICATE), "--tls-key", str(KEY))
    with process:
        assert url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=str(CERTIFICATE))
        assert httpx.get(f"{url}/health", verify=trusted).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http") + "/health", timeout=20)
        process.terminate()
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((CERTIFICATE, None), "go together"),
        ((CERTIFICATE, CERTIFICATE), "cannot be used"),
        ((KEY, "no"), "cannot be used"),
    ],
)
def test_tls_files_that_cannot_be_used_are_refused_at_once(
    files: tuple[Path, Path | str | None], said: str
) -> None:
    certificate, key = files
    more = () if key is None else ("--tls-key", str(key))
    done = subprocess.run(
        [sys.executable, "-m", "lithophone", "serve", "--tls-certificate", str(certificate), *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
